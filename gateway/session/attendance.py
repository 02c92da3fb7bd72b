"""How long a session has been doing nothing, and how long what runs has been running. Pure; looked at about once a second.

Nothing on a message's way is stamped for it. What counts as doing something is seen by comparing with the last look: bytes went to
or fro, or a reply is owed. So a query that runs, a COPY and a statement that waits for a lock are never idle, and a session is at
most one look longer idle than it may be.
"""

from enum import Enum, auto
from typing import Final

from gateway.access.model import SessionLimits
from gateway.session.conversation import Conversation
from gateway.session.ledger import QUERY, Entry

_AGAIN_SECONDS: Final = 5.0  # a cancel may come too early, or be caught
_GRACE_SECONDS: Final = 1.0  # for PostgreSQL's own timeout, which comes first where nothing took it away


class Overdue(Enum):
    """What has lasted longer than the grant allows."""

    IDLE = auto()
    IDLE_IN_TRANSACTION = auto()
    STATEMENT = auto()


class Attendance:
    """Of one session. Times are monotonic seconds."""

    __slots__ = ("_began", "_head", "_moved", "_shared", "idle_since")

    def __init__(self, shared: Conversation, now: float) -> None:
        self._shared = shared
        self._moved = -1
        self._head: Entry | None = None
        self._began = now  # of the statement that is due next
        self.idle_since = now

    def look(self, limits: SessionLimits, moved: int, now: float, *, waits: bool) -> Overdue | None:
        """`moved`: how many bytes the client sent and got so far. `waits`: it sent something that has not left yet."""
        if self._shared.busy:
            self.idle_since = now
            return self._look_at_statement(limits.statement_timeout_ms, now)
        self._head = None
        if waits or moved != self._moved:
            self._moved = moved
            self.idle_since = now
            return None
        idle = now - self.idle_since
        in_transaction = limits.idle_in_transaction_timeout_seconds
        if in_transaction is not None and idle >= in_transaction and not self._shared.idle:
            return Overdue.IDLE_IN_TRANSACTION
        at_all = limits.idle_timeout_seconds
        return Overdue.IDLE if at_all is not None and idle >= at_all else None

    def _look_at_statement(self, limit_ms: int | None, now: float) -> Overdue | None:
        """PostgreSQL keeps the time itself, by its statement_timeout. This is for what took that away: a function can."""
        queue = self._shared.ledger.queue
        head = queue[0] if queue else None
        if head is None or head is not self._head:
            self._head, self._began = head, now
            return None
        # Of a Query with several statements PostgreSQL sends all replies together, and each has the time for itself.
        several = head.parameters if head.kind == QUERY else 1
        if limit_ms is None or now - self._began < limit_ms * max(several, 1) / 1000 + _GRACE_SECONDS:
            return None
        self._began += _AGAIN_SECONDS
        return Overdue.STATEMENT
