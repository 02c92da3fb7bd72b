"""Medians and spans over rounds: of values, of ratios within a round, of differences within a round."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.samples import Metric, Run


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and both ends, over `count` rounds."""

    median: float
    low: float
    high: float
    count: int

    def times(self, factor: float) -> "Spread":
        """In another unit. `factor` is positive."""
        return Spread(self.median * factor, self.low * factor, self.high * factor, self.count)

    def written(self, decimals: int) -> str:
        """The median, and its span where there was more than one round."""
        middle = f"{self.median:,.{decimals}f}"
        return middle if self.count < 2 else f"{middle} ({self.low:,.{decimals}f} to {self.high:,.{decimals}f})"


def spread(values: Sequence[float]) -> Spread | None:
    """None without values."""
    if not values:
        return None
    return Spread(statistics.median(values), min(values), max(values), len(values))


def of_values(run: Run, workload: str, contestant: str, metric: Metric) -> Spread | None:
    return spread(list(run.rounds_of(workload, contestant, metric).values()))


def of_ratios(run: Run, workload: str, contestant: str, base: str, metric: Metric) -> Spread | None:
    """To `base` in the same round; rounds in which either is missing, or `base` is not positive, do not count."""
    theirs = run.rounds_of(workload, base, metric)
    positive = {number: value for number, value in theirs.items() if value > 0}
    return spread(_joined(run.rounds_of(workload, contestant, metric), positive, lambda mine, other: mine / other))


def of_differences(run: Run, workload: str, contestant: str, base: str, metric: Metric) -> Spread | None:
    """Above `base` in the same round."""
    mine, theirs = run.rounds_of(workload, contestant, metric), run.rounds_of(workload, base, metric)
    return spread(_joined(mine, theirs, lambda value, other: value - other))


def _joined(mine: Mapping[int, float], theirs: Mapping[int, float], join: Callable[[float, float], float]) -> list[float]:
    return [join(mine[number], theirs[number]) for number in mine if number in theirs]
