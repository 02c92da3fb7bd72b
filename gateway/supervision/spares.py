"""A worker's process that has loaded its program and waits to be needed: Python's start is most of what a replacement takes."""

import asyncio
import contextlib
import signal
from typing import Final

from gateway.supervision.child import Child
from gateway.supervision.parts import WorkerPart

_FIRST_SECONDS: Final = 10.0  # those who waited for the gateway are let in first
_PAUSE_SECONDS: Final = 2.0  # first let the one who was needed begin its work


class Spares:
    """One spare at a time. It holds all sockets open, so that it has to go first when the gateway ends."""

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self._spare: Child | None = None

    def take(self) -> Child | None:
        spare, self._spare = self._spare, None
        self.wanted.set()
        return spare if spare is not None and spare.alive else None

    def renew(self) -> None:
        """The program may be another by now."""
        self.stop()
        self.wanted.set()

    def stop(self) -> None:
        if self._spare is not None:
            self._spare.signal(signal.SIGKILL)
            self._spare.close()
            self._spare = None

    async def keep(self, part: WorkerPart) -> None:
        """There is always one, or soon."""
        pause = _FIRST_SECONDS
        while True:
            await self.wanted.wait()
            await asyncio.sleep(pause)
            pause = _PAUSE_SECONDS
            self.wanted.clear()
            if self._spare is None or not self._spare.alive:
                with contextlib.suppress(OSError):
                    self._spare = await self.start(part)
                    self._spare.ended.add_done_callback(lambda _: self.wanted.set())

    async def start(self, part: WorkerPart) -> Child:
        """Raises OSError."""
        shares = [[sock.fileno() for sock in share] for share in part.doors.shares]
        return await Child.start("spare", part.command(shares), [fd for share in shares for fd in share])
