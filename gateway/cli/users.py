"""pgbastion users ..."""

from typing import Annotated

import typer

from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.options import NEVER, AsJson, Expires, IfVersion, NewExpiry, PasswordFile, PasswordStdin, Reason, until
from gateway.cli.output import Record, note, print_json, say, show
from gateway.cli.passwords import given_password
from gateway.cli.reach import admin

app = typer.Typer(no_args_is_help=True, add_completion=False, help="People who log in to the gateway.")

Name = Annotated[str, typer.Argument(help="The user's name.", show_default=False, autocompletion=names.users)]
Prompt = Annotated[bool, typer.Option("--password-prompt", help="Ask for the password on the terminal.")]

COLUMNS = {
    "name": "name",
    "enabled": "enabled",
    "valid_until": "expires",
    "groups": "groups",
    "allowlist": "own allowlist",
    "grants": "grants",
    "id": "id",
}


@admin(
    app, examples=["pgbastion users create ana --expires 90d --group analysts", "pgbastion users create ben --password-prompt"]
)
def create(
    api: Api,
    name: Name,
    expires: Expires = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="Make it a member; may be repeated.", autocompletion=names.groups)
    ] = None,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    password_prompt: Prompt = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Create an account. Without a password option a password is made and shown once."""
    password = given_password(from_stdin=password_stdin, file=password_file, prompt="Password" if password_prompt else None)
    body = {
        "name": name,
        "password": password.reveal() if password else None,
        "valid_until": until(expires),
        "groups": group or [],
    }
    made = api.post(path("users"), body, reason=reason)
    _say_credentials(made, f'User "{name}" created.', as_json=as_json, generated=password is None)


@admin(app, "list", examples=["pgbastion users list", "pgbastion users list --json"])
def list_users(api: Api, as_json: AsJson = False) -> None:
    """List all accounts."""
    found = api.all(path("users"))
    show(found, as_json=as_json, columns=COLUMNS, empty="No users yet. Create one: pgbastion users create NAME")


@admin(app, "show", examples=["pgbastion users show ana"])
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


@admin(app, examples=["pgbastion users passwd ana", "pgbastion users passwd ana --password-stdin < new-password"])
def passwd(
    api: Api,
    name: Name,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    password_prompt: Prompt = False,
    if_version: IfVersion = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Set another password; sessions that used the old one end. Without an option one is made and shown once."""
    password = given_password(from_stdin=password_stdin, file=password_file, prompt="Password" if password_prompt else None)
    body = {"password": password.reveal() if password else None}
    made = api.change("POST", path("users", name, "password"), body, reason=reason, version=if_version)
    _say_credentials(made, f'Password of "{name}" changed.', as_json=as_json, generated=password is None)


@admin(app, examples=["pgbastion users update ana --expires 2030-01-31", "pgbastion users update ana --expires never"])
def update(api: Api, name: Name, expires: NewExpiry, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Change when an account expires."""
    user = api.patch(path("users", name), {"valid_until": until(expires)}, reason=reason, version=if_version)
    say(f'User "{name}" expires: {user.get("valid_until") or NEVER}.')


@admin(app, examples=['pgbastion users disable ana --reason "left the team"'])
def disable(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Lock an account; its sessions end."""
    api.patch(path("users", name), {"enabled": False}, reason=reason, version=if_version)
    say(f'User "{name}" disabled.')


@admin(app, examples=["pgbastion users enable ana"])
def enable(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Unlock an account."""
    api.patch(path("users", name), {"enabled": True}, reason=reason, version=if_version)
    say(f'User "{name}" enabled.')


@admin(app, examples=['pgbastion users delete ana --reason "left the company"'])
def delete(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Delete an account with its grants; its sessions end."""
    api.delete(path("users", name), reason=reason, version=if_version)
    say(f'User "{name}" deleted.')


def _say_credentials(made: Record, text: str, *, as_json: bool, generated: bool) -> None:
    password = made.get("password")
    if generated and password is None:  # the answer that held it was lost on the way
        note(f"Nobody has seen the new password. Make another: pgbastion users passwd {made.get('name')}")
    if as_json:
        print_json({"id": made.get("id"), "name": made.get("name"), "password": password})
        return
    say(text)
    if password is not None:
        say(f"Password (shown only now): {password}")
