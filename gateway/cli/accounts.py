"""pgbastion accounts ..."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.enrolment import ask_code, ask_password, set_up
from gateway.cli.errors import CommandError
from gateway.cli.login import anonymous
from gateway.cli.options import URL_VARIABLE, ApiCa, AsJson, IfVersion, PasswordFile, PasswordStdin, Reason, Yes
from gateway.cli.output import Record, note, print_json, say, show
from gateway.cli.passwords import chosen_password
from gateway.cli.prompts import confirm
from gateway.cli.reach import admin, ca_file_given, example_text, place_or_here

app = typer.Typer(no_args_is_help=True, add_completion=False, help="How people sign in to the admin API.")

Name = Annotated[str, typer.Argument(help="The user's name.", show_default=False, autocompletion=names.users)]
Generate = Annotated[bool, typer.Option("--generate", help="Make a password, and ask for none.")]
Managed = Annotated[
    bool, typer.Option("--managed/--not-managed", help="Whether access to databases depends on the provider's word, too.")
]

COLUMNS = {
    "user": "user",
    "password": "password",
    "authenticator": "authenticator",
    "recovery_codes_left": "recovery codes",
    "issuer": "identity provider",
    "subject": "subject",
    "managed": "managed",
    "standing": "standing",
    "sign_ins": "signed in",
}


@admin(app, examples=["pgbastion accounts create ana_miller", "pgbastion accounts create ana_miller --generate --json"])
def create(
    api: Api,
    name: Name,
    generate: Generate = False,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Let a person sign in with a password. It is for signing in alone, not for databases, and adds no right."""
    password = chosen_password(from_stdin=password_stdin, file=password_file, generate=generate, ask=False)
    body = {"user": name, "password": None if password is None else password.reveal()}
    _say_password(api.post(path("accounts"), body, reason=reason), f'User "{name}" can sign in.', as_json=as_json)


@admin(app, "list", examples=["pgbastion accounts list"])
def list_accounts(api: Api, as_json: AsJson = False) -> None:
    """List who can sign in, and how."""
    found = api.all(path("accounts"))
    show(found, as_json=as_json, columns=COLUMNS, empty="Nobody can sign in. To change that: pgbastion accounts create NAME")


@admin(app, "show", examples=["pgbastion accounts show ana_miller"])
def show_account(api: Api, name: Name, as_json: AsJson = False) -> None:
    """Show how one person signs in."""
    account = api.get(path("accounts", name)).record
    if as_json:
        print_json(account)
        return
    show([account], as_json=False, columns=COLUMNS, empty="")


@admin(
    app,
    examples=[
        'pgbastion accounts recover ana_miller --reason "lost her phone, known by voice" --keep-password',
        'pgbastion accounts recover ana_miller --reason "forgot it, ticket 17"',
    ],
)
def recover(
    api: Api,
    name: Name,
    keep_password: Annotated[
        bool, typer.Option("--keep-password", help="Only the authenticator was lost: they set up another at the next sign-in.")
    ] = False,
    generate: Generate = False,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    if_version: IfVersion = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Replace a lost authenticator, and the password. Recovery codes are void, and all sign-ins end. First make sure who asks."""
    password = None
    if not keep_password:
        password = chosen_password(from_stdin=password_stdin, file=password_file, generate=generate, ask=False)
    body = {"password": None if password is None else password.reveal(), "keep_password": keep_password}
    made = api.change("POST", path("accounts", name, "recovery"), body, reason=reason, version=if_version)
    _say_password(made, f'User "{name}" has no authenticator any more, and is signed out.', as_json=as_json)


@admin(app, examples=['pgbastion accounts delete ana_miller --reason "needs it no more"'])
def delete(api: Api, name: Name, yes: Yes = False, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Nobody signs in as this user any more. The user, and logins to databases, stay."""
    if not yes:
        confirm(f'Take away every way to sign in as "{name}"?')
    api.delete(path("accounts", name), reason=reason, version=if_version)
    say(f'User "{name}" cannot sign in any more.')


@admin(app, examples=["pgbastion accounts link ana_miller --subject 248289761001 --managed"])
def link(
    api: Api,
    name: Name,
    subject: Annotated[str, typer.Option("--subject", help='Who they are at the identity provider: the claim "sub".')],
    issuer: Annotated[
        str | None, typer.Option("--issuer", help="Of which provider.", show_default="the configured one")
    ] = None,
    managed: Managed = False,
    reason: Reason = "",
) -> None:
    """Let a person sign in through the identity provider."""
    body = {"subject": subject, "issuer": issuer, "managed": managed}
    account = api.put(path("accounts", name, "identity"), body, reason=reason)
    say(f'User "{name}" is {account.get("subject")} at {account.get("issuer")}.')


@admin(app, examples=['pgbastion accounts unlink ana_miller --reason "another account there"'])
def unlink(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """No way in through the identity provider any more; all sign-ins end."""
    api.delete(path("accounts", name, "identity"), reason=reason, version=if_version)
    say(f'User "{name}" is not linked to an identity any more.')


@admin(app, examples=["pgbastion accounts update ana_miller --managed"])
def update(api: Api, name: Name, managed: Managed, if_version: IfVersion = None, reason: Reason = "") -> None:
    """Whether access to databases ends when the identity provider does not vouch for the person any more."""
    api.patch(path("accounts", name), {"managed": managed}, reason=reason, version=if_version)
    say(f'User "{name}" is {"" if managed else "not "}managed by the identity provider.')


@admin(app, "sign-out", examples=['pgbastion accounts sign-out ana_miller --reason "her computer was stolen"'])
def sign_out(api: Api, name: Name, if_version: IfVersion = None, reason: Reason = "") -> None:
    """End all sign-ins of somebody. They may sign in again."""
    api.delete(path("accounts", name, "sign-ins"), reason=reason, version=if_version)
    say(f'User "{name}" is signed out everywhere.')


_Oneself = Annotated[str, typer.Argument(help="Who you are.", show_default=False)]
_OwnUrl = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", envvar=URL_VARIABLE, help="The admin API.", show_default="signed in to last"),
]


@app.command("enrol", epilog=example_text(["pgbastion accounts enrol ana_miller"]))
def enrol(name: _Oneself, url: _OwnUrl = None, ca_file: ApiCa = None) -> None:
    """Set up an authenticator of your own, or another one. Your other sign-ins end; there are new recovery codes."""
    with _as_oneself(url, ca_file) as api:
        password = ask_password()
        code = ask_code("Code of the authenticator that you have (empty: none)")
        made = set_up(api, name, password, code)
    say(f'From now on signing in as "{made.get("user")}" asks for a code. Sign in again: pgbastion login')


@app.command("passwd", epilog=example_text(["pgbastion accounts passwd ana_miller"]))
def passwd(name: _Oneself, url: _OwnUrl = None, ca_file: ApiCa = None) -> None:
    """Change your own password for signing in. All your sign-ins end. (For databases it is `pgbastion passwd`.)"""
    with _as_oneself(url, ca_file) as api:
        password = ask_password("Password now: ")
        code = ask_code("Code (empty without an authenticator)")
        new = ask_password("New password: ")
        if ask_password("Once more: ").reveal() != new.reveal():
            raise CommandError("the two are different: nothing was done")
        body = {"name": name, "password": password.reveal(), "code": code, "new_password": new.reveal()}
        api.post(path("sign-in", "password"), body)
    say("Password changed. Sign in again: pgbastion login")


def _as_oneself(url: str | None, ca_file: Path | None) -> Api:
    """These ask for the password itself, so that nobody else's token does it."""
    place = place_or_here(url)
    return place.open() if place.url is None else anonymous(place.url, ca_file_given(place.url, ca_file))


def _say_password(made: Record, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    say(text)
    if (generated := made.get("generated")) is not None:
        note("The password for signing in, shown only now:")
        say(str(generated))
