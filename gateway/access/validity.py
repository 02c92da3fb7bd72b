"""When a grant may be used: its dates and its windows together. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.access.model import Grant
from gateway.access.windows import opening


class When(StrEnum):
    """How a grant stands to an instant."""

    LIVE = "live"
    NOT_YET = "not-yet"  # its first day is still to come
    CLOSED = "closed"  # outside its windows
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Validity:
    """`until`: when this changes: a LIVE grant may not be used any more, a NOT_YET or CLOSED one may be. None: never."""

    when: When
    until: datetime | None


def has_ended(grant: Grant, now: datetime) -> bool:
    return grant.valid_until is not None and now >= grant.valid_until


def validity(grant: Grant, now: datetime) -> Validity:
    """As of this instant. Who could be let in only after the grant's end never is: then `until` is None."""
    if has_ended(grant, now):
        return Validity(When.ENDED, None)
    ahead = grant.valid_from is not None and now < grant.valid_from
    begins = grant.valid_from if ahead and grant.valid_from is not None else now
    found = opening(grant.windows, begins)
    if not ahead and found.is_open:
        return Validity(When.LIVE, _first(grant.valid_until, found.until))
    opens = begins if found.is_open else found.until
    comes = opens is not None and (grant.valid_until is None or opens < grant.valid_until)
    return Validity(When.NOT_YET if ahead else When.CLOSED, opens if comes else None)


def _first(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(one, other) if one is not None and other is not None else one or other
