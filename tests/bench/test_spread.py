"""Medians, ratios and differences are taken within rounds; percentiles are values that were seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.rounds import rotated
from tests.bench.samples import Metric, Run, Sample, percentile
from tests.bench.spread import Spread, of_differences, of_ratios, of_values, spread

CPU = Metric.QUERY_CPU
values = st.lists(st.floats(min_value=1e-9, max_value=1e9), min_size=1, max_size=9)


def run_of(**by_contestant: list[float]) -> Run:
    """One sample per round and contestant, of one workload."""
    return Run([Sample(n, "w", who, CPU, value) for who, each in by_contestant.items() for n, value in enumerate(each)])


@given(values)
def test_a_spread_holds_its_median(found: list[float]) -> None:
    made = spread(found)
    assert made is not None
    assert made.low <= made.median <= made.high
    assert made.count == len(found)


def test_nothing_measured_has_no_spread() -> None:
    assert spread([]) is None
    assert of_values(Run(), "w", "nobody", CPU) is None


@given(values, st.floats(min_value=0.01, max_value=100))
def test_a_ratio_is_of_the_same_round_whatever_the_round_was_like(weather: list[float], factor: float) -> None:
    run = run_of(base=weather, ours=[value * factor for value in weather])
    ratio = of_ratios(run, "w", "ours", "base", CPU)
    assert ratio is not None
    assert ratio.low == pytest.approx(factor)
    assert ratio.high == pytest.approx(factor)


def test_rounds_that_one_of_both_missed_do_not_count() -> None:
    run = Run([Sample(0, "w", "base", CPU, 1.0), Sample(1, "w", "base", CPU, 2.0), Sample(1, "w", "ours", CPU, 6.0)])
    assert of_ratios(run, "w", "ours", "base", CPU) == Spread(3.0, 3.0, 3.0, 1)
    assert of_differences(run, "w", "ours", "base", CPU) == Spread(4.0, 4.0, 4.0, 1)
    assert of_ratios(run, "w", "ours", "nobody", CPU) is None


def test_a_base_of_nothing_gives_no_ratio() -> None:
    assert of_ratios(run_of(base=[0.0, 2.0], ours=[1.0, 1.0]), "w", "ours", "base", CPU) == Spread(0.5, 0.5, 0.5, 1)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_another_one_begins_each_round_and_all_take_part() -> None:
    turns = [rotated("abc", turn) for turn in range(4)]
    assert turns == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert rotated([], 3) == []
