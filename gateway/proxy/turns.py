"""Work on many sessions, a millisecond at a time: between, others have their turn on the event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

T = TypeVar("T")

TURN_SECONDS: Final = 0.001


async def in_turns(things: Iterable[T]) -> AsyncIterator[T]:
    """One after the other. What is done with one is never cut short, so that a turn lasts a millisecond and that."""
    over_at = time.monotonic() + TURN_SECONDS
    for thing in things:
        yield thing
        if time.monotonic() >= over_at:
            await asyncio.sleep(0)
            over_at = time.monotonic() + TURN_SECONDS
