"""pgbastion targets who-still-uses and observe: who is in a database without the gateway, and may the shared password go?"""

import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.client import Api, path, records
from gateway.cli.errors import CommandError
from gateway.cli.options import AsJson, Reason
from gateway.cli.output import JsonValue, Record, note, print_json, say, show
from gateway.cli.postgres_log import Past, read_connections, summed
from gateway.cli.progress import working
from gateway.cli.reach import admin
from gateway.cli.target_permits import Name

_BARS: Final = "▁▂▃▄▅▆▇█"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_COLUMNS: Final = {
    "role": "role",
    "address": "address",
    "application": "application",
    "now": "now",
    "peak": "most",
    "first_seen": "first seen",
    "last_seen": "last seen",
    "line": "over time",
}
_PAST: Final = {
    "role": "role",
    "address": "address",
    "application": "application",
    "connections": "connections",
    "first": "first",
    "last": "last",
}


def register(app: typer.Typer) -> None:
    """Add these commands to `pgbastion targets`."""
    admin(
        app,
        "who-still-uses",
        examples=[
            "pgbastion targets who-still-uses shop",
            "pgbastion targets who-still-uses shop --watch",
            "pgbastion targets who-still-uses shop --log /var/log/postgresql/postgresql.log",
        ],
    )(who_still_uses)
    admin(
        app,
        examples=["pgbastion targets observe shop --every 5m", "pgbastion targets observe shop --off"],
    )(observe)


def who_still_uses(
    api: Api,
    name: Name,
    days: Annotated[int, typer.Option("--days", min=1, max=400, help="What was seen in so many days.")] = 7,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[int, typer.Option("--interval", min=1, metavar="SECONDS", help="With --watch.")] = 5,
    log: Annotated[
        list[Path] | None,
        typer.Option("--log", metavar="FILE", help="The server's own log, with log_connections; again for more.", exists=True),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List who uses a database without the gateway: by role, address and program, now and over time.

    The last line says whether the admin password may change, and by which command. Exit status: 0 when it may, else 1.
    """
    if watch and (as_json or log):
        raise typer.BadParameter("--watch goes with neither --json nor --log")
    while True:
        with working(name):
            found = api.get(path("targets", name, "outside-use"), days=days).record
        past = _past(api, name, found, log or [])
        if as_json:
            print_json({**found, "log": [_past_record(each) for each in past]} if log else found)
            break
        if watch:
            say("")
        _say(found, past, with_log=bool(log))
        if not watch:
            break
        try:
            time.sleep(every)
        except KeyboardInterrupt:
            break
    if not found.get("ready"):
        raise typer.Exit(1)


def observe(
    api: Api,
    name: Name,
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="How often: 30s, 5m, 1h.")] = "5m",
    keep: Annotated[int, typer.Option("--keep", metavar="DAYS", min=1, max=400, help="How long it is kept.")] = 30,
    off: Annotated[bool, typer.Option("--off", help="Look no more.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Look at a database again and again for others who use it. Sessions that come and go in between are not seen."""
    where = path("targets", name, "observation")
    if off:
        api.delete(where, reason=reason)
        say(f'"{name}" is not looked at any more.')
        return
    found = api.put(where, {"every_seconds": _seconds(every), "keep_days": keep}, reason=reason)
    if as_json:
        print_json(found)
    else:
        kept = f'"{name}" is looked at every {every}; what is seen is kept for {keep} days.'
        say(f"{kept} Next: pgbastion targets who-still-uses {name}")


def _seconds(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in _UNITS:
        raise typer.BadParameter("write a time such as 30s, 5m or 1h", param_hint="--every")
    return int(timedelta(seconds=int(number) * _UNITS[unit]).total_seconds())


def _say(found: Record, past: list[Past], *, with_log: bool) -> None:
    name = str(found.get("target"))
    usages = [{**each, "line": _line(each.get("counts"))} for each in records(found.get("usages"))]
    show(usages, as_json=False, columns=_COLUMNS, empty=f'Nobody uses "{name}" without the gateway, as far as was seen.')
    say(f"{found.get('ours')} sessions there are the gateway's. Looked {found.get('looks')} times since {found.get('since')}.")
    if with_log:
        say("")
        show([_past_record(each) for each in past], as_json=False, columns=_PAST, empty="In the log: nobody else.")
    observation = found.get("observation")
    if observation is None:
        note(f"Note: only this moment is seen. To look again and again: pgbastion targets observe {name} --every 5m")
    if found.get("addresses_hidden"):
        note(f"Note: {found.get('admin')} may not see where others come from: GRANT pg_read_all_stats TO {found.get('admin')};")
    if found.get("last_failure"):
        note(f"Note: the last look that failed, {found.get('last_failed_at')}: {found.get('last_failure')}")
    say(f"Ready to rotate? {found.get('verdict')}. Next: {found.get('next')}")


def _line(counts: JsonValue) -> str:
    """A sparkline; "·" where nobody looked."""
    if not isinstance(counts, list):
        return ""
    most = max((each for each in counts if isinstance(each, int)), default=0)
    return "".join(
        "·" if not isinstance(each, int) else " " if each == 0 else _BARS[(each * len(_BARS) - 1) // max(most, 1)]
        for each in counts
    )


def _past(api: Api, name: str, found: Record, files: list[Path]) -> list[Past]:
    """Those of this database, and of the admin login in any; without the target's own logins, whose passwords nobody knows."""
    if not files:
        return []
    target = api.get(path("targets", name)).record
    logins = target.get("logins")
    own = set(map(str, logins.values())) if isinstance(logins, dict) else set()
    admin, dbname = str(found.get("admin")), str(target.get("dbname"))
    connected = []
    for file in files:
        try:
            with file.open(encoding="utf-8", errors="replace") as lines:
                connected += [
                    each
                    for each in read_connections(lines)
                    if each.role not in own and (each.database == dbname or each.role == admin)
                ]
        except OSError as error:
            raise CommandError(f"the log {file} cannot be read: {error.strerror}") from None
    return summed(connected)


def _past_record(each: Past) -> Record:
    return {
        "role": each.role,
        "database": each.database,
        "address": each.address,
        "application": each.application,
        "connections": each.connections,
        "first": each.first,
        "last": each.last,
    }
