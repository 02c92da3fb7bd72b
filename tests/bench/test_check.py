"""Two runs compared: only what lies outside of both spans, on the worse side, by more than the tolerance is a regression."""

from pathlib import Path

import pytest

from tests.bench.check import changes, main, moved
from tests.bench.kept import Ratio, UnreadableRatios, ratios_of, read_ratios, write_ratios
from tests.bench.report import Settings
from tests.bench.samples import Metric, Run, Sample
from tests.bench.spread import Spread
from tests.bench.versions import Machine

MACHINE = Machine(2, "a CPU", 4.0, "a system", (("PgBouncer", "1.18.0"),))
SETTINGS = Settings(5, 2, 1000, "2026-11-22")


def ratio(
    median: float, low: float, high: float, *, metric: Metric = Metric.QUERY_CPU, who: str = "pgbastion", rounds: int = 5
) -> Ratio:
    return Ratio("simple", who, metric, "PgBouncer", Spread(median, low, high, rounds))


def keep(path: Path, *ratios: Ratio) -> str:
    write_ratios(path, ratios, MACHINE, SETTINGS)
    return str(path)


def verdict(old: Ratio, new: Ratio, tolerance: float = 0.05) -> str:
    worse, better = moved(changes([old], [new]), tolerance)
    return "worse" if worse else "better" if better else "same"


def test_ratios_read_back_as_they_were_written(tmp_path: Path) -> None:
    ratios = [ratio(1.5, 1.25, 2.0), ratio(0.8, 0.7, 0.9, metric=Metric.QUERIES)]
    path = tmp_path / "r.json"
    keep(path, *ratios)
    assert read_ratios(path) == ratios


def test_a_file_of_no_ratios_is_still_readable(tmp_path: Path) -> None:
    keep(tmp_path / "r.json")
    assert read_ratios(tmp_path / "r.json") == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (ratio(1.5, 1.4, 1.6), ratio(2.0, 1.9, 2.1), "worse"),
        (ratio(2.0, 1.9, 2.1), ratio(1.5, 1.4, 1.6), "better"),
        (ratio(1.5, 1.0, 2.5), ratio(2.0, 1.9, 2.1), "same"),  # seen before
        (ratio(1.5, 1.4, 1.6), ratio(2.0, 1.2, 2.6), "same"),  # the new run is too rough to say
        (ratio(1.50, 1.50, 1.50), ratio(1.52, 1.52, 1.52), "same"),  # within the tolerance
    ],
)
def test_what_counts_as_a_change(old: Ratio, new: Ratio, expected: str) -> None:
    assert verdict(old, new) == expected


def test_what_was_measured_once_must_differ_by_more() -> None:
    old, near, far = (ratio(value, value, value, rounds=1) for value in (1.0, 1.2, 1.3))
    assert verdict(old, near) == "same"
    assert verdict(old, far) == "worse"


def test_less_throughput_is_worse() -> None:
    fast, slow = (ratio(value, value, value, metric=Metric.QUERIES) for value in (0.9, 0.6))
    assert verdict(fast, slow) == "worse"
    assert verdict(slow, fast) == "better"


def test_only_the_gateway_is_judged() -> None:
    theirs = ratio(1.0, 1.0, 1.0, who="haproxy, TCP")
    assert changes([theirs], [theirs]) == []


def test_strict_fails_on_a_regression_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = keep(tmp_path / "old.json", ratio(1.5, 1.4, 1.6)), keep(tmp_path / "new.json", ratio(2.0, 1.9, 2.1))
    assert main([old, new]) == 0
    assert "worse: pgbastion, simple: CPU per query / PgBouncer" in capsys.readouterr().out
    assert main([old, new, "--strict"]) == 1
    assert main([new, old, "--strict"]) == 0


def test_files_that_cannot_be_compared_are_an_error(tmp_path: Path) -> None:
    good = keep(tmp_path / "good.json", ratio(1.5, 1.4, 1.6))
    bad = tmp_path / "bad.json"
    for text in ("", "[]", '{"format": 7}', '{"format": 1, "ratios": [{"metric": "CPU per query"}]}'):
        bad.write_text(text)
        with pytest.raises(UnreadableRatios):
            read_ratios(bad)
        assert main([good, str(bad)]) == 2
    assert main([good, str(tmp_path / "none.json")]) == 2
    assert main([good, keep(tmp_path / "empty.json")]) == 2


def test_ratios_of_a_run_have_both_bases() -> None:
    found = (("direct", Metric.QUERIES, 30.0), ("PgBouncer", Metric.QUERIES, 20.0), ("pgbastion", Metric.QUERIES, 15.0))
    run = Run([Sample(0, "simple", who, metric, value) for who, metric, value in found])
    medians = {(r.contestant, r.base): r.spread.median for r in ratios_of(run)}
    assert medians["pgbastion", "PgBouncer"] == 0.75
    assert medians["pgbastion", "direct"] == 0.5
    assert ("direct", "direct") not in medians
