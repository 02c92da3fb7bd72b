"""pgbastion sessions ..."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.errors import CommandError
from gateway.cli.local import Operator, load_settings, operator
from gateway.cli.options import AsJson, Config, Reason
from gateway.cli.output import Record, note, print_json, say, show

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Who is connected now.")

_COLUMNS = {
    "session": "session",
    "user": "user",
    "target": "target",
    "mode": "mode",
    "address": "address",
    "application": "application",
    "state": "state",
    "started_at": "since",
    "worker": "worker",
}
_NOT_RUNNING = "the gateway is not running here"


@app.command("list")
def list_sessions(
    user: Annotated[str | None, typer.Option("--user", help="Only this user's.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Only on this target.")] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """List the live sessions of the gateway that runs with this configuration."""
    found = [
        session
        for session in _ask(load_settings(config).bus_socket)
        if (user is None or session.get("user") == user) and (target is None or session.get("target") == target)
    ]
    show(found, as_json=as_json, columns=_COLUMNS, empty="No sessions.")


@app.command()
def terminate(
    sessions: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Session ids.", show_default=False)] = None,
    user: Annotated[str | None, typer.Option("--user", help="Instead of ids: all sessions of this user.")] = None,
    reason: Reason = "",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """End sessions. Their clients read the reason. Rights stay: whoever has them may connect again."""
    from gateway.services.sessions import terminate_session

    if bool(sessions) == (user is not None):
        raise typer.BadParameter("give either session ids or --user")
    op = operator(config)
    for session_id in (ids := _named(op, sessions or [], user)):
        op.change(terminate_session(op.store, session_id=session_id, actor=op.actor, reason=reason))
    if as_json:
        print_json(ids)
    else:
        for session_id in ids:
            say(f"Session {session_id} ends.")


def _named(op: Operator, sessions: list[str], user: str | None) -> list[str]:
    """The ids to end. An id that no worker knows is an error, unless no gateway can be asked."""
    try:
        live = _ask(op.settings.bus_socket)
    except CommandError as error:
        if user is not None:
            raise
        note(f"Note: {error.message}; noted for when it is.")
        return sessions
    if user is not None:
        return [str(session["session"]) for session in live if session.get("user") == user]
    known = {session.get("session") for session in live}
    for session_id in sessions:
        if session_id not in known:
            raise CommandError(f"there is no live session {session_id}", "See: pgbastion sessions list")
    return sessions


def _ask(path: Path) -> list[Record]:
    from gateway.bus.lines import BusIncomplete, BusUnavailable
    from gateway.bus.peer import ask

    try:
        return list(ask(path, "sessions", {}, timeout_seconds=2.0))
    except BusUnavailable:
        raise CommandError(_NOT_RUNNING, "Start it with: pgbastion serve --config FILE") from None
    except BusIncomplete as error:
        raise CommandError(f"a worker of the gateway does not answer: {error}") from None
