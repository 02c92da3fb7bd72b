"""One rotation at a time, over all gateways on one store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol

from gateway.services.change import new_id
from gateway.services.errors import ServiceError

_NAME: Final = "rotation"
_LEASE_SECONDS: Final = 10.0  # so long whoever comes next waits for one that died
_RENEW_SECONDS: Final = 3.0
_PATIENCE_SECONDS: Final = 20.0
_ASK_SECONDS: Final = 0.3


class Leases(Protocol):
    """The part of a store that knows who is at a work."""

    async def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Also renews it. False: another holder has it."""
        ...

    async def drop_lease(self, name: str, holder: str) -> None: ...


class Lease:
    """`holds` right before each step that cannot be taken back."""

    def __init__(self, leases: Leases, holder: str) -> None:
        self._leases = leases
        self._holder = holder

    async def holds(self) -> bool:
        return await self._leases.take_lease(_NAME, self._holder, _LEASE_SECONDS)

    async def keep(self, over: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RENEW_SECONDS):
                    await over.wait()
            if over.is_set():
                return
            with contextlib.suppress(Exception):  # whoever goes on asks once more, and hears what is wrong
                await self.holds()


@asynccontextmanager
async def only_rotation(leases: Leases) -> AsyncIterator[Lease]:
    """Waits for its turn. Raises ServiceError when another one takes too long."""
    holder = new_id()
    lease = Lease(leases, holder)
    deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    while not await lease.holds():
        if asyncio.get_running_loop().time() > deadline:
            raise ServiceError("rotation-under-way", "another rotation is at work", "Try again in a moment.")
        await asyncio.sleep(_ASK_SECONDS)
    over = asyncio.Event()
    keeping = asyncio.create_task(lease.keep(over), name="rotation lease")
    try:
        yield lease
    finally:
        over.set()
        await keeping  # no question to the store is broken off
        await leases.drop_lease(_NAME, holder)
