"""What a store with thousands of people costs a worker at each change: how long its loop stands still, and the CPU; one command.

    python -m tests.bench.store_holds [--people 1000 5000 20000] [--rounds 5]

A real SQLite store and the directory that every worker watches it with, on uvloop, with the worker's own settings of the collector
and of threads. Each person has a grant on one of 50 targets. Another process changes one row and tells us, as `pgbastion` does. A
turn is what passes between two turns of a task that always wants the next one: by the thread's own CPU time what the loop itself
computes, by the clock what a client waits, too. That task takes turns with the threads that read the store, so that a change is in
force later than where nobody asks. What sessions do with it is `crowd_holds`. Nothing here asserts a time.
"""

import argparse
import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog
import uvloop

from gateway.access.model import Snapshot
from gateway.audit.admin_event import AdminEvent
from gateway.cli.local import Opened, open_control_plane
from gateway.proxy.collecting import collect_the_young
from gateway.settings import Settings
from gateway.store.directory import StoreDirectory
from tests.support.snapshots import ALICE, GRANT, SALES

_TARGETS: Final = 50
_POLL_SECONDS: Final = 0.25
_SWITCH_SECONDS: Final = 0.0005  # the worker's
_IDLE_SECONDS: Final = 0.0002  # a turn that is shorter had nothing to do
_CHANGE: Final = (
    "import sqlite3, sys, time; store = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    'store.executescript(\'BEGIN IMMEDIATE; UPDATE users SET enabled = 1 - enabled WHERE name = "p0";'
    " UPDATE meta SET revision = revision + 1; COMMIT'); print(time.monotonic())"
)


@dataclass(frozen=True)
class Change:
    """In ms: the loop's longest turn, by its CPU time and by the clock; all CPU; from the commit until it is in force."""

    longest: float
    longest_by_clock: float
    cpu: float
    in_force: float


async def _fill(opened: Opened, people: int) -> None:
    async with opened.store.begin() as work:
        environment = next(iter(work.snapshot.environments.values())).id
        targets = [replace(SALES, id=f"t{n}", name=f"t{n}", roles={}, environment_id=environment) for n in range(_TARGETS)]
        users = [replace(ALICE, id=f"u{n}", name=f"p{n}") for n in range(people)]
        for target in targets:
            work.put(target)
        for user in users:
            work.put(user)
        for n, user in enumerate(users):
            work.put(replace(GRANT, id=f"g{n}", holder_id=user.id, target_id=targets[n % _TARGETS].id))
        await work.commit(AdminEvent("os:bench", "users.created", "", "", "", {}))


async def _changed(directory: StoreDirectory, store: Path) -> Change:
    published = asyncio.Event()
    at = 0.0

    def hear(_: Snapshot) -> None:
        nonlocal at
        at = time.monotonic()
        published.set()

    directory.subscribe(hear)
    changing = await asyncio.create_subprocess_exec(sys.executable, "-c", _CHANGE, str(store), stdout=asyncio.subprocess.PIPE)
    assert changing.stdout is not None
    committed = float(await changing.stdout.readline())
    directory.wake()
    others = time.process_time() - time.thread_time()
    ours = longest = by_clock = 0.0
    while not published.is_set():
        before, since = time.thread_time(), time.monotonic()
        await asyncio.sleep(0)
        took = time.thread_time() - before
        longest, by_clock = max(longest, took), max(by_clock, time.monotonic() - since)
        ours += took if took > _IDLE_SECONDS else 0.0
    others = time.process_time() - time.thread_time() - others
    await changing.wait()
    return Change(longest * 1e3, by_clock * 1e3, (ours + others) * 1e3, (at - committed) * 1e3)


async def _measure(people: int, rounds: int) -> list[Change]:
    with tempfile.TemporaryDirectory(prefix="pgbastion-") as folder:
        settings = Settings(state_dir=Path(folder))
        await _fill(await open_control_plane(settings), people)
        store = Path(folder, "store.sqlite3")
        with sqlite3.connect(store) as check:
            assert check.execute("SELECT count(*) FROM grants").fetchone() == (people,)
        directory = StoreDirectory(settings, poll_seconds=_POLL_SECONDS, stale_after_seconds=60)
        await directory.start()
        collect_the_young()
        try:
            return [await _changed(directory, store) for _ in range(rounds)]
        finally:
            await directory.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="*", default=[1_000, 5_000, 20_000])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    sys.setswitchinterval(_SWITCH_SECONDS)
    print("| people | longest turn, CPU ms | by the clock | CPU of a change, ms | in force after, ms |\n|---|---|---|---|---|")
    for people in given.people:
        rounds = uvloop.run(_measure(people, given.rounds))
        figures = (
            min(each.longest for each in rounds),
            min(each.longest_by_clock for each in rounds),
            statistics.median(each.cpu for each in rounds),
            statistics.median(each.in_force for each in rounds),
        )
        print(f"| {people:,} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
