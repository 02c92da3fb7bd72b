"""What a worker counts. Plain ints, raised where things happen; `as_mapping` gives them names for Prometheus.

A name is `<what>_total` (only grows), or a gauge without that ending; labels stand behind it in Prometheus' own notation:
`sessions_ended_total{reason="client-quit"}`. Names and labels are bounded: every label has a fixed set of values, and what is
none of them counts as "other". Nothing that a stranger chooses (names, addresses, texts) becomes a label.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.access_mode import AccessMode
from gateway.proxy.ahead_tally import AheadTally
from gateway.session.tally import Tally, Traffic

_OTHER: Final = "other"
_LAG_TICK_SECONDS: Final = 0.25
_LAG_KEPT_SECONDS: Final = 30.0

#: Why sessions ended, by class.
SESSION_ENDS: Final = (
    "client-quit",
    "client-vanished",
    "right-ended",
    "idle",
    "terminated",
    "lockdown",
    "shutdown",
    "store-stale",
    "audit-unavailable",
    "protocol-violation",
    "upstream",
    "tripwire",
    _OTHER,
)
#: Why connections and logins were turned away, by class.
REFUSALS: Final = (
    "address-not-admitted",
    "too-many",
    "throttled",
    "tls-required",
    "not-ready",
    "lockdown",
    "right-missing",
    "settings",
    "upstream",
    "protocol-violation",
    _OTHER,
)
#: Why no upstream session could be opened: UpstreamRefused.kind.
UPSTREAM_FAILURES: Final = (
    "unreachable",
    "tls",
    "refused",
    "secret",
    "pooler",
    "protocol",
    "closed",
    "superuser",
    "md5-not-allowed",
    "no-password-asked",
    "unsupported-authentication",
    _OTHER,
)

_END_OF_RIGHT: Final = ("user-", "grant-", "target-", "password-", "mode-", "address-", "group-")
_REFUSAL_CLASSES: Final = {
    "lockdown": "lockdown",
    "not-ready": "not-ready",
    "upstream-or-settings": "upstream",
    "upstream": "upstream",
    "settings": "settings",
    "internal-error": _OTHER,
}


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is now, looked up when somebody asks."""

    sessions_live: int = 0
    sessions_pending: int = 0
    judge_waiting: int = 0
    audit_healthy: bool = True
    store_stale_seconds: float = 0.0
    catalogs: int = 0
    catalog_age_max_seconds: float = 0.0
    catalog_loads: int = 0
    catalog_load_failures: int = 0
    catalog_load_seconds: float = 0.0
    ahead_waiting: int = 0
    ahead: AheadTally = field(default_factory=AheadTally)


class Counters(Traffic):
    """Raise the ints directly; `ended`, `refused` and `upstream_failed` find the class of a reason."""

    __slots__ = (
        "_ends",
        "_lag_before",
        "_lag_now",
        "_refusals",
        "_upstream_failures",
        "audit_copies_dropped",
        "audit_records",
        "cancels",
        "gauges",
        "logins_failed",
        "sessions_started",
        "tallies",
    )

    def __init__(self) -> None:
        super().__init__()
        self.gauges: Callable[[], Gauges] = Gauges
        self.sessions_started = 0
        self.logins_failed = 0
        self.cancels = 0
        self.audit_records = 0
        self.audit_copies_dropped = 0
        self.tallies: Final = {mode: Tally() for mode in AccessMode}
        self._ends = dict.fromkeys(SESSION_ENDS, 0)
        self._refusals = dict.fromkeys(REFUSALS, 0)
        self._upstream_failures = dict.fromkeys(UPSTREAM_FAILURES, 0)
        self._lag_before = self._lag_now = 0.0

    def ended(self, reason: str) -> str:
        """A live session ended: `reason` as the audit says it. Returns its class."""
        found = _class_of_end(reason)
        self._ends[found] += 1
        return found

    def refused(self, rule: str) -> None:
        """A connection or a login was turned away (but for a wrong password, which is `logins_failed`)."""
        self._refusals[_class_of_refusal(rule)] += 1

    def upstream_failed(self, kind: str) -> None:
        self._upstream_failures[kind if kind in self._upstream_failures else _OTHER] += 1

    def as_mapping(self) -> Mapping[str, float]:
        """All of it by name, also what is still zero."""
        now = self.gauges()
        found: dict[str, float] = {
            "sessions_started_total": self.sessions_started,
            "sessions_live": now.sessions_live,
            "sessions_pending": now.sessions_pending,
            "logins_failed_total": self.logins_failed,
            "bytes_from_clients_total": self.bytes_in,
            "bytes_to_clients_total": self.bytes_out,
            "cancels_total": self.cancels,
            "judge_waiting": now.judge_waiting,
            "audit_records_total": self.audit_records,
            "audit_copies_dropped_total": self.audit_copies_dropped,
            "audit_healthy": int(now.audit_healthy),
            "store_stale_seconds": now.store_stale_seconds,
            "catalogs": now.catalogs,
            "catalog_age_max_seconds": now.catalog_age_max_seconds,
            "catalog_loads_total": now.catalog_loads,
            "catalog_load_failures_total": now.catalog_load_failures,
            "catalog_load_seconds": now.catalog_load_seconds,
            "ahead_waiting": now.ahead_waiting,
            "ahead_opened_total": now.ahead.opened,
            "ahead_failures_total": now.ahead.failures,
            "ahead_taken_total": now.ahead.taken,
            "ahead_missed_total": now.ahead.missed,
            "event_loop_lag_max_seconds": max(self._lag_before, self._lag_now),
        }
        for mode, tally in self.tallies.items():
            allowed = tally.statements - tally.denied
            found[f'statements_total{{mode="{mode.value}",verdict="allowed"}}'] = allowed
            found[f'statements_total{{mode="{mode.value}",verdict="denied"}}'] = tally.denied
            found[f'statements_judged_in_child_total{{mode="{mode.value}"}}'] = tally.judged_in_child
        for name, label, counts in (
            ("sessions_ended_total", "reason", self._ends),
            ("refusals_total", "rule", self._refusals),
            ("upstream_failures_total", "kind", self._upstream_failures),
            ("ahead_discarded_total", "reason", now.ahead.discarded),
        ):
            found.update({f'{name}{{{label}="{value}"}}': count for value, count in counts.items()})
        return found

    def moved(self) -> int:
        """Grows with whatever clients ask and get."""
        return self.bytes_in + self.bytes_out + self.sessions_started + self.logins_failed

    async def watch_loop_lag(self) -> None:
        """How late the event loop runs what is due, at most, within the last 30 to 60 seconds. Runs until cancelled."""
        clock = asyncio.get_running_loop().time
        kept_until = clock() + _LAG_KEPT_SECONDS
        while True:
            due = clock() + _LAG_TICK_SECONDS
            await asyncio.sleep(_LAG_TICK_SECONDS)
            now = clock()
            self._lag_now = max(self._lag_now, now - due)
            if now >= kept_until:
                self._lag_before, self._lag_now = self._lag_now, 0.0
                kept_until = now + _LAG_KEPT_SECONDS


def _class_of_end(reason: str) -> str:
    match reason.partition(":")[0].partition(" (")[0]:
        case "client quit":
            return "client-quit"
        case "client vanished":
            return "client-vanished"
        case "protocol violation":
            return "protocol-violation"
        case "tripwire":
            return "tripwire"
        case "upstream" | "upstream lost" | "upstream ended the session":
            return "upstream"
        case "session-terminated":
            return "terminated"
        case "idle-timeout" | "idle-in-transaction-timeout":
            return "idle"
        case ("lockdown" | "shutdown" | "store-stale" | "audit-unavailable") as same:
            return same
        case rule:
            return "right-ended" if rule.startswith(_END_OF_RIGHT) else _OTHER


def _class_of_refusal(rule: str) -> str:
    if rule in _REFUSAL_CLASSES:
        return _REFUSAL_CLASSES[rule]
    if rule.startswith("address-not-admitted"):
        return "address-not-admitted"
    if rule.startswith("too-many"):
        return "too-many"
    if rule in REFUSALS:
        return rule
    return "right-missing" if rule.startswith(_END_OF_RIGHT) else _OTHER


__all__ = ["REFUSALS", "SESSION_ENDS", "UPSTREAM_FAILURES", "Counters", "Gauges"]
