"""What one login costs each process of the gateway: CPU in microseconds, from schedstat.

    python -m tests.bench.logins [--seconds 3] [--rounds 3] [--builds pgbastion "pgbastion, TLS"] [--command 'py-spy record ...']

A round is pgbench -S -C (a connection for each query) and then pgbench -S, both with 8 clients, for each build in turn: the second
tells what the query alone costs, and is taken off. `--command` runs in the middle of each -C, with {worker} as the busiest
worker's process id and {supervisor} as its parent's: to see where the rest goes. Nothing here asserts a time.
"""

import argparse
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.gateway import BUILDS
from tests.bench.proxies.ground import prepared_ground
from tests.bench.proxies.processes import Snapshot, snapshot
from tests.bench.workloads.pgbench import Job, run_pgbench
from tests.bench.workloads.workload import Task

_CLIENTS = 8


def _by_process(before: Snapshot, after: Snapshot) -> dict[int, float]:
    """Process id -> seconds on the CPU."""
    found: dict[int, float] = {}
    for thread, value in after.nanoseconds.items():
        pid = int(thread.partition("/")[0])
        found[pid] = found.get(pid, 0.0) + (value - before.nanoseconds.get(thread, 0)) / 1e9
    return found


def _measure(contestant: Contestant, job: Job, task: Task) -> dict[int, float]:
    """Process id -> seconds per transaction."""
    before = contestant.cpu()
    outcome = run_pgbench(contestant.reader, job, task)
    return {pid: used / outcome.transactions for pid, used in _by_process(before, contestant.cpu()).items()}


def _beside(command: str, contestant: Contestant, seconds: int) -> None:
    before = snapshot(contestant.roots)
    time.sleep(seconds / 6)
    used = _by_process(before, snapshot(contestant.roots))
    supervisor = contestant.roots[0]
    worker = max((pid for pid in used if pid != supervisor), key=lambda pid: used[pid])
    subprocess.run(command.format(worker=worker, supervisor=supervisor), shell=True, check=False)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="tests.bench.logins", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--builds", nargs="+", default=[], metavar="NAME", help="these, by their whole names")
    parser.add_argument("--command", default="")
    given = parser.parse_args(arguments)
    builds = [build for build in BUILDS if build.name in given.builds or not (given.builds or build.missing())]
    with prepared_ground(max_connections=300, stream_megabytes=1) as ground, ExitStack() as stack:
        started = [stack.enter_context(build.start(ground, 64)) for build in builds]
        found: dict[str, list[tuple[float, float, float]]] = {each.name: [] for each in started}
        for _ in range(given.rounds):
            for contestant in started:
                found[contestant.name].append(_round(contestant, given.seconds, given.command))
    print(f"{'us, medians (spans)':<36}{'login and query':>22}{'of it outside the worker':>26}{'login':>20}")
    for name, figures in found.items():
        columns = [sorted(value * 1e6 for value in column) for column in zip(*figures, strict=True)]
        shown = [f"{statistics.median(column):.0f} ({column[0]:.0f}-{column[-1]:.0f})" for column in columns]
        print(f"{name:<36}{shown[0]:>22}{shown[1]:>26}{shown[2]:>20}")


def _round(contestant: Contestant, seconds: int, command: str) -> tuple[float, float, float]:
    """Of a login and its query, of all but the busiest process, of the login alone."""
    with tempfile.TemporaryDirectory() as made:
        task = Task(seconds, Path(made))
        look = threading.Thread(target=_beside, args=(command, contestant, seconds))
        if command:
            look.start()
        both = _measure(contestant, Job("simple", _CLIENTS, reconnect=True), task)
        if command:
            look.join()
        query = _measure(contestant, Job("simple", _CLIENTS), Task(1, Path(made)))
    whole = sum(both.values())
    return whole, whole - max(both.values()), whole - sum(query.values())


if __name__ == "__main__":
    main()
