"""pgbastion logout: what `pgbastion login` kept is gone, here and at the API."""

from functools import partial
from typing import Annotated

import typer

from gateway.cli import token_store
from gateway.cli.client import Api, Transport, path
from gateway.cli.errors import CommandError
from gateway.cli.options import URL_VARIABLE
from gateway.cli.output import note, say
from gateway.cli.reach import example_text
from gateway.secret import Secret

app = typer.Typer(add_completion=False)


@app.command("logout", epilog=example_text(["pgbastion logout", "pgbastion logout --url https://gateway.example:6480"]))
def logout(
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", envvar=URL_VARIABLE, help="Of this admin API.", show_default="signed in to last"),
    ] = None,
) -> None:
    """Sign out: the token of the sign-in is revoked, and forgotten on this machine."""
    kept = token_store.current()
    place = url or (None if kept is None else kept.url)
    token = None if place is None else token_store.find_token(place)
    if place is None or token is None:
        raise CommandError("nobody is signed in" + ("" if place is None else f" at {place}"))
    elsewhere = ""
    try:
        with Api(partial(_open, place, token), place, None) as api:
            elsewhere = _revoke(api)
    except CommandError as error:
        note(f"Note: the token could not be revoked ({error.message}); it ends by itself.")
    token_store.forget(place)
    say(f"Signed out of {place}.")
    if elsewhere:
        say(f"Your browser is still signed in to the identity provider. To end that, too, open:\n\n  {elsewhere}\n")


async def _open(url: str, token: Secret) -> Transport:
    """With this very token, whatever else the environment names."""
    from gateway.cli.remote import Remote

    return Remote(url, token, token_store.ca_file_of(url))


def _revoke(api: Api) -> str:
    """Where the browser signs out of the identity provider, too; "": nowhere."""
    if api.get(path("me")).record.get("kind") == "session":
        return str(api.delete(path("sign-in")).get("end_session_url") or "")
    if (name := api.get(path("whoami")).record.get("token")) is not None:
        api.delete(path("tokens", str(name)), reason="signed out")
    return ""
