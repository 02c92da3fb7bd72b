"""How much a session may be sent under its grant: rows and bytes of one statement, and bytes of one day. Pure.

A row is a DataRow, or a CopyData of a COPY TO (its header line and trailer, too); bytes are those of these messages, as PostgreSQL
sent them. Counted is what goes to the client. Each Query and each Execute counts for itself, but all of one portal's Executes add
up; so does a SQL cursor's FETCH count for itself. Of a day count all statements that a user sends under a grant, in all sessions.
What a client sends (COPY FROM) is not limited.
"""

from dataclasses import dataclass
from typing import Final

from gateway.session.ledger import Entry
from gateway.session.names import UNSETTLED, Names

DAY_UNKNOWN: Final = "bytes-of-day-unknown"
_PORTALS_KEPT: Final = 100  # before those that are closed are looked for


@dataclass(frozen=True, slots=True)
class Limits:
    """None: any number. `grant` is how errors name the grant."""

    grant: str
    max_rows: int | None = None
    max_bytes: int | None = None
    max_bytes_per_day: int | None = None


class DayCount:
    """Bytes that one user was sent under one grant since the day began, as far as this process knows. Shared by its sessions.

    `sent` holds what `unreported` does. `resets` is when the next day begins, for people. `touched`: somebody asked for it.
    `known`: what all processes sent was told to this one; else no statement that shows rows may begin.
    """

    __slots__ = ("known", "resets", "sent", "touched", "unreported")

    def __init__(self, resets: str, sent: int = 0, *, known: bool = False) -> None:
        self.resets = resets
        self.sent = sent
        self.known = known
        self.unreported = 0
        self.touched = True

    def add(self, size: int) -> None:
        self.sent += size
        self.unreported += size


@dataclass(frozen=True, slots=True)
class Passed:
    """A limit that would be passed. `rule` is its name in kebab-case, `limit` its value; `resets`: when it begins anew, or ""."""

    rule: str
    limit: int
    grant: str
    resets: str = ""


class Meter:
    """What one statement's reply, or one portal's, came to."""

    __slots__ = ("_day", "_limits", "bytes", "rows")

    def __init__(self, limits: Limits, day: DayCount | None) -> None:
        self._limits = limits
        self._day = day
        self.rows = 0
        self.bytes = 0

    def take(self, size: int) -> Passed | None:
        """One row more, of so many bytes; counted only where it passes no limit."""
        limits, day = self._limits, self._day
        if limits.max_rows is not None and self.rows >= limits.max_rows:
            return Passed("max-rows", limits.max_rows, limits.grant)
        if limits.max_bytes is not None and self.bytes + size > limits.max_bytes:
            return Passed("max-bytes", limits.max_bytes, limits.grant)
        if day is not None:
            if limits.max_bytes_per_day is not None and day.sent + size > limits.max_bytes_per_day:
                return Passed("max-bytes-per-day", limits.max_bytes_per_day, limits.grant, day.resets)
            day.add(size)
        self.rows += 1
        self.bytes += size
        return None

    def restart(self) -> None:
        """The next statement of the same text begins."""
        self.rows = self.bytes = 0


class Volume:
    """One session's limits, and what its open portals were sent."""

    __slots__ = ("_portals", "day", "limits")

    def __init__(self, limits: Limits, day: DayCount | None = None) -> None:
        self.limits = limits
        self.day = day
        self._portals: dict[bytes, tuple[Entry, Meter]] = {}

    @property
    def used_up(self) -> Passed | None:
        """The day's bytes, before a statement begins."""
        limits, day = self.limits, self.day
        if day is not None:
            day.touched = True
        if day is None or limits.max_bytes_per_day is None:
            return None
        if not day.known:
            return Passed(DAY_UNKNOWN, limits.max_bytes_per_day, limits.grant)
        if day.sent < limits.max_bytes_per_day:
            return None
        return Passed("max-bytes-per-day", limits.max_bytes_per_day, limits.grant, day.resets)

    def of_statement(self) -> Meter:
        return Meter(self.limits, self.day)

    def of_portal(self, name: bytes, bound: Entry, portals: Names[Entry]) -> Meter:
        """`bound`: its Bind, by which it differs from others of the name. `portals`: those that are open, so many at most."""
        known = self._portals.get(name)
        if known is not None and known[0] is bound:
            return known[1]
        if len(self._portals) >= _PORTALS_KEPT:
            self._portals = {key: kept for key, kept in self._portals.items() if portals.lookup(key) in (kept[0], UNSETTLED)}
        meter = self.of_statement()
        self._portals[name] = bound, meter
        return meter
