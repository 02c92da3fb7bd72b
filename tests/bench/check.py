"""Is the gateway slower than it was? Compares the ratios of two runs; absolute figures of two machines would say nothing.

    python -m tests.bench.check docs/performance-report.json NEW.json [--strict]

A regression: a ratio of the gateway's whose new median is outside of the old span, and whose old median is outside of the new one,
on the worse side, by more than the tolerance; by a quarter where one of both runs measured it only once.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.kept import Ratio, UnreadableRatios, read_ratios
from tests.bench.samples import Better

_GATEWAY: Final = "pgbastion"
_TOLERANCE_WITHOUT_SPREAD: Final = 0.25


@dataclass(frozen=True, slots=True)
class Change:
    """The same ratio in two runs."""

    old: Ratio
    new: Ratio

    @property
    def worse_by(self) -> float:
        """0.1: worse by a tenth; negative: better."""
        before, after = self.old.spread.median, self.new.spread.median
        return after / before - 1 if self.old.metric.unit.better is Better.LOWER else before / after - 1

    @property
    def beyond_spread(self) -> bool:
        """Does neither median lie within the other's span?"""
        before, after = self.old.spread, self.new.spread
        return not before.low <= after.median <= before.high and not after.low <= before.median <= after.high

    def tolerance(self, wanted: float) -> float:
        """Without a second round nobody knows the spread."""
        once = min(self.old.spread.count, self.new.spread.count) < 2
        return max(wanted, _TOLERANCE_WITHOUT_SPREAD) if once else wanted

    def __str__(self) -> str:
        what = f"{self.old.contestant}, {self.old.workload}: {self.old.metric.value} / {self.old.base}"
        return f"{what}: {self.old.spread.written(2)} -> {self.new.spread.written(2)}, {abs(self.worse_by):.0%}"


def changes(old: Sequence[Ratio], new: Sequence[Ratio]) -> list[Change]:
    """Of what both have, of the gateway's."""
    before = {(r.workload, r.contestant, r.metric, r.base): r for r in old if r.contestant.startswith(_GATEWAY)}
    keyed = [((r.workload, r.contestant, r.metric, r.base), r) for r in new]
    return [Change(before[key], ratio) for key, ratio in keyed if key in before]


def moved(found: Sequence[Change], tolerance: float) -> tuple[list[Change], list[Change]]:
    """Those that got worse and those that got better, each the farthest first."""
    beyond = [change for change in found if change.beyond_spread]
    worse = sorted((c for c in beyond if c.worse_by > c.tolerance(tolerance)), key=lambda change: -change.worse_by)
    better = sorted((c for c in beyond if c.worse_by < -c.tolerance(tolerance)), key=lambda change: change.worse_by)
    return worse, better


def main(arguments: Sequence[str] | None = None) -> int:
    """1 with --strict and a regression, 2 for files that cannot be compared."""
    parser = argparse.ArgumentParser(prog="tests.bench.check", description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.05, help="a ratio may be worse by this share (0.05)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when there is a regression")
    given = parser.parse_args(arguments)
    try:
        found = changes(read_ratios(given.old), read_ratios(given.new))
    except UnreadableRatios as error:
        print(error, file=sys.stderr)
        return 2
    if not found:
        print("the two runs have no ratio of the gateway's in common", file=sys.stderr)
        return 2
    worse, better = moved(found, given.tolerance)
    for title, group in (("worse", worse), ("better", better)):
        for change in group:
            print(f"{title}: {change}")
    print(
        f"{len(found)} ratios compared: {len(worse)} worse, {len(better)} better, beyond the spread and {given.tolerance:.0%}"
    )
    return 1 if worse and given.strict else 0


if __name__ == "__main__":
    sys.exit(main())
