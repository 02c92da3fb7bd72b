"""Memory while clients come and go: does it stand still?

    python -m tests.bench.churn [--minutes 60] [--contestants pgbastion ...] [--output CHART.svg]

All contestants at once are sent pgbench -S -C (a connection for each query). Twice a minute everybody leaves, and what the
proxies keep is read: PSS of all their processes. `python -m tests.bench --churn-minutes` does the same and reports it.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.curves import Curve, curve_chart
from tests.bench.proxies import lineup
from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.gateway import COMPILED, COMPILED_TLS, PURE, PURE_TLS, Build
from tests.bench.proxies.ground import Ground, prepared_ground
from tests.bench.workloads.pgbench import Job, run_pgbench
from tests.bench.workloads.workload import Task

_CLIENTS: Final = 4
_TURN_SECONDS: Final = 30
_SETTLE_SECONDS: Final = 1.5  # what a session leaves behind (farewells, timers) is gone by then
_MB: Final = 1e6
TITLE: Final = "Memory over churn, MB"


@dataclass(frozen=True, slots=True)
class Point:
    """After so many seconds and logins, with nobody there."""

    seconds: float
    logins: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Course:
    """How one contestant's memory went."""

    contestant: str
    points: tuple[Point, ...]
    refused_turns: int = 0  # ended by a login that did not get in; memory was read after them, too

    @property
    def bytes_per_login(self) -> float:
        """Growth over the second half, between the medians of its first and its last third; what a start costs is not in it."""
        late = self.points[len(self.points) // 2 :]
        third = max(len(late) // 3, 1)
        first, last = late[:third], late[-third:]
        logins = statistics.mean(p.logins for p in last) - statistics.mean(p.logins for p in first)
        grown = statistics.median(p.bytes for p in last) - statistics.median(p.bytes for p in first)
        return grown / logins if logins > 0 else 0.0


def default_builds() -> tuple[Build, ...]:
    """The gateway as it usually runs here, without TLS and with it."""
    return (PURE, PURE_TLS) if COMPILED.missing() else (COMPILED, COMPILED_TLS)


def measure_churn(ground: Ground, entries: Sequence[lineup.Entry], minutes: float, tell: Callable[[str], None]) -> list[Course]:
    """Raises what a contestant that does not start raises."""
    with ExitStack() as stack:
        contestants = [stack.enter_context(entry.start(ground, 2 * _CLIENTS)) for entry in entries]
        pool = stack.enter_context(ThreadPoolExecutor(len(contestants)))
        began, logins = time.monotonic(), dict.fromkeys((one.name for one in contestants), 0)
        points: dict[str, list[Point]] = {one.name: [] for one in contestants}
        refused = dict.fromkeys(logins, 0)
        turn = partial(_turn, seconds=min(_TURN_SECONDS, max(int(minutes * 60 / 10), 1)))
        while time.monotonic() - began < minutes * 60:
            for one, (number, trouble) in zip(contestants, pool.map(turn, contestants), strict=True):
                logins[one.name] += number
                refused[one.name] += bool(trouble)
                if trouble:
                    tell(f"{one.name}: {trouble}")
            time.sleep(_SETTLE_SECONDS)
            for one in contestants:
                points[one.name].append(Point(time.monotonic() - began, logins[one.name], one.memory_bytes()))
            found = "; ".join(
                f"{name} {each[-1].bytes / _MB:.1f} MB after {each[-1].logins:,} logins" for name, each in points.items()
            )
            tell(f"{(time.monotonic() - began) / 60:.1f} of {minutes:g} minutes of churn: {found}")
    return [Course(name, tuple(found), refused[name]) for name, found in points.items()]


def _turn(contestant: Contestant, seconds: int) -> tuple[int, str]:
    """How many logins there were, and why it ended early: a refused login (a machine too busy) must not cost the hour."""
    with tempfile.TemporaryDirectory(prefix="bench-churn-") as made:
        job = Job("simple", _CLIENTS, reconnect=True)
        try:
            return run_pgbench(contestant.reader, job, Task(seconds, Path(made))).transactions, ""
        except RuntimeError as error:
            return 0, str(error)


def churn_table(courses: Sequence[Course]) -> str:
    head = ["", "logins", "MB at first", "half-way", "at the end", "kB per 1,000 logins, second half", "turns cut short"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for course in courses:
        points = course.points
        shown = [f"{each.bytes / _MB:.1f}" for each in (points[0], points[len(points) // 2], points[-1])]
        figures = [f"{points[-1].logins:,}", *shown, f"{course.bytes_per_login:.1f}", str(course.refused_turns)]
        lines.append(f"| {course.contestant} | {' | '.join(figures)} |")
    return "\n".join(lines)


def churn_chart(courses: Sequence[Course]) -> str:
    """SVG."""
    curves = [Curve(each.contestant, tuple((p.seconds / 60, p.bytes / _MB) for p in each.points)) for each in courses]
    return curve_chart(TITLE, "PSS of all processes while clients come and go, with nobody there; minutes", curves)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="tests.bench.churn", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--contestants", nargs="+", default=[build.name for build in default_builds()], metavar="NAME")
    parser.add_argument("--output", type=Path, metavar="CHART.svg")
    given = parser.parse_args(arguments)
    entries = [entry for entry in lineup.ENTRIES if entry.name in given.contestants]
    with prepared_ground(max_connections=600, stream_megabytes=1) as ground:
        courses = measure_churn(ground, entries, given.minutes, lambda line: print(line, flush=True))
    print(churn_table(courses))
    if given.output is not None:
        given.output.write_text(churn_chart(courses))


if __name__ == "__main__":
    main()
