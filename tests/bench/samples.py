"""What is measured: metrics, single samples, and all of a run, as it is kept in memory."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Better(Enum):
    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True)
class Unit:
    """How a metric is written: `scale` turns the stored value into the one shown."""

    shown_as: str
    better: Better
    scale: float = 1.0
    decimals: int = 1


class Metric(Enum):
    """Stored in seconds, bytes, or one per second. `value` is the name in the JSON file."""

    QUERY_CPU = "CPU per query"
    QUERIES = "queries per second"
    P50 = "latency p50"
    P99 = "latency p99"
    CPU_PER_BYTE = "CPU per byte"
    BYTES = "bytes per second"
    LOGIN_CPU = "CPU per login and query"
    LOGINS = "logins per second"
    VERDICT = "first verdict"
    QUIET_P99 = "others' p99, undisturbed"
    OTHERS_P99 = "others' p99"
    IDLE_BYTES = "memory per idle connection"
    ALL_BYTES = "memory in all"
    IDLE_CPU = "CPU while nobody asks"
    FEW_P50 = "latency p50 beside few"
    FEW_P99 = "latency p99 beside few"
    ENDING = "all ended within"

    @property
    def unit(self) -> Unit:
        return _UNITS[self]


_UNITS = {
    Metric.QUERY_CPU: Unit("us", Better.LOWER, 1e6),
    Metric.QUERIES: Unit("/s", Better.HIGHER, 1, 0),
    Metric.P50: Unit("us", Better.LOWER, 1e6, 0),
    Metric.P99: Unit("us", Better.LOWER, 1e6, 0),
    Metric.CPU_PER_BYTE: Unit("s/GB", Better.LOWER, 1e9, 2),
    Metric.BYTES: Unit("MB/s", Better.HIGHER, 1e-6, 0),
    Metric.LOGIN_CPU: Unit("us", Better.LOWER, 1e6, 0),
    Metric.LOGINS: Unit("/s", Better.HIGHER, 1, 0),
    Metric.VERDICT: Unit("us", Better.LOWER, 1e6, 0),
    Metric.QUIET_P99: Unit("ms", Better.LOWER, 1e3, 2),
    Metric.OTHERS_P99: Unit("ms", Better.LOWER, 1e3, 2),
    Metric.IDLE_BYTES: Unit("kB", Better.LOWER, 1e-3, 1),
    Metric.ALL_BYTES: Unit("MB", Better.LOWER, 1e-6, 0),
    Metric.IDLE_CPU: Unit("ms/s", Better.LOWER, 1e3, 2),
    Metric.FEW_P50: Unit("us", Better.LOWER, 1e6, 0),
    Metric.FEW_P99: Unit("us", Better.LOWER, 1e6, 0),
    Metric.ENDING: Unit("s", Better.LOWER, 1, 2),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one run. Samples of one `round_number` and workload were taken within minutes of each other."""

    round_number: int
    workload: str
    contestant: str
    metric: Metric
    value: float


@dataclass(slots=True)
class Run:
    """All samples, in the order in which they were taken. `failures`: what was not measured, and why."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def rounds_of(self, workload: str, contestant: str, metric: Metric) -> dict[int, float]:
        """Value by round."""
        key = (workload, contestant, metric)
        return {s.round_number: s.value for s in self.samples if (s.workload, s.contestant, s.metric) == key}

    def contestants(self) -> list[str]:
        return _in_order(sample.contestant for sample in self.samples)

    def workloads(self) -> list[str]:
        return _in_order(sample.workload for sample in self.samples)

    def metrics(self, workload: str) -> list[Metric]:
        return [metric for metric in Metric if any(s.workload == workload and s.metric is metric for s in self.samples)]


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]
