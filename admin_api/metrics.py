"""What /metrics says: each worker's counters, sessions per configured target, and what this API answered.

Labels are bounded: workers name theirs (gateway/proxy/counters.py), targets are the configured ones, methods and statuses a few.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from admin_api.counts import ApiCounts
from gateway.ports import SessionFacts
from gateway.ports.outbox import OutboxCounts

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_NAME: Final = re.compile(r"([a-z][a-z0-9_]*?)(?:\{(.*)\})?")
_LABEL: Final = re.compile(r'([a-z_]+)="([^"\\]*)"')
_TOTAL: Final = "_total"
_NUMBER: Final = "worker"
_HELP: Final = "From the gateway's workers."


@dataclass(frozen=True, slots=True)
class Seen:
    """What the gateway said at one moment. Empty `workers`: it did not answer. `outbox` None: the store did not."""

    workers: Sequence[Mapping[str, float]]
    sessions: Sequence[SessionFacts]
    targets: Iterable[str]
    workers_expected: int
    store_fresh: bool
    counts: ApiCounts
    outbox: OutboxCounts | None = None
    now: datetime | None = None


class _Once(Collector):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        seen = self._seen
        yield GaugeMetricFamily(
            "pgbastion_up", "1: all workers answer.", value=float(ready(seen.workers, seen.workers_expected))
        )
        yield GaugeMetricFamily("pgbastion_workers", "Workers that answer.", value=len(seen.workers))
        yield GaugeMetricFamily("pgbastion_store_fresh", "1: the store answers the admin API.", value=float(seen.store_fresh))
        yield from _of_workers(seen.workers)
        if seen.workers:
            yield _by_target(seen.sessions, seen.targets)
        answered = CounterMetricFamily("pgbastion_api_answers", "Answers of the admin API.", labels=("method", "status"))
        for (method, status), count in sorted(seen.counts.answers.items()):
            answered.add_metric((method, str(status)), count)
        yield answered
        if seen.outbox is not None:
            yield from _of_outbox(seen.outbox, seen.now)


def render(seen: Seen) -> bytes:
    """Prometheus' text format."""
    return generate_latest(_Once(seen))


def ready(workers: Sequence[Mapping[str, float]], expected: int) -> bool:
    return len(workers) >= expected


def _of_workers(workers: Sequence[Mapping[str, float]]) -> Iterator[Metric]:
    """Each by itself, by its number: when one is replaced, only its own counters begin anew."""
    families: dict[str, list[tuple[tuple[tuple[str, str], ...], float]]] = {}
    for worker in workers:
        number = ("worker", str(int(worker.get(_NUMBER, 0))))
        for text, value in worker.items():
            match = _NAME.fullmatch(text)
            if match is not None and text != _NUMBER:
                families.setdefault(match[1], []).append(((number, *_LABEL.findall(match[2] or "")), value))
    for name, samples in sorted(families.items()):
        keys = [key for key, _ in samples[0][0]]
        family: CounterMetricFamily | GaugeMetricFamily
        if name.endswith(_TOTAL):
            family = CounterMetricFamily(f"pgbastion_{name.removesuffix(_TOTAL)}", _HELP, labels=keys)
        else:
            family = GaugeMetricFamily(f"pgbastion_{name}", _HELP, labels=keys)
        for labels, value in samples:
            family.add_metric([value for _, value in labels], value)
        yield family


def _of_outbox(counts: OutboxCounts, now: datetime | None) -> Iterator[Metric]:
    """What was to be told elsewhere and was not delivered, or not yet."""
    family = GaugeMetricFamily("pgbastion_messages", "Messages that wait, or were given up.", labels=("state",))
    family.add_metric(("pending",), counts.pending)
    family.add_metric(("dead",), counts.dead)
    yield family
    waiting = 0.0
    if counts.oldest_pending_at is not None and now is not None:
        waiting = max((now - counts.oldest_pending_at).total_seconds(), 0.0)
    yield GaugeMetricFamily("pgbastion_messages_oldest_pending_seconds", "How long the oldest waits.", value=waiting)


def _by_target(sessions: Sequence[SessionFacts], targets: Iterable[str]) -> Metric:
    """A session on a target that was deleted this very second is not counted: the label must stay bounded."""
    live = Counter(session.target for session in sessions)
    family = GaugeMetricFamily("pgbastion_target_sessions", "Live sessions on a configured target.", labels=("target",))
    for name in sorted(targets):
        family.add_metric((name,), live[name])
    return family
