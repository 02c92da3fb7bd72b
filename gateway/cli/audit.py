"""pgbastion audit ..."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.audit_files import Entry, Faults, WorkerTrail, find_workers, merge
from gateway.cli.audit_filter import Filter, stamp
from gateway.cli.errors import CommandError
from gateway.cli.local import load_settings
from gateway.cli.options import Config, parse_expiry
from gateway.cli.output import JsonValue, note

if TYPE_CHECKING:
    from gateway.audit.admin_event import RecordedAdminEvent
    from gateway.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What was run, denied and changed.")

_LOOK_SECONDS: Final = 0.2
_STORE: Final = -1  # sorts before the workers: a change comes before what it caused

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


@app.command()
def search(
    user: Annotated[str | None, typer.Option("--user", help="Of this person, and changes about them.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="On this target, and changes about it.")] = None,
    session: Annotated[str | None, typer.Option("--session", help="Of this session.")] = None,
    event: Annotated[str | None, typer.Option("--event", help="Of this kind; * stands for anything: 'grant.*'.")] = None,
    since: When = None,
    until: When = None,
    text: Annotated[str | None, typer.Option("--text", help="That hold this text anywhere, in any case.")] = None,
    denied: Annotated[bool, typer.Option("--denied", help="Only what was turned away.")] = False,
    as_json: AsJsonLines = False,
    config: Config = None,
) -> None:
    """Find records: statements, sessions, refusals and operators' changes, oldest first."""
    now = datetime.now(UTC)
    wanted = Filter(
        user=user,
        target=target,
        session=session,
        event=event,
        since=None if since is None else parse_instant(since, now),
        until=None if until is None else parse_instant(until, now),
        text=text,
        denied=denied,
    )
    settings, faults = load_settings(config), Faults()
    fits, show = wanted.compile(), _printer(as_json=as_json)
    streams: list[Iterator[Entry]] = [
        WorkerTrail(settings.audit_dir, number, faults).read(wanted.since) for number in _workers(settings)
    ]
    for entry in merge([_changes(settings, wanted.since), *streams]):
        if fits(entry):
            show(entry)
    _report(faults)


@app.command()
def tail(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as more is written, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the newest records to begin with.")] = 20,
    as_json: AsJsonLines = False,
    config: Config = None,
) -> None:
    """Show the newest records."""
    settings, faults, show = load_settings(config), Faults(), _printer(as_json=as_json)
    trails = [WorkerTrail(settings.audit_dir, number, faults) for number in _workers(settings)]
    changes = list(_changes(settings, None, limit=max(lines, 1)))
    revision = changes[-1].key[2] if changes else 0
    newest = sorted([*changes, *(entry for trail in trails for entry in trail.read_last(lines))], key=lambda entry: entry.key)
    for entry in newest[-lines:] if lines else []:
        show(entry)
    _report(faults)
    if follow:
        _follow(settings, trails, revision, show)


def _follow(settings: "Settings", trails: list[WorkerTrail], revision: int, show: Callable[[Entry], None]) -> None:
    faults, started_at, seen = Faults(), datetime.now(UTC) - timedelta(minutes=1), _store_stamp(settings)
    while True:
        sys.stdout.flush()
        time.sleep(_LOOK_SECONDS)
        fresh: list[Entry] = []
        if (stamp_now := _store_stamp(settings)) != seen:
            seen = stamp_now
            fresh += [change for change in _changes(settings, started_at) if change.key[2] > revision]
            revision = fresh[-1].key[2] if fresh else revision
        known = {trail.worker for trail in trails}
        trails += [WorkerTrail(settings.audit_dir, number, faults) for number in _workers(settings) if number not in known]
        for trail in trails:
            fresh += trail.follow()
        for entry in sorted(fresh, key=lambda entry: entry.key):
            show(entry)


def _workers(settings: "Settings") -> list[int]:
    try:
        return sorted(find_workers(settings.audit_dir))
    except FileNotFoundError:
        return []  # never started yet
    except OSError as error:
        raise CommandError(f"the audit in {settings.audit_dir} cannot be read: {error.strerror}") from error


def _changes(settings: "Settings", since: datetime | None, limit: int | None = None) -> Iterator[Entry]:
    """What operators did, from the store. Without a readable store the rest is still shown, and that is said."""
    from gateway.store.engine import store_path
    from gateway.store.errors import StoreError
    from gateway.store.events import read_events

    try:
        if not store_path(settings.store_url).exists():
            return iter(())  # nothing was ever changed
        found = asyncio.run(read_events(settings.store_url, since, None, limit))
    except StoreError as error:
        note(f"Note: without operators' changes: {error}")
        return iter(())
    return map(_entry, found)


def _entry(recorded: "RecordedAdminEvent") -> Entry:
    event, at = recorded.event, stamp(recorded.at)
    fields: dict[str, JsonValue] = {
        "at": at,
        "event": event.action,
        "actor": event.actor,
        "object": event.object_name,
        "object_id": event.object_id,
        "reason": event.reason,
        "detail": dict(event.detail),
        "revision": recorded.revision,
    }
    return Entry((at, _STORE, recorded.revision), json.dumps(fields, separators=(",", ":")), fields)


def _store_stamp(settings: "Settings") -> tuple[int, ...]:
    """Changes whenever the store does: opening it five times a second for nothing would cost more than all the rest."""
    from gateway.store.engine import store_path

    path = store_path(settings.store_url)
    found = []
    for each in (path, path.with_name(f"{path.name}-wal")):
        try:
            status = each.stat()
            found += [status.st_mtime_ns, status.st_size]
        except OSError:
            found += [0, 0]
    return tuple(found)


def _printer(*, as_json: bool) -> Callable[[Entry], None]:
    if as_json:
        return lambda entry: print(entry.line)
    from gateway.cli.audit_lines import Lines

    return Lines().show


def _report(faults: Faults) -> None:
    for text in faults.texts():
        note(f"Note: {text}.")
