"""What the clock brings to a live session: limits that are over, and notices of an end that is near.

Made for a session when it first has any of that to look after: most have neither limits nor an end.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.access.model import NO_LIMITS, Lease
from gateway.proxy import rights_clock
from gateway.proxy.between_messages import Asides
from gateway.proxy.registry import is_attended
from gateway.session.attendance import Attendance, Overdue
from gateway.session.end_notices import EndNotices, end_by_idleness, end_notice
from gateway.wire.backend import build_notice

if TYPE_CHECKING:
    from gateway.proxy.live import LiveSession


def attend(session: "LiveSession") -> None:
    """About once a second."""
    lease = session.lease
    if session.ended or not is_attended(lease):
        return
    if session.attending is None:
        if lease.limits == NO_LIMITS and _is_far(lease, session.worker.settings.limits.end_notices_seconds):
            return
        session.attending = Attending(session)
    session.attending.look()


def _is_far(lease: Lease, before_seconds: Sequence[float]) -> bool:
    """It ends, but nobody is told yet."""
    horizon = timedelta(seconds=max(before_seconds, default=0.0))
    return lease.valid_until is not None and lease.valid_until - rights_clock.now() > horizon


class Attending:
    __slots__ = ("_asides", "_attendance", "_notices", "_session")

    def __init__(self, session: "LiveSession") -> None:
        side = session.upstream_side
        self._session = session
        self._asides = Asides(session.client, session.upstream, lambda: side.body_left)
        self._attendance = Attendance(session.shared, time.monotonic())
        self._notices = EndNotices()

    def look(self) -> None:
        session, now = self._session, time.monotonic()
        lease = session.lease
        if lease.limits != NO_LIMITS:
            moved = session.account.bytes_in + session.account.bytes_out
            unsent = session.client_side.on_hold or bool(session.releasing)
            overdue = self._attendance.look(lease.limits, moved, now, waits=unsent)
            if overdue is Overdue.STATEMENT:
                session.shared.event("cancel", {"outcome": "sent", "reason": "statement-timeout"})
                session.record()
                session.cancel.request()
            elif overdue is not None:
                session.end(*end_by_idleness(lease, overdue, now - self._attendance.idle_since))
                return
        if lease.valid_until is not None:
            self._announce_end()

    def close(self) -> None:
        """The session is over."""
        self._asides.close()

    def _announce_end(self) -> None:
        session = self._session
        before = session.worker.settings.limits.end_notices_seconds
        ends_at = session.standing.ends_at(session.worker.directory.snapshot, max(before, default=0.0))
        now = rights_clock.now()
        if ends_at is None or not self._notices.is_due(ends_at, now, before):
            return
        session.shared.event("end_announced", {"ends_at": ends_at.isoformat(timespec="seconds")})
        session.record()
        self._asides.say(build_notice(end_notice(session.lease, ends_at, now)))
