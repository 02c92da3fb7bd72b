"""Which of several grants counts. Pure.

The rule, as docs/admin.md states it: of the grants that may be used now and include the access mode, the widest. Grants are
compared by what they add to the mode and take from it, then by which relations they open, by their limits (none is wider than
any), and by how long they last; the first that differs decides. So a short grant never cuts a longer one: when it is over, the
next carries the session on. Two lists of relations are never put together.

Grants of access requests come first or last: one for a database role goes before all others (who asked for it wants it now), and
one for certain statements or operations behind them. Of the latter all count together (see `together`): who asks for one more
statement does not lose the others.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.access.backing import backing
from gateway.access.model import Grant, Snapshot
from gateway.access.validity import Validity, When, validity
from gateway.access_mode import AccessMode, GrantOption

DATABASE_ROLE: Final = "database-role"
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Weighed:
    """A grant as of an instant. `lost_backer`: who approved it and may not any more, so that it has ended; "" for nobody."""

    grant: Grant
    validity: Validity
    lost_backer: str = ""

    @property
    def is_live(self) -> bool:
        return self.validity.when is When.LIVE

    @property
    def comes(self) -> datetime | None:
        """When it may be used, if not yet and at all."""
        return None if self.is_live else self.validity.until


def weigh(snapshot: Snapshot, grants: Iterable[Grant], now: datetime) -> list[Weighed]:
    return [_weigh(snapshot, grant, now) for grant in grants]


def _weigh(snapshot: Snapshot, grant: Grant, now: datetime) -> Weighed:
    found = validity(grant, now)
    if not grant.backers:
        return Weighed(grant, found)
    behind = backing(snapshot, grant, now)
    if behind.lost:
        return Weighed(grant, Validity(When.ENDED, None), behind.lost)
    if found.when is When.LIVE and behind.until is not None:
        found = Validity(When.LIVE, behind.until if found.until is None else min(found.until, behind.until))
    return Weighed(grant, found)


def includes(held: AccessMode, asked: AccessMode) -> bool:
    return held is asked or held is AccessMode.READ_WRITE


def widest(live: Sequence[Weighed], mode: AccessMode) -> Weighed | None:
    """The one that counts; None: there is none."""
    if len(live) <= 1:
        return live[0] if live else None
    return max(live, key=lambda each: (*(room for _, room in measures(each.grant, mode)), *_lasting(each)))


def measures(grant: Grant, mode: AccessMode) -> tuple[tuple[str, float], ...]:
    """By what grants are compared, in order, each with its name: what is greater allows more.

    Of two grants of which each allows what the other does not, the first of these that differs decides.
    """
    return *_of_request(grant), *_of_mode(grant, mode), *_of_reading(grant), *_of_limits(grant)


def decides(winner: Weighed, loser: Weighed, mode: AccessMode) -> str:
    """The name of what the winner allows more of; "valid longer" where it is only that; "" where nothing tells the two apart."""
    pairs = zip(measures(winner.grant, mode), measures(loser.grant, mode), strict=True)
    differing = next((name for (name, more), (_, less) in pairs if more != less), None)
    return differing or ("valid longer" if _lasting(winner) != _lasting(loser) else "")


def together(live: Sequence[Weighed], chosen: Weighed) -> list[Weighed]:
    """Those that count beside the chosen one: where it opens certain statements or operations, all others that do just that."""
    if chosen.grant.only is None:
        return [chosen]
    return [each for each in live if each.grant.only is not None and _is_like(each.grant, chosen.grant)]


def _is_like(one: Grant, other: Grant) -> bool:
    """In all but what they open, and how long."""
    return (one.options, one.max_changed_rows, one.limits, one.reading, one.database_role) == (
        other.options,
        other.max_changed_rows,
        other.limits,
        other.reading,
        other.database_role,
    )


def _of_request(grant: Grant) -> tuple[tuple[str, float], ...]:
    only = grant.only
    return (
        (DATABASE_ROLE, grant.database_role is not None),
        ("only-these", math.inf if only is None else len(only.statements) + len(only.operations)),
    )


def _of_mode(grant: Grant, mode: AccessMode) -> tuple[tuple[str, float], ...]:
    options = grant.options
    match mode:
        case AccessMode.READ_ONLY:
            return (("temporary-tables", GrantOption.TEMPORARY_TABLES in options),)
        case AccessMode.READ_WRITE:
            return (
                ("report-only", GrantOption.REPORT_ONLY in options),
                ("no-ddl", GrantOption.NO_DDL not in options),
                ("unfiltered-writes", GrantOption.UNFILTERED_WRITES in options),
                ("max-changed-rows", _room(grant.max_changed_rows)),
            )


def _of_reading(grant: Grant) -> tuple[tuple[str, float], ...]:
    """Of two lists of relations the longer one is taken for the wider."""
    reading = grant.reading
    narrow = reading.is_narrow
    return (
        ("schemas", len(reading.schemas) if narrow else math.inf),
        ("tables", len(reading.tables) if narrow else math.inf),
        ("max-rows", _room(reading.max_rows)),
        ("max-bytes", _room(reading.max_bytes)),
        ("max-bytes-per-day", _room(reading.max_bytes_per_day)),
    )


def _of_limits(grant: Grant) -> tuple[tuple[str, float], ...]:
    limits = grant.limits
    return (
        ("max-sessions", _room(limits.max_sessions)),
        ("statement-timeout", _room(limits.statement_timeout_ms)),
        ("idle-timeout", _room(limits.idle_timeout_seconds)),
        ("idle-in-transaction-timeout", _room(limits.idle_in_transaction_timeout_seconds)),
    )


def _room(limit: int | None) -> float:
    return math.inf if limit is None else limit


def _lasting(each: Weighed) -> tuple[bool, datetime]:
    until = each.validity.until
    return until is None, until or _BEGINNING
