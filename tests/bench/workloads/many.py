"""What ten thousand resting sessions mean: memory, CPU while nobody asks, what one that asks waits, how long it takes to end all.

Behind the proxies is a stand-in for PostgreSQL (`proxies/imitation.py`), since PostgreSQL has a process for each session.
"""

import threading
import time
from contextlib import closing
from typing import Final

from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.ground import Ground
from tests.bench.proxies.lineup import DIRECT, Entry
from tests.bench.proxies.stand_in import ground_with_room
from tests.bench.samples import Metric, percentile
from tests.bench.workloads.crowd import Crowd
from tests.bench.workloads.idle import settled_memory
from tests.bench.workloads.workload import Readings

MANY: Final = "many idle connections"
#: With more than so many there is a stand-in for PostgreSQL.
REAL_AT_MOST: Final = 1000
#: Contestants that are not asked to carry so many, by the beginning of their names, and why.
NOT_ASKED: Final = {
    "pgpool-II": "it forks a process for each, which is more than the machine can carry",
    "ssh -L": "both ends look at all channels at each event; what one takes is in the table of idle connections",
    "prototype in C": "it is one of a statement's cost, without a supervisor, a store and rights",
    "pgbastion, opened ahead": "a session that was opened ahead is like another, once it has its client",
    "pgbastion compiled, opened ahead": "as above",
}
_FEW: Final = 8
_ASKING_SECONDS, _RESTING_SECONDS, _ENDING_SECONDS = 3.0, 5.0, 60.0
_REST_SECONDS, _REST_PATIENCE = 0.05, 40
_STILL: Final = 4


def measure_many(entry: Entry, ground: Ground, connections: int) -> Readings:
    """Of a contestant that is started for this alone. Raises RuntimeError when its processes came or went meanwhile."""
    with ground_with_room(ground) as roomy:
        if entry.name == DIRECT:
            with closing(Crowd(roomy.reader())) as crowd:
                return _latency(crowd, Metric.P50, Metric.P99) | _latency(crowd, Metric.FEW_P50, Metric.FEW_P99)
        with entry.start(roomy, connections + 2 * _FEW) as contestant, closing(Crowd(contestant.reader)) as crowd:
            return _measure(contestant, crowd, connections)


def _measure(contestant: Contestant, crowd: Crowd, connections: int) -> Readings:
    time.sleep(contestant.complete_seconds)
    crowd.grow(_FEW)
    processes = _await_rest(contestant)
    found = _latency(crowd, Metric.FEW_P50, Metric.FEW_P99)
    few = settled_memory(contestant)
    crowd.grow(connections)
    many = settled_memory(contestant)
    found |= {Metric.IDLE_BYTES: (many - few) / connections, Metric.ALL_BYTES: many}
    before, began = contestant.cpu(), time.monotonic()
    time.sleep(_RESTING_SECONDS)
    found[Metric.IDLE_CPU] = contestant.cpu().seconds_since(before) / (time.monotonic() - began)
    found |= _latency(crowd, Metric.P50, Metric.P99)
    if contestant.processes() != processes:
        raise RuntimeError("its processes come and go")
    if contestant.shut is not None:
        found[Metric.ENDING] = _end_all(contestant, crowd)
    return found


def _latency(crowd: Crowd, p50: Metric, p99: Metric) -> dict[Metric, float]:
    taken = crowd.latencies(_ASKING_SECONDS)
    return {p50: percentile(taken, 0.5), p99: percentile(taken, 0.99)}


def _await_rest(contestant: Contestant) -> list[int]:
    """Its processes, when for some seconds none came or went, and none had work of its own."""
    processes, still = contestant.processes(), 0
    for _ in range(_REST_PATIENCE):
        before = contestant.cpu()
        time.sleep(1)
        now, used = contestant.processes(), contestant.cpu().seconds_since(before)
        still = still + 1 if now == processes and used < _REST_SECONDS else 0
        if still == _STILL:
            break
        processes = now
    return processes


def _end_all(contestant: Contestant, crowd: Crowd) -> float:
    """Seconds from the call that shuts everybody out to the last client's end of file. Raises RuntimeError, TimeoutError."""
    assert contestant.shut is not None
    watch = crowd.watch()
    shutting = threading.Thread(target=contestant.shut)
    began = time.monotonic()
    shutting.start()
    ending = watch.until_all_ended(_ENDING_SECONDS)
    shutting.join()
    if ending.farewells != len(crowd):
        raise RuntimeError(f"only {ending.farewells} of {len(crowd)} clients were told why (57P01)")
    return ending.at - began
