"""What one login costs a contestant: CPU in microseconds, from schedstat, and how much of it outside of its busiest process.

    python -m tests.bench.logins [--seconds 3] [--rounds 3] [--contestants PgBouncer pgbastion] [--command 'py-spy record ...']

A round is three seconds in which nobody asks, pgbench -S -C (a connection for each query) and pgbench -S, with 8 clients, for each
contestant in turn: the CPU of the idle time and of the query alone are taken off, since a server that forks slowly leaves few
logins to bear them. One round before the first is not counted. `--command` runs in the middle of each -C, with {busiest} as the
busiest process's id and {root} as the first one's: to see where the rest goes. Nothing here asserts a time.
"""

import argparse
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.proxies import lineup
from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.ground import prepared_ground
from tests.bench.proxies.processes import Snapshot, snapshot
from tests.bench.workloads.pgbench import Job, run_pgbench
from tests.bench.workloads.workload import Task

_CLIENTS = 8
_CAPACITY = 64


def _by_process(before: Snapshot, after: Snapshot) -> Counter[int]:
    """Process id -> nanoseconds on the CPU."""
    found: Counter[int] = Counter()
    for thread, value in after.nanoseconds.items():
        found[int(thread.partition("/")[0])] += value - before.nanoseconds.get(thread, 0)
    return found


def _measure(contestant: Contestant, job: Job, task: Task, idle: Counter[int]) -> dict[int, float]:
    """Process id -> microseconds per transaction, without what it does in idle seconds (nanoseconds in one)."""
    before, started_at = contestant.cpu(), time.monotonic()
    outcome = run_pgbench(contestant.reader, job, task)
    used, seconds = _by_process(before, contestant.cpu()), time.monotonic() - started_at
    return {pid: (value - idle[pid] * seconds) / 1000 / outcome.transactions for pid, value in used.items()}


def _beside(command: str, contestant: Contestant, seconds: int) -> None:
    before = snapshot(contestant.roots)
    time.sleep(seconds / 6)
    busiest = _by_process(before, snapshot(contestant.roots)).most_common(1)[0][0]
    subprocess.run(command.format(busiest=busiest, root=contestant.roots[0]), shell=True, check=False)


def _idle(contestant: Contestant) -> Counter[int]:
    """Process id -> nanoseconds in a second; the least of three, since one process may still be starting."""
    looks = []
    for _ in range(3):
        before = contestant.cpu()
        time.sleep(1)
        looks.append(_by_process(before, contestant.cpu()))
    return looks[0] & looks[1] & looks[2]


def _round(contestant: Contestant, seconds: int, command: str) -> tuple[float, float, float]:
    """Of a login and its query, of all but the busiest process, of the login alone."""
    idle = _idle(contestant)
    with tempfile.TemporaryDirectory() as made:
        task = Task(seconds, Path(made))
        look = threading.Thread(target=_beside, args=(command, contestant, seconds))
        if command:
            look.start()
        both = _measure(contestant, Job("simple", _CLIENTS, reconnect=True), task, idle)
        if command:
            look.join()
        query = _measure(contestant, Job("simple", _CLIENTS), task, idle)
    whole = sum(both.values())
    return whole, whole - max(both.values()), whole - sum(query.values())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="tests.bench.logins", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestants", nargs="+", default=["PgBouncer", "pgbastion"], metavar="NAME", help="that begin so")
    parser.add_argument("--command", default="")
    given = parser.parse_args(arguments)
    entries = [each for each in lineup.chosen(lineup.ENTRIES, given.contestants) if not each.missing()]
    with prepared_ground(max_connections=600, stream_megabytes=1) as ground, ExitStack() as stack:
        started = [stack.enter_context(each.start(ground, _CAPACITY)) for each in entries if each.name != lineup.DIRECT]
        found: dict[str, list[tuple[float, float, float]]] = {each.name: [] for each in started}
        for number in range(given.rounds + 1):
            for contestant in started:
                figures = _round(contestant, given.seconds, given.command)
                if number:
                    found[contestant.name].append(figures)
    print(f"{'us, medians (spans)':<36}{'login and query':>22}{'outside the busiest':>22}{'login':>22}")
    for name, rounds in found.items():
        columns = [sorted(column) for column in zip(*rounds, strict=True)]
        shown = [f"{statistics.median(column):.0f} ({column[0]:.0f} to {column[-1]:.0f})" for column in columns]
        print(f"{name:<36}{shown[0]:>22}{shown[1]:>22}{shown[2]:>22}")


if __name__ == "__main__":
    main()
