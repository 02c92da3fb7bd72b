"""Whether a text that was refused can be asked for, and how: several judgements of one text, too many for an event loop."""

from dataclasses import dataclass

from gateway.access_mode import AccessMode
from gateway.audit.redaction import redact
from gateway.statements.asked import Derived, derive
from gateway.statements.policy import Policy, judge


@dataclass(frozen=True, slots=True)
class Search:
    """`policy`: that refused the text. Under a grant that carries nothing: `reading` and `writing`, which know nothing of what is
    in the database, and `there`, the policy for reading that knows what `policy` knows.
    """

    sql: bytes
    policy: Policy
    reading: Policy
    writing: Policy
    there: Policy


@dataclass(frozen=True, slots=True)
class WayOut:
    """By a request for this mode; `exact`: for the statements themselves, not for the operations that they are."""

    mode: AccessMode
    exact: bool


@dataclass(frozen=True, slots=True)
class Sought:
    """What came of looking. `way` None: no request lets it run, or it holds a password, which nobody else is to see."""

    way: WayOut | None


def look(search: Search) -> Sought:
    """For the narrowest that lets it run. Never raises."""
    try:
        return Sought(_narrowest(search))
    except (RecursionError, MemoryError):
        return Sought(None)


def _narrowest(search: Search) -> WayOut | None:
    try:
        text = search.sql.decode()
    except UnicodeDecodeError:
        return None
    if redact(text) != text:
        return None
    plain = {AccessMode.READ_ONLY: search.reading, AccessMode.READ_WRITE: search.writing}
    for exact in (True, False):
        found = derive((text,), plain.__getitem__, exact=exact)
        if not isinstance(found, Derived):
            continue
        if found.mode is AccessMode.READ_WRITE or _runs_there(search, found):
            return WayOut(found.mode, exact)
    return None


def _runs_there(search: Search, found: Derived) -> bool:
    """By what is in the database, too. (A session that may write does not know it.)"""
    if search.policy.mode is not AccessMode.READ_ONLY:
        return True
    return judge(search.sql, search.there.opened_for(found.only)).allowed
