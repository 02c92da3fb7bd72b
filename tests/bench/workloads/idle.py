"""Connections that do nothing: memory of each, and what the proxy burns while nobody asks.

PostgreSQL has a process per session, so ten thousand real ones are for large machines: by default fewer are opened, and memory
per connection is what the difference gives. The number is an option.
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
_SETTLE_SECONDS: Final = 1.0


def measure_idle(entry: Entry, ground: Ground, connections: int) -> Readings:
    """Of a contestant that is started for this alone: memory with that many sessions less memory with a few, per session."""
    with entry.start(ground, connections + _FEW) as contestant:
        if contestant.forks_ahead:
            # Its processes are there before their connections: compare it with one that was started for a few.
            many = _memory_with(contestant, connections + _FEW)
            with entry.start(ground, _FEW) as small:
                few = _memory_with(small, _FEW)
            return {Metric.IDLE_BYTES: (many - few) / connections}
        with contextlib.ExitStack() as stack:
            _open(stack, contestant, _FEW)
            few = _settled(contestant)
            _open(stack, contestant, connections)
            return {Metric.IDLE_BYTES: (_settled(contestant) - few) / connections}


def _memory_with(contestant: Contestant, connections: int) -> int:
    with contextlib.ExitStack() as stack:
        _open(stack, contestant, connections)
        return _settled(contestant)


def _open(stack: contextlib.ExitStack, contestant: Contestant, count: int) -> None:
    for _ in range(count):
        stack.callback(contestant.reader.connect().close)


def _settled(contestant: Contestant) -> int:
    time.sleep(_SETTLE_SECONDS)
    return contestant.memory_bytes()


def burn(contestant: Contestant, task: Task) -> Readings:
    """CPU seconds per second, with nobody connected."""
    if contestant.is_direct:
        return {}
    before = contestant.cpu()
    time.sleep(task.seconds)
    return {Metric.IDLE_CPU: contestant.cpu().seconds_since(before) / task.seconds}
