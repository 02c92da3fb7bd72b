"""pgbastion targets rotate-credential: an upstream login gets a password that nobody has seen."""

from enum import StrEnum
from typing import Annotated

import typer

from gateway.cli.client import Api, path, records
from gateway.cli.options import AsJson, Reason
from gateway.cli.output import JsonValue, Record, print_json, say, show
from gateway.cli.progress import working
from gateway.cli.reach import admin
from gateway.cli.target_permits import Name

_SESSIONS = {"process_id": "process", "address": "address", "application": "application", "state": "state", "since": "since"}


class LoginChoice(StrEnum):
    """Which logins: those of the sessions, one of these, the admin's, or all."""

    SESSIONS = "sessions"
    READ_ONLY = "read_only"
    READ_WRITE = "read_write"
    ADMIN = "admin"
    ALL = "all"


def register(app: typer.Typer) -> None:
    """Add this command to `pgbastion targets`."""
    admin(
        app,
        "rotate-credential",
        examples=[
            "pgbastion targets rotate-credential shop",
            "pgbastion targets rotate-credential shop --every 30",
            'pgbastion targets rotate-credential shop --role admin --end-sessions --reason "the tunnel\'s password is known"',
        ],
    )(rotate_credential)


def rotate_credential(
    api: Api,
    name: Name,
    role: Annotated[
        LoginChoice,
        typer.Option("--role", help="Which login: of the sessions (both access modes), one of them, the admin's, or all."),
    ] = LoginChoice.SESSIONS,
    end_sessions: Annotated[
        bool, typer.Option("--end-sessions", help="Of the admin login: end who logged in with the former password.")
    ] = False,
    every: Annotated[
        int | None,
        typer.Option("--every", metavar="DAYS", min=1, help="From now on again, so often.", show_default="as it was"),
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Give a target's upstream logins new passwords. No session ends, no login fails meanwhile, and nobody sees the passwords.

    What is broken off is finished by the next run. Exit status: 0 when each of them is done, else 1.
    """
    with working(f"{name}, {role}"):
        found = api.post(path("targets", name, "rotate-credential"), reason=reason, role=role.value, end_sessions=end_sessions)
    if every is not None:
        _schedule(api, name, every, reason)
    if as_json:
        print_json(found)
    for each in [] if as_json else records(found.get("logins")):
        _say(each, end_sessions=end_sessions)
    if every is not None and not as_json:
        say(f"From now on they are changed every {every} days.")
    if not found.get("ok"):
        raise typer.Exit(1)


def _schedule(api: Api, name: str, every: int, reason: str) -> None:
    if api.get(path("targets", name)).record.get("rotate_every_days") != every:
        api.patch(path("targets", name), {"rotate_every_days": every}, reason=reason)


def _say(found: Record, *, end_sessions: bool) -> None:
    login = found.get("login")
    roles = ", ".join([str(found.get("role")), *map(str, _list(found.get("also")))])
    match found.get("state"):
        case "done":
            how = "A rotation that was broken off is finished: the" if found.get("finished_earlier") else "The"
            say(f'{roles}: {how} password of "{login}" was changed. Nobody has seen the new one.')
        case "failed":
            say(f'{roles}: the password of "{login}" is as it was: {found.get("problem")}.')
        case "half-done":
            say(
                f'{roles}: the rotation of "{login}" is half done: {found.get("problem")}. Both passwords are tried at each login.'
            )
        case _:
            say(f'{roles}: the server takes neither password of "{login}" that the gateway has: {found.get("problem")}.')
    if found.get("remedy"):
        say(f"  {found.get('remedy')}")
    if shared := _list(found.get("shared_with")):
        say(f"  The same login is used by {', '.join(map(str, shared))}: the new password is there, too.")
    if found.get("old_refused"):
        say(f'  The old password of "{login}" no longer logs in ({found.get("old_refused")}).')
    for note in _list(found.get("notes")):
        say(f"  Note: {note}.")
    sessions = records(found.get("old_sessions"))
    if sessions and end_sessions:
        say(f'  {found.get("ended_sessions")} of {len(sessions)} sessions of "{login}" were ended:')
    elif sessions:
        say(f'  Logged in as "{login}" before, and still there (--end-sessions ends them):')
    if sessions:
        show(sessions, as_json=False, columns=_SESSIONS, empty="")


def _list(value: JsonValue) -> list[JsonValue]:
    return list(value) if isinstance(value, list | tuple) else []
