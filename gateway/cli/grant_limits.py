"""When a grant may be used and what its sessions may not exceed, on the command line."""

import re
from typing import Annotated, Final

import typer

from gateway.access.windows import WindowError, parse_window
from gateway.cli.options import check_expiry
from gateway.cli.output import JsonValue, Record

NO_CEILING: Final = "none"

LIMITS: Final = {
    "max_sessions": "sessions",
    "statement_timeout_ms": "statement",
    "idle_timeout_seconds": "idle",
    "idle_in_transaction_timeout_seconds": "idle in transaction",
}
"""The limits of sessions by the API's names, and how they are called in a few words."""

_DURATION: Final = re.compile(r"([0-9]{1,9})\s*(ms|s|min|m|h|d)?", re.ASCII)
_UNITS: Final = {"ms": 1, "s": 1000, "min": 60_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_ceiling(text: str) -> int | None:
    """A number of rows, or `none`. Raises typer.BadParameter."""
    if text == NO_CEILING:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) > 0:
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither a number of rows from 1 on nor {NO_CEILING}")


def read_ceiling(text: str) -> str:
    parse_ceiling(text)  # refuse it as a usage error now; the verb reads it again
    return text


def parse_duration(text: str) -> int | None:
    """`30s`, `10min`, `2h`, `1500ms`, a plain number of seconds, or `none`; in milliseconds. Raises typer.BadParameter."""
    if text == NO_CEILING:
        return None
    found = _DURATION.fullmatch(text)
    if found is None or not int(found[1]):
        raise typer.BadParameter(f"{text!r} is neither a duration such as 30s, 10min or 2h nor {NO_CEILING}")
    return int(found[1]) * _UNITS[found[2] or "s"]


def duration_text(milliseconds: int) -> str:
    """As `parse_duration` reads it, in the largest unit that fits."""
    for unit in ("d", "h", "min", "s"):
        if milliseconds % _UNITS[unit] == 0:
            return f"{milliseconds // _UNITS[unit]}{unit}"
    return f"{milliseconds}ms"


def _read_duration(text: str) -> str:
    parse_duration(text)
    return text


def _read_window(text: str) -> str:
    try:
        return str(parse_window(text))
    except WindowError as error:
        raise typer.BadParameter(str(error)) from None


From = Annotated[
    str | None,
    typer.Option("--from", metavar="WHEN", parser=check_expiry, help="When it begins: as --expires.", show_default="at once"),
]
NewFrom = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="WHEN|never", parser=check_expiry, help="When it begins; never: at once.", show_default="as it is"
    ),
]
Windows = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        metavar="WINDOW",
        parser=_read_window,
        help="When within the week it may be used, such as 'Mon-Fri 08:00-18:00 Europe/Zurich'; may be given several times.",
        show_default="at any hour",
    ),
]
NewWindows = Annotated[
    list[str] | None,
    typer.Option(
        "--window",
        metavar="WINDOW",
        parser=_read_window,
        help="All its windows: others are taken away.",
        show_default="as they are",
    ),
]
MaxSessions = Annotated[
    str | None,
    typer.Option(
        "--max-sessions",
        metavar=f"N|{NO_CEILING}",
        parser=read_ceiling,
        help="At most so many sessions of each person at a time. A GUI opens three to five.",
        show_default="no limit of its own",
    ),
]
StatementTimeout = Annotated[
    str | None,
    typer.Option(
        "--statement-timeout",
        metavar=f"TIME|{NO_CEILING}",
        parser=_read_duration,
        help="How long a statement may run (30s, 10min); sessions can only lower it.",
        show_default="no limit",
    ),
]
IdleTimeout = Annotated[
    str | None,
    typer.Option(
        "--idle-timeout",
        metavar=f"TIME|{NO_CEILING}",
        parser=_read_duration,
        help="A session in which nothing runs and nothing is sent for so long ends.",
        show_default="no limit",
    ),
]
IdleInTransactionTimeout = Annotated[
    str | None,
    typer.Option(
        "--idle-in-transaction-timeout",
        metavar=f"TIME|{NO_CEILING}",
        parser=_read_duration,
        help="The same while a transaction is open.",
        show_default="no limit",
    ),
]


def limit_fields(
    max_sessions: str | None, statement_timeout: str | None, idle_timeout: str | None, idle_in_transaction_timeout: str | None
) -> dict[str, JsonValue]:
    """Those that are given, as the API wants them."""
    given: dict[str, JsonValue] = {} if max_sessions is None else {"max_sessions": parse_ceiling(max_sessions)}
    given |= {} if statement_timeout is None else {"statement_timeout_ms": parse_duration(statement_timeout)}
    given |= {} if idle_timeout is None else {"idle_timeout_seconds": _seconds(idle_timeout)}
    if idle_in_transaction_timeout is not None:
        given |= {"idle_in_transaction_timeout_seconds": _seconds(idle_in_transaction_timeout)}
    return given


def _seconds(text: str) -> int | None:
    found = parse_duration(text)
    if found is not None and found % 1000:
        raise typer.BadParameter(f"{text!r}: whole seconds, please")
    return None if found is None else found // 1000


def limits_text(grant: Record) -> list[str]:
    """`at most 10 sessions`, `idle at most 1h`."""
    sessions = grant.get("max_sessions")
    said = [f"at most {sessions} sessions"] if sessions is not None else []
    for name in ("statement_timeout_ms", "idle_timeout_seconds", "idle_in_transaction_timeout_seconds"):
        limit = grant.get(name)
        if isinstance(limit, int):
            said.append(f"{LIMITS[name]} at most {duration_text(limit if name.endswith('_ms') else limit * 1000)}")
    return said
