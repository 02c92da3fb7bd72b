"""When a worker looks for cycles that nobody refers to any more: the interpreter stands still meanwhile, and all sessions with it.

Young objects are looked through often, a few at a time. All of them, which takes longer the more sessions there are, only in a
second in which nobody asks anything; and after an hour without one. What a session was leaves no cycles behind (see
`tests/e2e/test_memory_of_logins.py`), so that hardly anything waits for that.
"""

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Final

_NEVER: Final = 1_000_000_000
#: How many new objects at a time, and how many times those that stayed before they are looked through again: at most 8,000, 2 ms.
_THRESHOLDS: Final = 2_000, 3, _NEVER
_LOOK_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 600.0
_LATEST_SECONDS: Final = 3600.0


def collect_the_young() -> None:
    """For the whole process. What is loaded by now stays; what a statement makes is freed by its reference counts."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


async def collect_when_quiet(moved: Callable[[], int]) -> None:
    """All, now and then; runs until cancelled. `moved`: grows with whatever clients ask."""
    last, before = time.monotonic(), -1
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now, since = moved(), time.monotonic() - last
        if (since >= _PAUSE_SECONDS and now == before) or since >= _LATEST_SECONDS:
            gc.collect()
            last = time.monotonic()
        before = now
