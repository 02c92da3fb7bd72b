"""What a session is told before its right ends, and how its end is put. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from gateway.access.model import Lease
from gateway.access.windows import told
from gateway.session.attendance import Overdue
from gateway.session.effects import fatal
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields

_REASONS: Final = {Overdue.IDLE: "idle-timeout", Overdue.IDLE_IN_TRANSACTION: "idle-in-transaction-timeout"}


class EndNotices:
    """Of one session: each end is announced once for each of the times before it, the longest first.

    Who comes later than that is told at once, and once.
    """

    __slots__ = ("_ends_at", "_told_before")

    def __init__(self) -> None:
        self._ends_at: datetime | None = None
        self._told_before = float("inf")

    def is_due(self, ends_at: datetime | None, now: datetime, before_seconds: Sequence[float]) -> bool:
        """`ends_at`: when nothing carries the session on any more; None: not soon. True: say it now."""
        left = None if ends_at is None else (ends_at - now).total_seconds()
        reached = None if left is None or left <= 0 else min((each for each in before_seconds if left <= each), default=None)
        if reached is None:
            return False
        if ends_at == self._ends_at and reached >= self._told_before:
            return False
        self._ends_at, self._told_before = ends_at, reached
        return True


def end_notice(lease: Lease, ends_at: datetime, now: datetime) -> ErrorFields:
    left = duration_text((ends_at - now).total_seconds())
    by = f" (request {lease.request})" if lease.request else ""
    return ErrorFields(
        "WARNING",
        sqlstate.WARNING,
        f'your access to target "{lease.target.name}"{by} ends in {left}, at {told(ends_at)}; this session ends with it',
        hint=f"Finish or save your work; {_for_longer(lease)}",
    )


def _for_longer(lease: Lease) -> str:
    if not lease.request:
        return "ask your administrator if you need longer."
    if lease.only or lease.database_role is not None:
        return f"if you need longer, ask for the same again: pgbastion request show {lease.request}"
    asked = f"SELECT pgbastion.request(mode => '{lease.mode}', duration => '1h')"
    return f"if you need longer, ask again: {asked}, or pgbastion request create"


def end_by_idleness(lease: Lease, overdue: Overdue, idle_seconds: float) -> tuple[str, ErrorFields]:
    """The reason for the audit, and what the client reads."""
    limits, reason = lease.limits, _REASONS[overdue]
    if overdue is Overdue.IDLE:
        code, most, what = sqlstate.IDLE_SESSION_TIMEOUT, limits.idle_timeout_seconds, "idle timeout"
    else:
        code, most = sqlstate.IDLE_IN_TRANSACTION_TIMEOUT, limits.idle_in_transaction_timeout_seconds
        what = "idle-in-transaction timeout"
    text = (
        f'terminating connection due to {what} of {duration_text(most or 0)} of grant {lease.grant_id} on "{lease.target.name}"'
    )
    return reason, fatal(
        code,
        text,
        "Connect again. A query that runs is never idle; an administrator can change the grant's limit.",
        f"The session did nothing for {duration_text(idle_seconds)}. pgbastion rule: {reason}",
    )


def duration_text(seconds: float) -> str:
    """For people, to the minute or to the second: `10 min`, `1 h 30 min`, `45 s`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10 and rest:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes + (rest >= 30), 60)
    parts = [f"{hours} h"] if hours else []
    return " ".join([*parts, f"{minutes} min"] if minutes or not parts else parts)
