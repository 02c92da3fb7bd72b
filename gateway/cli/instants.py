"""Instants and durations for people: in the zone of whoever reads, and how far away. Pure, but for that zone."""

from datetime import UTC, datetime
from typing import Final

from gateway.cli.output import JsonValue

_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def read_instant(value: JsonValue) -> datetime | None:
    """As the API writes them. None for what is none."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def moment(value: JsonValue, now: datetime) -> str:
    """`2030-01-31 18:00 CET (in 42 min)`; empty for what is no instant."""
    instant = read_instant(value)
    if instant is None:
        return ""
    return f"{instant.astimezone():%Y-%m-%d %H:%M %Z} ({away(value, now)})"


def away(value: JsonValue, now: datetime) -> str:
    """`in 42 min`, `3 h 5 min ago`, `now`; empty for what is no instant."""
    instant = read_instant(value)
    if instant is None:
        return ""
    seconds = round((instant - now).total_seconds())
    if seconds == 0:
        return "now"
    return f"in {roughly(seconds)}" if seconds > 0 else f"{roughly(-seconds)} ago"


def roughly(seconds: int) -> str:
    """In two units at most, the rest is dropped: `42 min`, `1 h 5 min`, `3 d 2 h`; seconds only below two minutes."""
    if seconds < 120:
        return f"{seconds} s"
    return _written(seconds - seconds % 60)


def exactly(value: JsonValue) -> str:
    """A duration as it was asked for: `2 h`, `1 h 30 min`. `value`: seconds."""
    return _written(value) if isinstance(value, int) and value > 0 else ""


def utc_now() -> datetime:
    return datetime.now(UTC)


def _written(seconds: int) -> str:
    said: list[str] = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            said.append(f"{count} {unit}")
    return " ".join(said[:2])
