"""pgbastion users ..."""

from collections.abc import Sequence
from typing import Annotated

import typer

from gateway.access.model import UserKind
from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.errors import CommandError
from gateway.cli.options import (
    NEVER,
    NEW_EXPIRY_HELP,
    AsJson,
    Expires,
    IfVersion,
    PasswordFile,
    PasswordStdin,
    Reason,
    Yes,
    check_expiry,
    until,
)
from gateway.cli.output import JsonValue, Record, note, print_json, say, show
from gateway.cli.passwords import chosen_password
from gateway.cli.prompts import confirm
from gateway.cli.reach import admin

app = typer.Typer(no_args_is_help=True, add_completion=False, help="People who log in to the gateway.")

Name = Annotated[str, typer.Argument(help="The user's name.", show_default=False, autocompletion=names.users)]
Prompt = Annotated[bool, typer.Option("--password-prompt", help="Ask for the password even where none is needed.", hidden=True)]
Generate = Annotated[bool, typer.Option("--generate", help="Make a password, and ask nothing.")]
ReadOnly = Annotated[
    bool | None, typer.Option("--read-only/--no-read-only", help="Never admitted to write, whatever is granted.")
]
Protected = Annotated[
    bool | None, typer.Option("--protected/--no-protected", help="Cannot be deleted nor given another password meanwhile.")
]
Email = Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help="For people to find each other.")]

LIST_COLUMNS = {
    "name": "USERNAME",
    "read_only": "READ-ONLY",
    "protected": "PROTECTED",
    "password_encryption": "PASSWORD ENCRYPTION",
    "last_login_at": "last login",
    "sessions": "sessions",
    "valid_until": "expires",
    "groups": "groups",
    "enabled": "enabled",
}
COLUMNS = {
    **LIST_COLUMNS,
    "kind": "kind",
    "certificate_names": "certificates",
    "email": "e-mail",
    "allowlist": "own allowlist",
    "grants": "grants",
    "id": "id",
}


@admin(
    app,
    examples=[
        "pgbastion users create ana_diaz --read-only --expires 90d --group analysts",
        "pgbastion users create ben_okoro --generate",
        "pgbastion users create nightly_etl --machine --password-file etl-password",
    ],
)
def create(
    api: Api,
    name: Name,
    read_only: Annotated[bool, typer.Option("--read-only", help="Never admitted to write, whatever is granted.")] = False,
    expires: Expires = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="Make it a member; may be repeated.", autocompletion=names.groups)
    ] = None,
    machine: Annotated[bool, typer.Option("--machine", help="A program's account, not a person's.")] = False,
    protected: Annotated[
        bool, typer.Option("--protected", help="Cannot be deleted nor given another password until that is taken off.")
    ] = False,
    email: Email = None,
    generate: Generate = False,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    password_prompt: Prompt = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Create an account. A terminal asks for its password; left empty, and elsewhere, one is made and shown once."""
    password = chosen_password(
        from_stdin=password_stdin, file=password_file, generate=generate, ask=password_prompt, for_program=as_json
    )
    body = {
        "name": name,
        "password": password.reveal() if password else None,
        "valid_until": until(expires),
        "groups": group or [],
        "kind": "machine" if machine else "person",
        "read_only": read_only,
        "protected": protected,
        "email": email,
    }
    made = api.post(path("users"), body, reason=reason)
    _say_credentials(made, f'User "{name}" created', as_json=as_json, generated=password is None)


@admin(app, "list", examples=["pgbastion users list", "pgbastion users list --json"])
def list_users(api: Api, as_json: AsJson = False) -> None:
    """List all accounts."""
    found = api.all(path("users"))
    show(found, as_json=as_json, columns=LIST_COLUMNS, empty="No users yet. Create one: pgbastion users create NAME")


@admin(app, "show", examples=["pgbastion users show ana_diaz"])
def show_user(api: Api, name: Name, as_json: AsJson = False) -> None:
    """Show one account with its grants (its groups' too) and allowlist."""
    from gateway.cli import allowlist, grants
    from gateway.cli.grant_terms import show_grants

    user = api.get(path("users", name)).record
    held = grants.held_by(api, user)
    entries = api.all(path("allowlist"), user=name)
    if as_json:
        print_json({**user, "grant_list": held, "allowlist_entries": entries})
        return
    show([user], as_json=False, columns=COLUMNS, empty="")
    show_grants(held)
    show(entries, as_json=False, columns=allowlist.COLUMNS, empty="No allowlist entries of their own.")


def _password(
    api: Api,
    name: Name,
    generate: Generate = False,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    password_prompt: Prompt = False,
    if_version: IfVersion = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Set another password; sessions that used the old one end. Left empty at the prompt, one is made and shown once."""
    password = chosen_password(
        from_stdin=password_stdin, file=password_file, generate=generate, ask=password_prompt, for_program=as_json
    )
    body = {"password": password.reveal() if password else None}
    made = api.change("POST", path("users", name, "password"), body, reason=reason, version=if_version)
    _say_credentials(made, f'Password of user "{name}" updated', as_json=as_json, generated=password is None)


_examples = ["pgbastion users update-password ana_diaz", "pgbastion users update-password ana_diaz --password-stdin < password"]
admin(app, "update-password", examples=_examples)(_password)
admin(app, "passwd", examples=["pgbastion users passwd ana_diaz"])(_password)


@admin(
    app,
    examples=[
        "pgbastion users update ana_diaz --expires 2030-01-31",
        "pgbastion users update ana_diaz --expires never --read-only",
        "pgbastion users update backup_job --no-protected",
    ],
)
def update(
    api: Api,
    name: Name,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="WHEN", parser=check_expiry, help=NEW_EXPIRY_HELP, show_default=False),
    ] = None,
    read_only: ReadOnly = None,
    protected: Protected = None,
    email: Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help='Its e-mail address; "" for none.')] = None,
    kind: Annotated[UserKind | None, typer.Option("--kind", help="Whose it is.")] = None,
    if_version: IfVersion = None,
    reason: Reason = "",
) -> None:
    """Change when an account expires, whether it may only read, whether it is protected."""
    body: dict[str, JsonValue] = {}
    if expires is not None:
        body["valid_until"] = until(expires)
    facts = {"read_only": read_only, "protected": protected, "kind": None if kind is None else kind.value}
    body |= {field: value for field, value in facts.items() if value is not None}
    if email is not None:
        body["email"] = email or None
    if not body:
        raise typer.BadParameter("say what is to change: --expires, --read-only, --protected, --email or --kind")
    user = api.patch(path("users", name), body, reason=reason, version=if_version)
    if expires is not None:
        say(f'User "{name}" expires: {user.get("valid_until") or NEVER}.')
    if set(body) - {"valid_until"}:
        said = ", ".join(f"{field.replace('_', '-')} {_shown(user.get(field))}" for field in body if field != "valid_until")
        say(f'User "{name}" updated: {said}.')


@admin(
    app,
    "certificates",
    examples=[
        "pgbastion users certificates nightly_etl",
        "pgbastion users certificates nightly_etl --add cn:nightly-etl --remove dns:old.internal",
    ],
)
def change_certificates(
    api: Api,
    name: Name,
    add: Annotated[
        list[str] | None, typer.Option("--add", metavar="NAME", help="cn:..., dns:... or uri:..., as the certificate has it.")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", metavar="NAME", help="Its sessions end.")] = None,
    if_version: IfVersion = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Show or change by which client certificates a machine logs in without a password."""
    found = api.get(path("users", name))
    known = [str(each) for each in _list(found.record.get("certificate_names"))]
    if add or remove:
        if missing := sorted(set(remove or ()) - set(known)):
            raise CommandError(f'user "{name}" has no certificate name {missing[0]}')
        wanted: list[JsonValue] = [*sorted({*known, *(add or ())} - set(remove or ()))]
        version = found.version if if_version is None else if_version
        user = api.patch(path("users", name), {"certificate_names": wanted}, reason=reason, version=version)
        known = [str(each) for each in _list(user.get("certificate_names"))]
    if as_json:
        print_json(known)
    else:
        say("\n".join(known) or f'User "{name}" logs in with its password only.')


@admin(app, examples=['pgbastion users disable ana_diaz --reason "left the team"'])
def disable(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Lock an account; its sessions end."""
    api.patch(path("users", name), {"enabled": False}, reason=reason, version=if_version)
    say(f'User "{name}" disabled.')


@admin(app, examples=["pgbastion users enable ana_diaz"])
def enable(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Unlock an account."""
    api.patch(path("users", name), {"enabled": True}, reason=reason, version=if_version)
    say(f'User "{name}" enabled.')


@admin(app, examples=['pgbastion users delete ana_diaz --reason "left the company"'])
def delete(api: Api, name: Name, yes: Yes = False, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Delete an account with its grants; its sessions end."""
    if not yes:
        confirm(f'Delete user "{name}" with its grants and end its sessions?')
    api.delete(path("users", name), reason=reason, version=if_version)
    say(f'User "{name}" deleted.')


def _say_credentials(made: Record, text: str, *, as_json: bool, generated: bool) -> None:
    """`text`: what was done, without its full stop."""
    password = made.get("password")
    if generated and password is None:  # the answer that held it was lost on the way
        note(f"Nobody has seen the new password. Make another: pgbastion users update-password {made.get('name')}")
    if as_json:
        print_json({"id": made.get("id"), "name": made.get("name"), "password": password})
    elif password is None:
        say(f"{text}.")
    else:
        say(f'{text} with password "{password}".')
        note("It is shown only now.")


def _list(value: JsonValue) -> Sequence[JsonValue]:
    return value if isinstance(value, list) else ()


def _shown(value: JsonValue) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)
