"""Workloads that pgbench drives: the usual queries, changing literals, real statements, connections for one query each."""

import functools
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.proxies.contestant import Contestant, Door
from tests.bench.proxies.processes import find_program
from tests.bench.samples import Metric, percentile
from tests.bench.workloads.workload import Readings, Task

_TRANSACTIONS = re.compile(r"number of transactions actually processed: (\d+)")
_TPS = re.compile(r"tps = ([\d.]+)")


@dataclass(frozen=True, slots=True)
class Job:
    """One call of pgbench. Without `scripts` it runs its own `-S`. `rate`: queries per second that are asked for (0: no limit).

    `once`: each client asks once and leaves, however long that takes.
    """

    mode: str
    clients: int
    scripts: tuple[Path, ...] = ()
    reconnect: bool = False
    rate: int = 0
    log: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """`latencies`: seconds of each query, from when it was due, if they were logged."""

    transactions: int
    per_second: float
    latencies: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of a contestant, for so many queries and for what came with them."""

    seconds: float = 0.0
    queries: int = 0

    def each_beyond(self, less: "Cost") -> float:
        """Of a query, where both came with the same. Raises ValueError where one did not ask more, or nothing more was used."""
        queries, seconds = self.queries - less.queries, self.seconds - less.seconds
        if queries <= 0 or seconds <= 0:
            raise ValueError(f"no cost of a query: {queries} more of them took {seconds * 1e3:.1f} ms more")
        return seconds / queries


def run_pgbench(door: Door, job: Job, task: Task) -> Outcome:
    """Raises RuntimeError with what pgbench said. Of more than eight clients some may need a second to log in: two at least."""
    seconds = max(task.seconds, 2) if job.clients > 8 else task.seconds
    command = [
        find_program("pgbench") or "pgbench",
        "-n",
        "-M",
        job.mode,
        "-c",
        str(job.clients),
        "-j",
        "1",
        *(("-t", "1") if job.once else ("-T", str(seconds))),
    ]
    for script in job.scripts:
        command += ["-f", str(script)]
    command += [] if job.scripts else ["-S"]
    command += ["-C"] if job.reconnect else []
    command += ["-R", str(job.rate)] if job.rate else []
    prefix = task.folder / "latencies"
    command += ["--log", f"--log-prefix={prefix}"] if job.log else []
    done = subprocess.run(command, env=door.environment(), capture_output=True, text=True, check=False, timeout=seconds + 120)
    transactions, tps = _TRANSACTIONS.search(done.stdout), _TPS.search(done.stdout)
    if done.returncode != 0 or transactions is None or tps is None or int(transactions[1]) == 0:
        raise RuntimeError(f"pgbench: {done.stderr.strip()[-500:] or done.stdout.strip()[-500:]}")
    return Outcome(int(transactions[1]), float(tps[1]), _logged(prefix) if job.log else ())


def _logged(prefix: Path) -> tuple[float, ...]:
    """The third column of each line: microseconds. The files are removed."""
    found: list[float] = []
    for path in prefix.parent.glob(f"{prefix.name}.*"):
        found += [int(line.split(" ", 3)[2]) / 1e6 for line in path.read_text().splitlines()]
        path.unlink()
    return tuple(found)


def measure_queries(job: Job, contestant: Contestant, task: Task) -> Readings:
    """CPU per query, queries per second, and latencies where they are logged.

    Of queries on connections that stay, what letting them in costs is taken off: the same clients with one query each.
    """
    cpu, rate = (Metric.LOGIN_CPU, Metric.LOGINS) if job.reconnect else (Metric.QUERY_CPU, Metric.QUERIES)
    arriving = (
        Cost() if job.reconnect or contestant.is_direct else _run(replace(job, once=True, log=False), contestant, task)[0]
    )
    cost, outcome = _run(job, contestant, task)
    found = {rate: outcome.per_second}
    if not contestant.is_direct:
        found[cpu] = cost.each_beyond(arriving)
    if outcome.latencies:
        found[Metric.P50] = percentile(outcome.latencies, 0.5)
        found[Metric.P99] = percentile(outcome.latencies, 0.99)
    return found


def _run(job: Job, contestant: Contestant, task: Task) -> tuple[Cost, Outcome]:
    before = contestant.cpu()
    outcome = run_pgbench(contestant.reader, job, task)
    return Cost(contestant.cpu().seconds_since(before), outcome.transactions), outcome


def usual(mode: str, clients: int) -> Callable[[Contestant, Task], Readings]:
    """pgbench -S. Latencies are logged where one client asks alone."""
    return functools.partial(measure_queries, Job(mode, clients, log=clients == 1))


def scripted(texts: Sequence[str], clients: int, *, mode: str = "simple") -> Callable[[Contestant, Task], Readings]:
    """pgbench with scripts of ours, chosen at random with equal weight."""

    def measure(contestant: Contestant, task: Task) -> Readings:
        paths = []
        for number, text in enumerate(texts):
            path = task.folder / f"script{number}.sql"
            path.write_text(text)
            paths.append(path)
        return measure_queries(Job(mode, clients, tuple(paths)), contestant, task)

    return measure


def connecting(clients: int) -> Callable[[Contestant, Task], Readings]:
    """A connection for each query."""
    return functools.partial(measure_queries, Job("simple", clients, reconnect=True))
