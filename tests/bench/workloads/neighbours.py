"""Those who are not to suffer: four clients ask a thousand small queries a second, while others misbehave.

Latency counts from when a query was due, so that a proxy which holds everybody up for a moment cannot hide it.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from tests.bench.proxies.contestant import Contestant, Door
from tests.bench.samples import Metric, percentile
from tests.bench.workloads.pgbench import Job, run_pgbench
from tests.bench.workloads.statements import fresh_text, report, report_names
from tests.bench.workloads.workload import Readings, Task
from tests.support.wire import query

VICTIMS: Final = Job("prepared", 4, rate=1000, log=True)
_SLOW_READERS: Final = 8
_SIP_BYTES: Final = 1 << 16
_PAUSE_SECONDS: Final = 0.02
#: 200 MB each: more than they read and all buffers take. Not endless: pgpool-II reads to the end for who has left.
_LONG: Final = "COPY (SELECT w.* FROM wide AS w, generate_series(1, 10000) LIMIT 200000) TO STDOUT"

#: Misbehaves until the event is set.
Disturb = Callable[[Door, threading.Event], None]


def read_slowly(door: Door, stop: threading.Event) -> None:
    """Several clients ask for 200 MB each and take some kilobytes at a time, so that all buffers on the way are full."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(door.raw()) for _ in range(_SLOW_READERS)]
        for client in clients:
            client.send(query(_LONG))
        buffer = bytearray(_SIP_BYTES)
        while not stop.is_set():
            for client in clients:
                client.sock.recv_into(buffer)
            time.sleep(_PAUSE_SECONDS)


def ask_new_reports(door: Door, stop: threading.Event) -> None:
    """One client sends the longest report, each time as a text that nobody has seen."""
    longest = report(report_names()[-1])
    with door.raw() as client:
        for number in itertools.count():
            if stop.is_set():
                return
            client.ask(query(fresh_text(longest, f"number {number}")))


def ask_huge_lists(door: Door, stop: threading.Event) -> None:
    """One client sends 300 kB of numbers to look for, other ones each time: what programs make that know no arrays."""
    with door.raw() as client:
        for number in itertools.count():
            if stop.is_set():
                return
            wanted = ", ".join(str(number * 7919 + each * 13) for each in range(35_000))
            client.ask(query(f"SELECT /* number {number} */ count(*) FROM shop.products WHERE id IN ({wanted})"))


def disturbed(disturb: Disturb) -> Callable[[Contestant, Task], Readings]:
    """The others' p99 without and with it, for as long each; two seconds at least, because pgbench's logins are in them."""

    def measure(contestant: Contestant, task: Task) -> Readings:
        each = Task(max(task.seconds, 2), task.folder)
        quiet = run_pgbench(contestant.reader, VICTIMS, each)
        with _meanwhile(disturb, contestant.reader):
            suffering = run_pgbench(contestant.reader, VICTIMS, each)
        return {
            Metric.QUIET_P99: percentile(quiet.latencies, 0.99),
            Metric.OTHERS_P99: percentile(suffering.latencies, 0.99),
        }

    return measure


@contextlib.contextmanager
def _meanwhile(disturb: Disturb, door: Door) -> Iterator[None]:
    """Raises RuntimeError if the disturbance ended by itself: then nobody was disturbed."""
    stop, failures = threading.Event(), list[Exception]()

    def work() -> None:
        try:
            disturb(door, stop)
        except Exception as error:  # told to who waits for us
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    if failures:
        raise RuntimeError(f"the disturbance failed: {failures[0]}") from failures[0]
