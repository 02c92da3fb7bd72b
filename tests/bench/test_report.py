"""The report says of each goal what the figures say, shows what is there, and names what is missing."""

import xml.etree.ElementTree as ET

import pytest

from tests.bench.charts import LABEL_WIDTH, Bar, Group, bar_chart
from tests.bench.goals import GOALS, TEAMS, Answer, Goal
from tests.bench.pictures import drawings
from tests.bench.proxies.lineup import ENTRIES
from tests.bench.report import Picture, Settings, workload_table, write_report
from tests.bench.samples import Better, Metric, Run, Sample
from tests.bench.spread import Spread
from tests.bench.versions import Machine
from tests.bench.workloads.catalogue import ALL, BESIDE_REPORTS, CHURN, FROM_SERVER, NOBODY, SIMPLE_1, SIMPLE_8, VERDICT_2KB
from tests.bench.workloads.idle import IDLE
from tests.bench.workloads.many import MANY

MACHINE = Machine(2, "a CPU", 4.0, "a system", (("PgBouncer", "1.18.0"),))
SETTINGS = Settings(2, 1, 100, "2026-11-22")
PEERS = ("PgBouncer", "PgBouncer, TLS", "pgpool-II", "ssh -L")
OURS = ("pgbastion", "pgbastion, TLS", "pgbastion, opened ahead")
SHOWN = {
    SIMPLE_8: (Metric.QUERY_CPU, Metric.QUERIES),
    SIMPLE_1: (Metric.P50, Metric.P99),
    CHURN: (Metric.LOGIN_CPU, Metric.LOGINS),
    NOBODY: (Metric.IDLE_CPU,),
    VERDICT_2KB: (Metric.VERDICT,),
    BESIDE_REPORTS: (Metric.OTHERS_P99,),
    IDLE: (Metric.IDLE_BYTES,),
    MANY: (Metric.IDLE_BYTES, Metric.ALL_BYTES, Metric.IDLE_CPU, Metric.P50, Metric.P99, Metric.FEW_P50, Metric.ENDING),
    **dict.fromkeys(FROM_SERVER, (Metric.BYTES, Metric.CPU_PER_BYTE)),
}


def whole_run(*, ours: float) -> Run:
    """Every figure that a goal needs: direct 1, peers 2, the gateway as given; two rounds, the second twice as slow.

    But a login costs ten times as much.
    """
    contestants = {"direct": 1.0, **dict.fromkeys(PEERS, 2.0), **dict.fromkeys(OURS, ours)}
    return Run(
        [
            Sample(number, workload, who, metric, value * (number + 1) * (10 if metric is Metric.LOGIN_CPU else 1))
            for number in range(2)
            for workload, metrics in SHOWN.items()
            for metric in metrics
            for who, value in contestants.items()
        ]
    )


@pytest.mark.parametrize(
    ("median", "better", "expected"),
    [
        (0.9, Better.LOWER, Answer.GOAL),
        (1.2, Better.LOWER, Answer.AT_LEAST),
        (1.6, Better.LOWER, Answer.MISSED),
        (1.6, Better.HIGHER, Answer.GOAL),
        (1.2, Better.HIGHER, Answer.MISSED),
    ],
)
def test_a_goal_is_judged_by_the_median(median: float, better: Better, expected: Answer) -> None:
    goal = Goal("", "", better, 1.5, 1.0 if better is Better.LOWER else 1.55, lambda _run, _team: None)
    assert goal.judge(Spread(median, 0.0, 9.0, 3)) is expected
    assert goal.judge(None) is Answer.UNKNOWN


def test_every_goal_finds_its_figures() -> None:
    run = whole_run(ours=3.0)
    missing = [goal.title for goal in GOALS if goal.extract(run, TEAMS[0]) is None]
    assert missing == []


def test_goals_are_ratios_of_a_round_or_in_their_unit() -> None:
    run = whole_run(ours=3.0)
    found = {goal.title: goal.extract(run, TEAMS[0]) for goal in GOALS}
    assert found["CPU per simple query / PgBouncer"] == Spread(1.5, 1.5, 1.5, 2)
    assert found["added latency p50, 1 client"] == Spread(3e6, 2e6, 4e6, 2)


def test_a_goal_in_microseconds_is_also_read_as_a_ratio_to_pgbouncer() -> None:
    run = whole_run(ours=3.0)
    rows = [goal for goal in GOALS if "times PgBouncer" in goal.title]
    assert {goal.title.partition(", times")[0]: (goal.at_least, goal.goal) for goal in rows} == {
        "added latency p50, 1 client": (1.9, 1.1),
        "added latency p99, 1 client": (2.9, 1.2),
        "login CPU, new upstream": (4.8, 2.0),
        "login CPU, upstream opened ahead": (2.0, 1.0),
        "login CPU, client TLS": (1.7, 1.0),
    }
    found = {goal.title.partition(", times")[0]: goal.extract(run, TEAMS[0]) for goal in rows}
    # Above direct (1): ours 2, theirs 1. The absolute row stays beside it.
    assert found["added latency p50, 1 client"] == Spread(2.0, pytest.approx(4 / 3), pytest.approx(8 / 3), 2)
    assert all(any(goal.title == absolute for goal in GOALS) for absolute in found)


def test_without_figures_a_goal_says_so() -> None:
    text = write_report(Run([Sample(0, SIMPLE_8, "pgbastion", Metric.QUERIES, 1.0)]), MACHINE, SETTINGS, ())
    rows = [line for line in text.splitlines() if line.startswith("| CPU per simple query / PgBouncer")]
    assert rows == ["| CPU per simple query / PgBouncer | 1.5 | 1 |  | not measured |"]


def test_the_report_holds_goals_figures_versions_pictures_and_what_is_missing() -> None:
    run = whole_run(ours=3.0)
    run.failures.append("haproxy, TCP did not take part: haproxy is not installed")
    text = write_report(run, MACHINE, SETTINGS, [Picture("CPU", "report-cpu.svg")])
    for expected in (
        "PgBouncer 1.18.0",
        "2 CPUs",
        "![CPU](report-cpu.svg)",
        "haproxy is not installed",
        "PostgreSQL has a process",
    ):
        assert expected in text
    for goal in GOALS:
        assert goal.title in text
    for workload in run.workloads():
        assert f"### {workload}" in text


def test_what_is_measured_beside_thousands_stands_in_microseconds_above_direct() -> None:
    (row,) = [line for line in workload_table(whole_run(ours=3.0), MANY).splitlines() if line.startswith("| pgbastion |")]
    assert row.split(" | ")[1:3] == ["4,500,000 (3,000,000 to 6,000,000)", "3,000,000 (2,000,000 to 4,000,000)"]


def test_the_report_says_how_many_were_real() -> None:
    some = write_report(whole_run(ours=3.0), MACHINE, Settings(2, 1, 200, "2026-11-22"), ())
    many = write_report(whole_run(ours=3.0), MACHINE, Settings(2, 1, 10_000, "2026-11-22"), ())
    assert "- 200 idle connections." in some
    assert "stand-in for PostgreSQL" not in some
    assert "- 1,000 idle connections." in many
    assert "- Many idle connections: 10,000." in many


def test_tables_are_rectangular() -> None:
    run = whole_run(ours=3.0)
    for workload in run.workloads():
        lines = workload_table(run, workload).splitlines()
        assert len({line.count("|") for line in lines}) == 1
        assert any(line.startswith("| pgbastion |") for line in lines)


def test_charts_are_well_formed_and_show_every_contestant() -> None:
    made = list(drawings(whole_run(ours=3.0)))
    assert {drawing.key for drawing in made} >= {"cpu", "throughput", "latency", "streaming", "login", "idle"}
    for drawing in made:
        words = "".join(ET.fromstring(drawing.svg).itertext())
        assert drawing.title in words
        assert "pgbastion, TLS" in words


@pytest.mark.parametrize("name", [entry.name for entry in ENTRIES])
def test_the_longest_name_is_not_cut(name: str) -> None:
    """At this size a letter of the font takes 5.8 pixels on average, 6.5 of words of wide ones."""
    assert len(name) * 6.5 <= LABEL_WIDTH - 8


def test_a_chart_stays_within_its_paper_and_cuts_who_is_far_behind() -> None:
    bars = (
        Bar("a <peer> & more", Spread(900.0, 800.0, 1000.0, 3), ours=False),
        Bar("below nothing", Spread(-2.0, -5.0, 1.0, 3), ours=False),
        Bar("pgbastion", Spread(5.0, 4.0, 6.0, 3), ours=True),
    )
    svg = bar_chart("t", "s", [Group("g", bars), Group("empty", ())], decimals=0, reference=1.0)
    root = ET.fromstring(svg)
    width = float(root.attrib["width"])
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(rect.attrib.get("x", 0)) + float(rect.attrib["width"]) <= width
    words = "".join(root.itertext())
    assert "900 (cut)" in words
    assert "a <peer> & more" in words
    assert "empty" not in words


def test_workload_names_are_unique_and_each_goal_can_name_one() -> None:
    names = [workload.name for workload in ALL]
    assert len(set(names)) == len(names)
    assert set(SHOWN) - {IDLE, MANY} <= set(names)
