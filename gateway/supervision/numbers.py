"""The numbers of workers: one names a process on the bus, in its audit file and in the cancel keys that it gives out."""

import asyncio
from typing import Final

_ALL: Final = 128  # seven bits of a cancel key's process id
_PREFIX: Final = "worker:"


class Numbers:
    """No two processes that live have the same one: during a rolling restart a successor has another than whom it follows."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._freed = asyncio.Event()

    async def take(self, preferred: str | None = None) -> int:
        """The one of `preferred` ("worker:3") if it is free, else the lowest; waits when none is."""
        while True:
            free = [number for number in range(_ALL) if number not in self._taken]
            if free:
                wanted = int(preferred.removeprefix(_PREFIX)) if preferred is not None else free[0]
                number = wanted if wanted in free else free[0]
                self._taken.add(number)
                return number
            self._freed.clear()
            await self._freed.wait()

    def give_back(self, name: str) -> None:
        if name.startswith(_PREFIX):
            self._taken.discard(int(name.removeprefix(_PREFIX)))
            self._freed.set()
