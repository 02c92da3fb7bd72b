"""pgbastion sessions ..."""

from typing import Annotated

import typer

from gateway.cli import names
from gateway.cli.client import Api, path
from gateway.cli.grant_terms import CARRIES, show_with_terms
from gateway.cli.options import AsJson, Reason, Yes
from gateway.cli.output import JsonValue, Record, note, print_json, say
from gateway.cli.prompts import confirm
from gateway.cli.reach import admin

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Who is connected now.")

Session = Annotated[str, typer.Argument(metavar="ID", help="The session's id.", show_default=False)]
OfUser = Annotated[str | None, typer.Option("--user", help="Only this user's.", autocompletion=names.users, show_default=False)]
OfTarget = Annotated[
    str | None, typer.Option("--target", help="Only on this target.", autocompletion=names.targets, show_default=False)
]

_COLUMNS = {
    "session": "session",
    "user": "user",
    "target": "target",
    "mode": "mode",
    **CARRIES,
    "address": "address",
    "application": "application",
    "state": "state",
    "started_at": "since",
    "statements": "statements",
    "worker": "worker",
}


@admin(app, "list", examples=["pgbastion sessions list", "pgbastion sessions list --user ana_diaz --json"])
def list_sessions(api: Api, user: OfUser = None, target: OfTarget = None, as_json: AsJson = False) -> None:
    """List the live sessions of the gateway, of all its workers."""
    found = api.all(path("sessions"), user=user, target=target)
    if as_json:
        print_json(found)
    else:
        show_with_terms(found, _COLUMNS, not_always=CARRIES, empty="No sessions.")


@admin(app, "show", examples=["pgbastion sessions show 1f0c2a..."])
def show_session(api: Api, session: Session, as_json: AsJson = False) -> None:
    """Show one live session. What it ran: pgbastion audit search --session ID"""
    found = api.get(path("sessions", session)).record
    if as_json:
        print_json(found)
        return
    show_with_terms([found], _COLUMNS, not_always=CARRIES, empty="")
    say(f"What it ran: pgbastion audit search --session {session}")


@admin(app, examples=['pgbastion sessions cancel 1f0c2a... --reason "it holds locks"'])
def cancel(api: Api, session: Session, reason: Reason = "") -> None:
    """Cancel what a session runs now. The session stays."""
    api.post(path("sessions", session, "cancel"), reason=reason)
    say(f"What session {session} runs is cancelled.")


@admin(
    app,
    examples=[
        'pgbastion sessions terminate 1f0c2a... --reason "off hours"',
        'pgbastion sessions terminate --target shop --reason "failover"',
        'pgbastion sessions terminate --all --reason "incident 42"',
    ],
)
def terminate(
    api: Api,
    sessions: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Session ids.", show_default=False)] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="Instead of ids: all sessions of this user.", autocompletion=names.users)
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="Or on this target.", autocompletion=names.targets)] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Or all there are: the kill switch.")] = False,
    yes: Yes = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """End sessions. Their clients read the reason. Rights stay: whoever has them may connect again (see: lockdown)."""
    named: list[Record] = [{"user": user}] if user is not None else []
    named += [{"target": target}] if target is not None else []
    named += [{"all": True}] if everybody else []
    if len(named) + bool(sessions) != 1:
        raise typer.BadParameter("give either session ids, --user, --target or --all")
    if everybody and not yes:
        confirm(f"End all sessions of {api.where}?")
    if named:
        answer = api.post(path("sessions", "terminate"), named[0], reason=reason)
        ended = _ids(answer.get("sessions"))
    else:
        ended = [_terminate(api, each, reason) for each in sessions or []]
    if as_json:
        print_json(ended)
    else:
        for session_id in ended:
            say(f"Session {session_id} ends.")
        if not ended:
            say("No sessions.")


def _terminate(api: Api, session_id: str, reason: str) -> str:
    answer = api.post(path("sessions", session_id, "terminate"), reason=reason)
    if answer.get("live") is False:
        note("Note: the gateway is not running here; noted for when it is.")
    return session_id


def _ids(value: JsonValue) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
