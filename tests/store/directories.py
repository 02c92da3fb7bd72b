"""Running directories, and how long the event loop was kept from turning meanwhile."""

import asyncio
import contextlib
import time

from gateway.store.directory import StoreDirectory


@contextlib.asynccontextmanager
async def running(place, poll_seconds=0.1, stale_after_seconds=0.6):
    directory = StoreDirectory(
        place.where, poll_seconds=poll_seconds, stale_after_seconds=stale_after_seconds, keys=place.vault
    )
    await directory.start()
    try:
        yield directory
    finally:
        await directory.close()


async def until(condition, timeout_seconds=5.0):
    async with asyncio.timeout(timeout_seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process's doing
            await asyncio.sleep(0.005)


class Lag:
    """The longest time between two turns of the loop that should be a millisecond apart."""

    def __init__(self) -> None:
        self.longest_seconds = 0.0

    async def __aenter__(self):
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *_error):
        self._task.cancel()

    async def _measure(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - before - 0.001)
