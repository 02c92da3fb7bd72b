"""Timers that need not be exact fire together: each time the event loop is woken costs more than what most of them do."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

GRID_SECONDS: Final = 0.025


def call_about(loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
    """After so many seconds, or up to 25 ms more."""
    return loop.call_at(math.ceil((loop.time() + seconds) / GRID_SECONDS) * GRID_SECONDS, callback)
