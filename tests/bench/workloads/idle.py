"""Connections that do nothing: memory of each, and what the proxy burns while nobody asks.

PostgreSQL has a process per session, so that a thousand is the most here, and memory per connection is what the difference gives.
More than that are opened at a stand-in: see `many.py`.
"""

import contextlib
import time
from typing import Final

from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.ground import Ground
from tests.bench.proxies.lineup import Entry
from tests.bench.samples import Metric
from tests.bench.workloads.workload import Readings, Task

IDLE: Final = "idle connections"
#: As much as a proxy has that expects hardly anybody; a few connections are made before counting, for what is made once.
_FEW: Final = 8
_SETTLE_SECONDS, _SETTLE_SECONDS_MAX, _SETTLE_READINGS, _STILL_BYTES = 2.0, 20.0, 8, 64_000
#: When processes come or go meanwhile. Each with a new one: memory that was given back once is taken before any other.
_ATTEMPTS: Final = 3


def measure_idle(entry: Entry, ground: Ground, connections: int) -> Readings:
    """Of a contestant that is started for this alone: memory with that many sessions less memory with a few, per session.

    Raises RuntimeError when processes came or went in between, again and again.
    """
    for _ in range(_ATTEMPTS):
        with entry.start(ground, connections + _FEW) as contestant, contextlib.ExitStack() as stack:
            if contestant.forks_ahead:
                # Its processes are there before their connections: compare it with one that was started for a few.
                many = _memory_with(contestant, connections + _FEW, stack)
                stack.close()
                with entry.start(ground, _FEW) as small:
                    return {Metric.IDLE_BYTES: (many - _memory_with(small, _FEW, stack)) / connections}
            time.sleep(contestant.complete_seconds)
            few = _memory_with(contestant, _FEW, stack)
            before = contestant.processes()
            many = _memory_with(contestant, connections, stack)
            if contestant.processes() == before:
                return {Metric.IDLE_BYTES: (many - few) / connections}
    raise RuntimeError("its processes come and go")


def _memory_with(contestant: Contestant, more_connections: int, stack: contextlib.ExitStack) -> int:
    """After opening so many more; they are closed with the stack."""
    for _ in range(more_connections):
        stack.callback(contestant.reader.connect().close)
    return settled_memory(contestant)


def settled_memory(contestant: Contestant) -> int:
    """Bytes, once they stand still for a while."""
    deadline = time.monotonic() + _SETTLE_SECONDS_MAX
    readings = [contestant.memory_bytes()]
    while time.monotonic() < deadline:
        time.sleep(_SETTLE_SECONDS / _SETTLE_READINGS)
        readings.append(contestant.memory_bytes())
        latest = readings[-_SETTLE_READINGS:]
        if len(latest) == _SETTLE_READINGS and max(latest) - min(latest) < _STILL_BYTES:
            break
    return readings[-1]


def burn(contestant: Contestant, task: Task) -> Readings:
    """CPU seconds per second, with nobody connected."""
    if contestant.is_direct:
        return {}
    before = contestant.cpu()
    time.sleep(task.seconds)
    return {Metric.IDLE_CPU: contestant.cpu().seconds_since(before) / task.seconds}
