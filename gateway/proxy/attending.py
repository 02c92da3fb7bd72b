"""What the clock brings to a live session: limits that are over, and notices of an end that is near.

Made for a session when it first has any of that to look after: most have neither limits nor an end.
"""

import time
from typing import Protocol

from gateway.access.model import NO_LIMITS, Lease
from gateway.proxy import rights_clock
from gateway.proxy.account import Account
from gateway.proxy.between_messages import Asides
from gateway.proxy.standing import Standing
from gateway.proxy.worker import Worker
from gateway.session.attendance import Attendance, Overdue
from gateway.session.conversation import Conversation
from gateway.session.end_notices import EndNotices, end_by_idleness, end_notice
from gateway.wire.backend import ErrorFields, build_notice


class Attended(Protocol):
    """The session, as far as it is needed here."""

    @property
    def lease(self) -> Lease: ...

    @property
    def waits(self) -> bool:
        """Its client sent something that has not left yet."""
        ...

    def record(self) -> None:
        """To the audit: what the conversation has noted."""
        ...

    def cancel_overdue(self) -> None:
        """Stop the statement that runs for longer than it may."""
        ...

    def end(self, reason: str, farewell: ErrorFields | None) -> None: ...


def is_attended(lease: Lease) -> bool:
    """Whether there is anything to look after."""
    return lease.valid_until is not None or lease.limits != NO_LIMITS


class Attending:
    """`look` about once a second."""

    __slots__ = ("_account", "_asides", "_attendance", "_notices", "_session", "_shared", "_standing", "_worker")

    def __init__(
        self, session: Attended, worker: Worker, standing: Standing, account: Account, shared: Conversation, asides: Asides
    ) -> None:
        self._session = session
        self._worker = worker
        self._standing = standing
        self._account = account
        self._shared = shared
        self._asides = asides
        self._attendance = Attendance(shared, time.monotonic())
        self._notices = EndNotices()

    def look(self) -> None:
        lease, account, now = self._session.lease, self._account, time.monotonic()
        if lease.limits != NO_LIMITS:
            moved = account.bytes_in + account.bytes_out
            overdue = self._attendance.look(lease.limits, moved, now, waits=self._session.waits)
            if overdue is Overdue.STATEMENT:
                self._shared.event("cancel", {"outcome": "sent", "reason": "statement-timeout"})
                self._session.record()
                self._session.cancel_overdue()
            elif overdue is not None:
                self._session.end(*end_by_idleness(lease, overdue, now - self._attendance.idle_since))
                return
        if lease.valid_until is not None:
            self._announce_end()

    def close(self) -> None:
        """The session is over."""
        self._asides.close()

    def _announce_end(self) -> None:
        before = self._worker.settings.limits.end_notices_seconds
        ends_at = self._standing.ends_at(self._worker.directory.snapshot, max(before, default=0.0))
        now = rights_clock.now()
        if ends_at is None or not self._notices.is_due(ends_at, now, before):
            return
        self._shared.event("end_announced", {"ends_at": ends_at.isoformat(timespec="seconds")})
        self._session.record()
        self._asides.say(build_notice(end_notice(self._session.lease, ends_at, now)))
