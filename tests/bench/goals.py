"""The goals that issue 5 sets, row by row: what a run says about each, for each build of the gateway.

Where a goal is a number of microseconds, it was set on a machine whose PgBouncer was measured beside it. Behind such a row stands
the same figure as a ratio to PgBouncer's in this run, with the goal as a ratio to PgBouncer's on that machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tests.bench.proxies.gateway import COMPILED, COMPILED_AHEAD, COMPILED_TLS, PURE, PURE_AHEAD, PURE_TLS
from tests.bench.proxies.lineup import DIRECT, PGBOUNCER
from tests.bench.samples import Better, Metric, Run
from tests.bench.spread import Spread, of_differences, of_ratios, of_values
from tests.bench.workloads.catalogue import BESIDE_REPORTS, CHURN, FROM_SERVER, NOBODY, SIMPLE_1, SIMPLE_8, VERDICT_2KB
from tests.bench.workloads.idle import IDLE

PGBOUNCER_TLS: Final = "PgBouncer, TLS"


@dataclass(frozen=True, slots=True)
class Team:
    """One build of the gateway: the contestant without TLS, the one with it, and the one with upstream sessions opened ahead."""

    title: str
    plain: str
    secure: str
    ahead: str


TEAMS: Final = (
    Team("pure", PURE.name, PURE_TLS.name, PURE_AHEAD.name),
    Team("compiled", COMPILED.name, COMPILED_TLS.name, COMPILED_AHEAD.name),
)

Extract = Callable[[Run, Team], Spread | None]


class Answer(Enum):
    GOAL = "goal"
    AT_LEAST = "at least"
    MISSED = "no"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Goal:
    """`at_least` and `goal` are in the row's own unit, as `extract` gives it."""

    title: str
    unit: str
    better: Better
    at_least: float
    goal: float
    extract: Extract
    decimals: int = 2

    def judge(self, found: Spread | None) -> Answer:
        """By the median."""
        if found is None:
            return Answer.UNKNOWN
        sign = 1 if self.better is Better.LOWER else -1
        if sign * found.median <= sign * self.goal:
            return Answer.GOAL
        return Answer.AT_LEAST if sign * found.median <= sign * self.at_least else Answer.MISSED


def _ratio(workload: str, base: str, metric: Metric, *, secure: bool = False) -> Extract:
    return lambda run, team: of_ratios(run, workload, _who(team, secure=secure), base, metric)


def _above_direct(workload: str, metric: Metric) -> Extract:
    return lambda run, team: _added(run, workload, team.plain, metric)


def _added(run: Run, workload: str, who: str, metric: Metric) -> Spread | None:
    found = of_differences(run, workload, who, DIRECT, metric)
    return found and found.times(metric.unit.scale)


def _value(workload: str, metric: Metric, *, secure: bool = False) -> Extract:
    def extract(run: Run, team: Team) -> Spread | None:
        found = of_values(run, workload, _who(team, secure=secure), metric)
        return found and found.times(metric.unit.scale)

    return extract


def _worst_stream(base: str, metric: Metric) -> Extract:
    """Of the four large results, the one that is furthest behind."""

    def extract(run: Run, team: Team) -> Spread | None:
        ratios = [of_ratios(run, workload, team.plain, base, metric) for workload in FROM_SERVER]
        known = [ratio for ratio in ratios if ratio is not None]
        pick = max if metric.unit.better is Better.LOWER else min
        return pick(known, key=lambda ratio: ratio.median) if known else None

    return extract


def _login(pick: Callable[[Team], str]) -> Extract:
    return lambda run, team: _login_of(run, pick(team))


def _login_of(run: Run, who: str) -> Spread | None:
    """A connection and its query, less what a query costs alone, and less what the proxy burns meanwhile when nobody asks."""
    both = of_values(run, CHURN, who, Metric.LOGIN_CPU)
    query = of_values(run, SIMPLE_8, who, Metric.QUERY_CPU)
    if both is None or query is None:
        return None
    idle, rate = of_values(run, NOBODY, who, Metric.IDLE_CPU), of_values(run, CHURN, who, Metric.LOGINS)
    shift = query.median + (idle.median / rate.median if idle and rate else 0.0)
    return Spread(both.median - shift, both.low - shift, both.high - shift, both.count).times(1e6)


def _who(team: Team, *, secure: bool) -> str:
    return team.secure if secure else team.plain


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What a peer takes for the same: `there`, on the machine that the goal was set on, in the goal's unit; and in a run."""

    peer: str
    there: float
    in_run: Callable[[Run], Spread | None]


def _with_ratio(goal: Goal, by: Yardstick) -> tuple[Goal, Goal]:
    """The goal as it was set; and what it says on any machine: how many times the peer's figure."""

    def extract(run: Run, team: Team) -> Spread | None:
        ours, theirs = goal.extract(run, team), by.in_run(run)
        if ours is None or theirs is None or theirs.median <= 0:
            return None
        return ours.times(1 / theirs.median)

    title = f"{goal.title}, times {by.peer}'s ({by.there:g} {goal.unit} where the goal was set)"
    least, most = round(goal.at_least / by.there, 1), round(goal.goal / by.there, 1)
    return goal, Goal(title, "", goal.better, least, most, extract, 1)


_LOWER, _HIGHER = Better.LOWER, Better.HIGHER
_QUERY: Final = Metric.QUERY_CPU

GOALS: Final = (
    Goal("CPU per simple query / PgBouncer", "", _LOWER, 1.5, 1.0, _ratio(SIMPLE_8, PGBOUNCER, _QUERY)),
    Goal("CPU per simple query / pgpool-II", "", _LOWER, 0.6, 0.35, _ratio(SIMPLE_8, "pgpool-II", _QUERY)),
    Goal("with client TLS / PgBouncer with TLS", "", _LOWER, 1.5, 1.0, _ratio(SIMPLE_8, PGBOUNCER_TLS, _QUERY, secure=True)),
    Goal("with client TLS / ssh -L, both ends", "", _LOWER, 0.8, 0.5, _ratio(SIMPLE_8, "ssh -L", _QUERY, secure=True)),
    Goal("throughput, 8 clients / PgBouncer", "", _HIGHER, 0.8, 1.0, _ratio(SIMPLE_8, PGBOUNCER, Metric.QUERIES)),
    *_with_ratio(
        Goal("added latency p50, 1 client", "us", _LOWER, 35, 20, _above_direct(SIMPLE_1, Metric.P50), 0),
        Yardstick(PGBOUNCER, 18, lambda run: _added(run, SIMPLE_1, PGBOUNCER, Metric.P50)),
    ),
    *_with_ratio(
        Goal("added latency p99, 1 client", "us", _LOWER, 75, 30, _above_direct(SIMPLE_1, Metric.P99), 0),
        Yardstick(PGBOUNCER, 26, lambda run: _added(run, SIMPLE_1, PGBOUNCER, Metric.P99)),
    ),
    Goal("streaming throughput / direct, worst of four", "", _HIGHER, 0.9, 1.0, _worst_stream(DIRECT, Metric.BYTES)),
    Goal("streaming CPU / PgBouncer, worst of four", "", _LOWER, 1.2, 0.4, _worst_stream(PGBOUNCER, Metric.CPU_PER_BYTE)),
    *_with_ratio(
        Goal("login CPU, new upstream", "us", _LOWER, 600, 250, _login(lambda team: team.plain), 0),
        Yardstick(PGBOUNCER, 124, lambda run: _login_of(run, PGBOUNCER)),
    ),
    *_with_ratio(
        Goal("login CPU, upstream opened ahead", "us", _LOWER, 250, 125, _login(lambda team: team.ahead), 0),
        Yardstick(PGBOUNCER, 124, lambda run: _login_of(run, PGBOUNCER)),
    ),
    *_with_ratio(
        Goal("login CPU, client TLS", "us", _LOWER, 1400, 815, _login(lambda team: team.secure), 0),
        Yardstick(PGBOUNCER_TLS, 815, lambda run: _login_of(run, PGBOUNCER_TLS)),
    ),
    Goal("idle connection", "kB", _LOWER, 5, 2, _value(IDLE, Metric.IDLE_BYTES), 1),
    Goal("idle connection, client TLS", "kB", _LOWER, 30, 15, _value(IDLE, Metric.IDLE_BYTES, secure=True), 1),
    Goal(
        "others' p99 above direct, beside new reports", "ms", _LOWER, 5, 1, _above_direct(BESIDE_REPORTS, Metric.OTHERS_P99), 1
    ),
    Goal(
        "first verdict of a 2 kB report, above direct", "us", _LOWER, 1000, 200, _above_direct(VERDICT_2KB, Metric.VERDICT), 0
    ),
)


def present_teams(run: Run) -> Sequence[Team]:
    names = run.contestants()
    return [team for team in TEAMS if team.plain in names or team.secure in names]
