"""pgbastion whoami."""

import typer

from gateway.cli.client import Api, path
from gateway.cli.options import AsJson
from gateway.cli.output import JsonValue, print_json, say
from gateway.cli.reach import admin

app = typer.Typer(add_completion=False)


@admin(app, examples=["pgbastion whoami", "pgbastion whoami --url https://gateway.example:6480 --json"])
def whoami(api: Api, as_json: AsJson = False) -> None:
    """Who you are to the admin API, until when, and how you sign in."""
    me = api.get(path("me")).record
    if as_json:
        print_json(me)
        return
    say(f"{me.get('actor')} at {api.where}{_until(me.get('valid_until'))}")
    say(
        f"Owner: {'yes' if me.get('owner') else 'no'}. Admin roles: {_names(me.get('roles'))}. Groups: {_names(me.get('groups'))}."
    )
    if me.get("authenticator") is not None:
        codes = f"yes, {me.get('recovery_codes_left')} recovery codes left" if me.get("authenticator") else "no"
        say(f"Authenticator: {codes}. Identity provider: {me.get('provider') or 'none'}.")


def _until(instant: JsonValue) -> str:
    return "" if instant is None else f" until {instant}"


def _names(value: JsonValue) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, list) and value else "none"
