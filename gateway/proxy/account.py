"""What a session says of itself: in listings, and when it is over."""

import time
from datetime import UTC, datetime

from gateway.access.model import Lease
from gateway.access.proof import in_words
from gateway.access.relations import write_name, write_table
from gateway.bus.lines import Payload
from gateway.proxy.standing import Introduction
from gateway.session.conversation import Conversation
from gateway.session.tally import Traffic


def _limits(lease: Lease) -> Payload:
    """Those that the grant has."""
    limits, reading = lease.limits, lease.reading
    found: dict[str, int | None] = {
        "max_sessions": limits.max_sessions,
        "statement_timeout_ms": limits.statement_timeout_ms,
        "idle_timeout_seconds": limits.idle_timeout_seconds,
        "idle_in_transaction_timeout_seconds": limits.idle_in_transaction_timeout_seconds,
        "max_rows": reading.max_rows,
        "max_bytes": reading.max_bytes,
        "max_bytes_per_day": reading.max_bytes_per_day,
    }
    open_ones: Payload = {
        "schemas": [*sorted(map(write_name, reading.schemas))],
        "tables": [*sorted(map(write_table, reading.tables))],
    }
    return {name: limit for name, limit in found.items() if limit is not None} | (open_ones if reading.is_narrow else {})


class Account(Traffic):
    """The bytes are raised directly on the hot path."""

    __slots__ = ("_shared", "_who", "process_id")

    def __init__(self, who: Introduction, shared: Conversation) -> None:
        super().__init__()
        self._who = who
        self._shared = shared
        shared.began, shared.started_at = time.monotonic(), time.time()
        self.process_id: int | None = None  # as the client knows it

    @property
    def busy(self) -> bool:
        """Upstream owes it an answer, or it has a transaction open."""
        return self._shared.busy or self._shared.status != b"I"

    def describe(self, lease: Lease, worker: int) -> Payload:
        return {
            "session": self._who.session_id,
            "user": lease.user.name,
            "target": lease.target.name,
            "mode": lease.mode.value,
            "options": [option.value for option in sorted(lease.options)],
            "max_changed_rows": lease.max_changed_rows,
            "grant": lease.grant_id,
            "proof": in_words(lease.proof),
            "address": str(self._who.address),
            "application": self._who.application,
            "tls": self._who.tls,
            "started_at": datetime.fromtimestamp(self._shared.started_at, UTC).isoformat(timespec="seconds"),
            "state": "active" if self._shared.busy else "idle in transaction" if self.busy else "idle",
            "statements": self._shared.statements,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "worker": worker,
            "process_id": self.process_id,
            "valid_until": lease.valid_until.isoformat() if lease.valid_until else None,
            **_limits(lease),
        }

    def totals(self, reason: str) -> dict[str, str | int | float | bool | None]:
        """For the record of its end."""
        return {
            "reason": reason,
            "statements": self._shared.statements,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "duration_seconds": round(time.monotonic() - self._shared.began, 3),
        }
