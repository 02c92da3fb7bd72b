"""Weekly windows: when within the week a grant may be used, by the clock on the wall of a time zone. Pure.

A window is open whenever such a clock shows a time in it. So daylight saving needs no rule of its own: times that a clock leaves
out in spring are nobody's, times that it shows twice in autumn count both times. All questions are answered from one list of the
spells during which windows are open, worked out over some two weeks: what does not change for that long never does.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MAX_WINDOWS: Final = 20
_LONG_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MINUTES_PER_DAY: Final = 24 * 60
_DAY: Final = 86_400  # in seconds, as all numbers below that are not said to be something else
_HORIZON: Final = 16 * _DAY
_PROBE: Final = 6 * 3600  # no zone changes its clocks twice within
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday
_TEXT: Final = re.compile(
    r"(?P<days>[A-Za-z,-]+)\s+(?P<from>\d{1,2}:\d{2})\s*-\s*(?P<to>\d{1,2}:\d{2})(?:\s+(?P<zone>\S+))?", re.ASCII
)
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}")

_Spells = tuple[tuple[int, int], ...]  # seconds since 1970: open from the first, no longer at the second


class WindowError(ValueError):
    """A text that is no window; the message is written for the person who typed it."""


@dataclass(frozen=True, slots=True)
class Window:
    """On these days (0: Monday), from `begins` until `ends`, in minutes since midnight of that day.

    `ends` that is not after `begins` is on the day after. `zone` is a name of the tz database; one that this machine does not know
    never opens. `str` gives what `parse_window` reads.
    """

    days: tuple[int, ...]
    begins: int
    ends: int
    zone: str = "UTC"

    def __str__(self) -> str:
        return f"{_days_text(self.days)} {_clock(self.begins)}-{_clock(self.ends)} {self.zone}"


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether windows are open at an instant, and until when that holds; None: for good."""

    is_open: bool
    until: datetime | None


def parse_window(text: str, *, known_zones_only: bool = True) -> Window:
    """Read `Mon-Fri 08:00-18:00 Europe/Zurich`: days and ranges of days with commas, from, to, and a zone (else UTC).

    To midnight is written 24:00 or 00:00. Raises WindowError. `known_zones_only`: False reads what was written before, perhaps on
    a machine that knows more zones.
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise WindowError(f"{text[:100]!r} is not a weekly window such as 'Mon-Fri 08:00-18:00 Europe/Zurich'")
    begins, ends = _minutes(found["from"]), _minutes(found["to"])
    if begins == _MINUTES_PER_DAY:
        raise WindowError(f"{text!r}: a window begins at 23:59 at the latest")
    if begins == ends:
        raise WindowError(f"{text!r}: it begins when it ends; all day is 00:00-24:00")
    zone = found["zone"] or "UTC"
    if known_zones_only and _zone(zone) is None:
        raise WindowError(f"{text!r}: {zone[:64]!r} is not a time zone that this machine knows, such as Europe/Zurich or UTC")
    return Window(_days(found["days"], text), begins, ends or _MINUTES_PER_DAY, zone)


def opening(windows: tuple[Window, ...], now: datetime) -> Opening:
    """Whether any of them is open now, and when that changes. None at all: always open."""
    if not windows:
        return Opening(True, None)
    instant = now.timestamp()
    today = int(instant // _DAY)
    spells = _spells(windows, today)
    place = bisect_right(spells, instant, key=lambda spell: spell[0])
    horizon = today * _DAY + _HORIZON
    if place and instant < spells[place - 1][1]:
        end = spells[place - 1][1]
        return Opening(True, _instant(end) if end < horizon else None)
    return Opening(False, _instant(spells[place][0]) if place < len(spells) else None)


def told(instant: datetime, windows: tuple[Window, ...] = ()) -> str:
    """For people: by the clock of the windows' zone, else in UTC: `Mon 2030-01-07 08:00 Europe/Zurich`."""
    zone = _zone(windows[0].zone) if windows else None
    local = instant.astimezone(zone or UTC)
    # Seconds only where there are any: an instant that nobody chose by the minute.
    clock = local.strftime("%Y-%m-%d %H:%M" if not local.second else "%Y-%m-%d %H:%M:%S")
    return f"{DAYS[local.weekday()]} {clock} {windows[0].zone if zone is not None else 'UTC'}"


@lru_cache(maxsize=1024)
def _spells(windows: tuple[Window, ...], day: int) -> _Spells:
    """From the beginning of this day (UTC, counted from 1970) to the horizon; in order, none touches the next."""
    found = sorted(spell for window in windows for spell in _of_one(window, day * _DAY, day * _DAY + _HORIZON))
    merged: list[tuple[int, int]] = []
    for begins, ends in found:
        if merged and begins <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], ends)
        else:
            merged.append((begins, ends))
    return tuple(merged)


def _of_one(window: Window, start: int, end: int) -> Iterator[tuple[int, int]]:
    zone = _zone(window.zone)
    if zone is None:
        return
    length = (window.ends - window.begins) * 60
    length += _DAY if length <= 0 else 0
    for begins, ends, offset in _constant_offsets(zone, start, end):
        for day in range((begins + offset) // _DAY - 1, (ends + offset) // _DAY + 1):  # the day before: over midnight
            if (day + _EPOCH_WEEKDAY) % 7 in window.days:
                opens = day * _DAY + window.begins * 60 - offset
                spell = max(opens, begins), min(opens + length, ends)
                if spell[0] < spell[1]:
                    yield spell


def _constant_offsets(zone: ZoneInfo, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The stretches of time in which the zone's clocks are `offset` ahead of UTC."""
    since, offset, at = start, _offset(zone, start), start
    while at < end:
        following = min(at + _PROBE, end)
        if _offset(zone, following) == offset:
            at = following
            continue
        low, high = at, following
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
        yield since, high, offset
        since, offset, at = high, _offset(zone, high), high
    if since < end:
        yield since, end, offset


def _offset(zone: ZoneInfo, instant: int) -> int:
    ahead = datetime.fromtimestamp(instant, zone).utcoffset()
    return int(ahead.total_seconds()) if ahead is not None else 0


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo | None:
    if not _ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # ZoneInfoNotFoundError is a LookupError
        return None


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    found = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or found > _MINUTES_PER_DAY:
        raise WindowError(f"{text!r} is not a time of day between 00:00 and 24:00")
    return found


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _days(text: str, whole: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begins = _day(first, whole)
        ends = _day(last, whole) if dash else begins
        found |= {(begins + more) % 7 for more in range((ends - begins) % 7 + 1)}
    return tuple(sorted(found))


def _day(text: str, whole: str) -> int:
    short = text[:3].title()
    if short not in DAYS or text.title() not in (short, _LONG_DAYS[DAYS.index(short)]):
        raise WindowError(f"{whole!r}: {text!r} is not a day: write {', '.join(DAYS)}, or Mon-Fri")
    return DAYS.index(short)


def _days_text(days: Iterable[int]) -> str:
    """`Mon-Fri,Sun`: runs of three and more become ranges."""
    runs: list[list[int]] = []
    for day in days:
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    parts: list[str] = []
    for run in runs:
        parts += [f"{DAYS[run[0]]}-{DAYS[run[-1]]}"] if len(run) > 2 else [DAYS[day] for day in run]
    return ",".join(parts)
