"""pgbastion audit ..."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.cli import names
from gateway.cli.audit_sources import Entry, Question, open_source
from gateway.cli.client import Api
from gateway.cli.options import parse_expiry
from gateway.cli.output import note
from gateway.cli.reach import admin

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What was run, denied and changed.")

AsJsonLines = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a line, as it was written.", rich_help_panel="Everywhere")
]


def _instant(text: str) -> str:
    parse_instant(text, datetime.now(UTC))  # refuse it as a usage error now; it is read again
    return text


def parse_instant(text: str, now: datetime) -> datetime:
    """`2h` (ago) or an ISO instant, UTC unless it says otherwise. Raises typer.BadParameter."""
    found = parse_expiry(text, now)
    if found is None:
        raise typer.BadParameter("'never' is no instant")
    ago = "-" not in text and ":" not in text
    return now - (found - now) if ago else found


When = Annotated[str | None, typer.Option(metavar="WHEN", parser=_instant, help="An instant, or how long ago: 30m, 2h, 1d.")]
OfUser = Annotated[
    str | None, typer.Option("--user", help="Of this person, and changes about them.", autocompletion=names.users)
]
OnTarget = Annotated[
    str | None, typer.Option("--target", help="On this target, and changes about it.", autocompletion=names.targets)
]
OfSession = Annotated[str | None, typer.Option("--session", help="Of this session.")]
OfEvent = Annotated[
    str | None, typer.Option("--event", help="Of this kind; * stands for anything. Of changes, the action: 'grant.*'.")
]
WithText = Annotated[str | None, typer.Option("--text", help="That hold this text anywhere, in any case.")]
OnlyDenied = Annotated[bool, typer.Option("--denied", help="Only what was turned away.")]


@admin(
    app,
    examples=[
        "pgbastion audit search --since 1h --denied",
        "pgbastion audit search --user ana_diaz --since 2030-01-31 --json",
        "pgbastion audit search --event 'grant.*' --text shop",
    ],
)
def search(
    api: Api,
    user: OfUser = None,
    target: OnTarget = None,
    session: OfSession = None,
    event: OfEvent = None,
    since: When = None,
    until: When = None,
    text: WithText = None,
    denied: OnlyDenied = False,
    as_json: AsJsonLines = False,
) -> None:
    """Find records: statements, sessions, refusals and admins' changes, oldest first."""
    now = datetime.now(UTC)
    asked = Question(
        user=user,
        target=target,
        session=session,
        event=event,
        since=None if since is None else parse_instant(since, now),
        until=None if until is None else parse_instant(until, now),
        text=text,
        denied=denied,
    )
    source, show = open_source(api), _printer(as_json=as_json)
    for entry in source.search(asked):
        show(entry)
    _report(source.notes)


@admin(app, examples=["pgbastion audit tail -n 50", "pgbastion audit tail -f --user ana_diaz"])
def tail(
    api: Api,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as more is written, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the newest records to begin with.")] = 20,
    user: OfUser = None,
    target: OnTarget = None,
    session: OfSession = None,
    event: OfEvent = None,
    denied: OnlyDenied = False,
    as_json: AsJsonLines = False,
) -> None:
    """Show the newest records."""
    asked = Question(user=user, target=target, session=session, event=event, denied=denied)
    source, show = open_source(api), _printer(as_json=as_json)
    fresh = source.follow(asked) if follow else None  # before what is there is read, so that nothing falls between
    newest = source.newest(asked, lines) if lines else []
    for entry in newest:
        show(entry)
    _report(source.notes)
    if fresh is not None:
        sys.stdout.flush()
        shown = {entry.identity for entry in newest}
        for entry in fresh:
            if entry.identity not in shown:
                show(entry)
                sys.stdout.flush()


def _printer(*, as_json: bool) -> Callable[[Entry], None]:
    if as_json:
        return lambda entry: print(entry.line)
    from gateway.cli.audit_lines import Lines

    return Lines().show


def _report(notes: list[str]) -> None:
    for text in notes:
        note(f"Note: {text}.")
