"""Interleaved rounds: each runs every contestant once per workload, in an order that rotates: slow minutes hit all alike."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.ground import Ground
from tests.bench.proxies.lineup import DIRECT, USUAL_CAPACITY, Entry
from tests.bench.samples import Run, Sample
from tests.bench.workloads.idle import IDLE, measure_idle
from tests.bench.workloads.many import MANY, NOT_ASKED, REAL_AT_MOST, measure_many
from tests.bench.workloads.workload import Readings, Task, Workload

#: A contestant is at rest when all its processes together take less CPU than that in a second. (The gateway asks its store.)
_REST_SECONDS: Final = 0.05
_REST_PATIENCE: Final = 30

T = TypeVar("T")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """`idle_connections`: for the workload of idle connections, run once at the end; 0 leaves it out.

    More than a thousand are opened at a stand-in for PostgreSQL; before that as many as it can carry at PostgreSQL itself.
    """

    rounds: int
    seconds: int
    idle_connections: int

    @property
    def real_connections(self) -> int:
        """So many of them at PostgreSQL itself."""
        return min(self.idle_connections, REAL_AT_MOST)


def run_all(plan: Plan, ground: Ground, entries: Sequence[Entry], workloads: Sequence[Workload], tell: Tell) -> Run:
    """What cannot start or fails is noted in the run, and the others go on."""
    run = Run()
    present = [entry for entry in entries if not _left_out(entry, run)]
    if workloads:
        with contextlib.ExitStack() as stack:
            contestants = [made for entry in present if (made := _start(entry, ground, stack, run)) is not None]
            _await_rest(contestants, run)
            usual_only = {entry.name for entry in present if entry.usual_only}
            _rounds(plan, contestants, workloads, usual_only, run, tell)
    if plan.idle_connections:
        for entry in present:
            if entry.name != DIRECT and not entry.usual_only:
                _measure_idle(entry, ground, plan, run)
        tell(f"{plan.real_connections} idle connections each")
    if plan.idle_connections > REAL_AT_MOST:
        for entry in present:
            if not entry.usual_only:
                _measure_many(entry, ground, plan, run)
                tell(f"{entry.name}, {plan.idle_connections} idle connections")
    return run


def _await_rest(contestants: Sequence[Contestant], run: Run) -> None:
    """What a process does to start (some start others, after they let clients in) is not the cost of the first round's queries."""
    restless: list[str] = []
    for _ in range(_REST_PATIENCE):
        before = [contestant.cpu() for contestant in contestants]
        time.sleep(1)
        used = [contestant.cpu().seconds_since(begun) for contestant, begun in zip(contestants, before, strict=True)]
        restless = [one.name for one, seconds in zip(contestants, used, strict=True) if seconds > _REST_SECONDS]
        if not restless:
            return
    run.failures.append(f"still at work of their own when the first round began: {', '.join(restless)}")


def _rounds(
    plan: Plan,
    contestants: Sequence[Contestant],
    workloads: Sequence[Workload],
    usual_only: Set[str],
    run: Run,
    tell: Tell,
) -> None:
    """`usual_only`: who does not take part in workloads that are not quick."""
    for number in range(plan.rounds):
        started_at = time.monotonic()
        for workload in workloads:
            present = [one for one in contestants if workload.quick or one.name not in usual_only]
            for contestant in rotated(present, number):
                _measure(number, workload, contestant, plan, run)
        tell(f"round {number + 1} of {plan.rounds}: {time.monotonic() - started_at:.0f} s")


def rotated(items: Sequence[T], turn: int) -> list[T]:
    """Another one begins each time."""
    at = turn % len(items) if items else 0
    return [*items[at:], *items[:at]]


def _left_out(entry: Entry, run: Run) -> bool:
    reason = entry.missing()
    if reason:
        run.failures.append(f"{entry.name} did not take part: {reason}")
    return bool(reason)


def _start(entry: Entry, ground: Ground, stack: contextlib.ExitStack, run: Run) -> Contestant | None:
    """It is stopped with the stack."""
    own = contextlib.ExitStack()
    try:
        contestant = own.enter_context(entry.start(ground, USUAL_CAPACITY))
    except Exception as error:  # one that does not start must not keep the others away
        run.failures.append(f"{entry.name} did not take part: {_said(error)}")
        return None
    stack.callback(_stop, entry, own, run)
    return contestant


def _stop(entry: Entry, own: contextlib.ExitStack, run: Run) -> None:
    try:
        own.close()
    except Exception as error:  # its figures are there all the same
        run.failures.append(f"{entry.name} did not end well: {_said(error)}")


def _measure(number: int, workload: Workload, contestant: Contestant, plan: Plan, run: Run) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-task-") as made:
        try:
            readings = workload.measure(contestant, Task(plan.seconds, Path(made)))
        except Exception as error:  # an hour of others' figures is not lost for one
            run.failures.append(f"{contestant.name}, {workload.name}, round {number + 1}: {_said(error)}")
            return
    _keep(run, number, workload.name, contestant.name, readings)


def _measure_idle(entry: Entry, ground: Ground, plan: Plan, run: Run) -> None:
    try:
        readings = measure_idle(entry, ground, plan.real_connections)
    except Exception as error:  # as above
        run.failures.append(f"{entry.name}, {IDLE}: {_said(error)}")
        return
    _keep(run, 0, IDLE, entry.name, readings)


def _measure_many(entry: Entry, ground: Ground, plan: Plan, run: Run) -> None:
    if entry.name in NOT_ASKED:
        run.failures.append(f"{entry.name}, {MANY}: {NOT_ASKED[entry.name]}")
        return
    try:
        readings = measure_many(entry, ground, plan.idle_connections)
    except Exception as error:  # as above
        run.failures.append(f"{entry.name}, {MANY}: {_said(error)}")
        return
    _keep(run, 0, MANY, entry.name, readings)


def _keep(run: Run, number: int, workload: str, contestant: str, readings: Readings) -> None:
    run.samples += [Sample(number, workload, contestant, metric, value) for metric, value in readings.items()]


def _said(error: Exception) -> str:
    return " ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])[:600].replace("\n", " ")
