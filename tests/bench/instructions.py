"""What a simple query costs in instructions and in system calls: figures that load on the machine does not change.

    python -m tests.bench.instructions [--queries 2000] [--contestants PgBouncer "pgbastion compiled"] [--functions 30]

Each contestant runs under valgrind's callgrind; one client logs in and asks pgbench's query with another number each time, one by
one. What the process does of itself in the same time is taken off. A row says how many instructions of user space a query took, by
library ("twins": our compiled modules), in the main thread of the process that serves it; of a worker, what its event loop does
with sockets, without its timers. `--functions` lists the dearest ones. Then each runs again without valgrind, and strace counts
system calls. Wants Debian's packages valgrind and strace; a contestant takes a minute to start, on a machine that is not busy.
"""

import argparse
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import psutil

from tests.bench.callgrind import Callgrind, Place, callgrind_instead
from tests.bench.proxies import lineup
from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.ground import Ground, prepared_ground
from tests.bench.proxies.lineup import Entry
from tests.bench.proxies.processes import tree
from tests.support.wire import RawClient, query

_CAPACITY: Final = 20
_WARM: Final = 500
_ATTACH_SECONDS: Final = 0.5
_DEFAULT: Final = ("PgBouncer", "pgbastion", "pgbastion, TLS", "pgbastion compiled", "pgbastion compiled, TLS")
_LIBRARIES: Final = (
    ("twins", "_c.cpython"),
    ("uvloop", "uvloop"),
    ("python", "/python3"),
    ("OpenSSL", "libssl"),
    ("OpenSSL", "libcrypto"),
    ("libc", "libc."),
    ("libc", "libc-"),
)


def serving(contestant: Contestant, client: RawClient) -> int:
    """The process that has the client's connection."""
    ours = client.sock.getsockname()[:2]
    for pid in tree(contestant.roots):
        if any(each.raddr[:2] == ours for each in psutil.Process(pid).net_connections("tcp")):
            return pid
    raise RuntimeError(f"no process of {contestant.name} serves the client")


def ask(client: RawClient, queries: int, first: int) -> None:
    for number in range(first, first + queries):
        client.ask(query(f"SELECT abalance FROM pgbench_accounts WHERE aid = {number};"))
        client.transcript.clear()


def count_instructions(callgrind: Callgrind, contestant: Contestant, queries: int) -> dict[Place, float]:
    """Of one query, by function."""
    with contestant.reader.raw() as client:
        ask(client, _WARM, 10_000)
        pid = serving(contestant, client)
        callgrind.begin(pid)
        ask(client, _WARM, 20_000)  # counted code is translated anew
        callgrind.counted(pid)
        begun_at = time.monotonic()
        ask(client, queries, 30_000)
        seconds = time.monotonic() - begun_at
        used = callgrind.counted(pid)
        begun_at = time.monotonic()
        time.sleep(max(2.0, seconds))
        idle, share = callgrind.counted(pid), seconds / (time.monotonic() - begun_at)
    return {place: (count - idle[place] * share) / queries for place, count in used.items()}


def count_calls(contestant: Contestant, queries: int) -> dict[str, float]:
    """Of one query, by the system call's name; calls at rest are taken off."""
    with contestant.reader.raw() as client:
        ask(client, _WARM, 10_000)
        begun_at = time.monotonic()
        pid = serving(contestant, client)
        used = _traced(pid, lambda: ask(client, queries, 30_000))
        seconds = time.monotonic() - begun_at
        idle = _traced(pid, lambda: time.sleep(max(1.0, seconds)))
    share = seconds / max(1.0, seconds)
    return {name: (count - idle[name] * share) / queries for name, count in used.items()}


def _traced(pid: int, work: Callable[[], None]) -> Counter[str]:
    """How often each system call was made meanwhile by the process's main thread."""
    with tempfile.NamedTemporaryFile("r", prefix="bench-strace-") as table:
        strace = subprocess.Popen(["strace", "-q", "-c", "-o", table.name, "-p", str(pid)], stderr=subprocess.DEVNULL)
        try:
            time.sleep(_ATTACH_SECONDS)
            work()
        finally:
            strace.send_signal(signal.SIGINT)
            strace.wait(10)
        # The columns: % time, seconds, usecs/call, calls, errors (or nothing), syscall.
        rows = (line.split() for line in table if line[:6].strip().replace(".", "").isdigit())
        return Counter({row[-1]: int(row[3]) for row in rows if row[-1] != "total"})


def library_of(place: Place) -> str:
    return next((name for name, part in _LIBRARIES if part in place.library), "other")


def _run(entries: Sequence[Entry], ground: Ground, queries: int, functions: int) -> None:
    columns = [*dict.fromkeys(name for name, _ in _LIBRARIES), "other"]
    print(f"{'instructions per query':<26}{'all':>9}" + "".join(f"{name:>9}" for name in columns), flush=True)
    for entry in entries:
        with callgrind_instead(("pgbouncer",)) as callgrind, entry.start(ground, _CAPACITY) as contestant:
            costs = count_instructions(callgrind, contestant, queries)
        by_library: Counter[str] = Counter()
        for place, count in costs.items():
            by_library[library_of(place)] += round(count)
        shown = "".join(f"{by_library[name]:>9,}" for name in columns)
        print(f"{entry.name:<26}{sum(by_library.values()):>9,}{shown}", flush=True)
        for place, count in sorted(costs.items(), key=lambda item: -item[1])[:functions]:
            print(f"  {count:>9,.0f}  {library_of(place):<8}{place.function}", flush=True)
    print("\nsystem calls per query")
    for entry in entries:
        with entry.start(ground, _CAPACITY) as contestant:
            calls = count_calls(contestant, queries)
        shown = ", ".join(
            f"{name} {count:.2f}" for name, count in sorted(calls.items(), key=lambda item: -item[1]) if count >= 0.01
        )
        print(f"{entry.name:<26}{shown}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="tests.bench.instructions", description=__doc__, formatter_class=form)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--contestants", nargs="+", default=_DEFAULT, metavar="NAME", help="by their whole names")
    parser.add_argument("--functions", type=int, default=0, help="so many of the dearest ones, too")
    given = parser.parse_args(arguments)
    entries = [entry for entry in lineup.ENTRIES if entry.name in given.contestants and not entry.missing()]
    with prepared_ground(max_connections=100, stream_megabytes=1) as ground:
        _run(entries, ground, given.queries, given.functions)


if __name__ == "__main__":
    main()
