"""pgbastion login: sign in to an admin API. Later commands use that sign-in."""

from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli import token_store
from gateway.cli.client import Api, Transport, path
from gateway.cli.enrolment import ask_code, ask_password, read_proofs, set_up
from gateway.cli.errors import CommandError
from gateway.cli.loopback import Answer, listening
from gateway.cli.options import URL_VARIABLE, ApiCa
from gateway.cli.output import Record, note, say
from gateway.cli.reach import ca_file_given, example_text
from gateway.secret import Secret

app = typer.Typer(add_completion=False)

_PATIENCE_SECONDS: Final = 540.0  # the API's own is ten minutes
_FEW_CODES: Final = 3
_EXAMPLES: Final = (
    "pgbastion login --url https://gateway.example:6480 --name ana_miller",
    "pgbastion login --url https://gateway.example:6480 --oidc",
)


@app.command("login", epilog=example_text(_EXAMPLES))
def login(
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", envvar=URL_VARIABLE, help="The admin API.", show_default="signed in to last"),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Who you are.", show_default="is asked for")] = None,
    oidc: Annotated[bool, typer.Option("--oidc", help="Through the identity provider, with your browser.")] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where your browser comes back to.", show_default="any that is free")
    ] = 0,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input, and a code from its second line.")
    ] = False,
    ca_file: ApiCa = None,
) -> None:
    """Sign in. The token is kept in the system's keyring, else in a file that only you can read; `pgbastion logout` ends it."""
    if oidc and (name is not None or password_stdin):
        raise typer.BadParameter("--oidc asks your browser who you are: give neither --name nor --password-stdin")
    place = url or _last()
    trusted = ca_file_given(place, ca_file)
    with anonymous(place, trusted) as api:
        made = _by_browser(api, port) if oidc else _by_password(api, name, password_stdin=password_stdin)
    kept = token_store.keep(place, Secret(str(made.get("token"))), trusted)
    say(f"Signed in to {place} as {made.get('user')} until {made.get('valid_until')}. The token is in {kept.where}.")
    left = made.get("recovery_codes_left")
    if isinstance(left, int) and 0 < left <= _FEW_CODES:
        note(f"Note: {left} recovery codes are left. For new ones: pgbastion accounts enrol")


def anonymous(url: str, ca_file: Path | None) -> Api:
    """Who has no token yet."""
    return Api(partial(_open, url, ca_file), url, None)


async def _open(url: str, ca_file: Path | None) -> Transport:
    from gateway.cli.remote import Remote

    return Remote(url, None, ca_file)


def _last() -> str:
    if (kept := token_store.current()) is None:
        raise CommandError("which admin API?", "Name it: pgbastion login --url https://gateway.example:6480")
    return kept.url


def _by_password(api: Api, name: str | None, *, password_stdin: bool) -> Record:
    if password_stdin:
        if name is None:
            raise typer.BadParameter("--password-stdin needs --name")
        password, code = read_proofs()
    else:
        name = name or str(typer.prompt("Name"))
        password = ask_password()
        code = ask_code("Code (empty without an authenticator)")
    try:
        return api.post(path("sign-in"), {"name": name, "password": password.reveal(), "code": code})
    except CommandError as error:
        if error.rule != "authenticator-required" or password_stdin:
            raise
        note("Your rights need an authenticator: a program that shows a new code each half minute.")
        return set_up(api, name, password, "")


def _by_browser(api: Api, port: int) -> Record:
    door = listening(port)
    loopback = api.wait(door.__aenter__())
    try:
        begun = api.post(path("sign-in", "provider"), {"redirect_uri": loopback.redirect_uri})
        say(f"Open this in your browser, on this computer:\n\n  {begun.get('url')}\n")
        state = str(begun.get("state"))
        answer: Answer = api.wait(loopback.answer(state, _PATIENCE_SECONDS))
    finally:
        api.wait(door.__aexit__(None, None, None))
    if answer.code is None:
        raise CommandError(f"the identity provider did not let you in: {answer.error}")
    body = {"flow": begun.get("flow"), "state": state, "code": answer.code.reveal(), "issuer": answer.issuer}
    return api.post(path("sign-in", "provider", "finish"), body)
