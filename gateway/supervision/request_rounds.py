"""Access requests by the clock: what began, ended or waits for more people is written down, and told.

Every gateway on a store does it; each thing is one transaction that looks once more, so whoever is second finds nothing to do.
Rights end by their grants, in the workers: nothing waits for this.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from gateway.bus.gateway import BusGateway
from gateway.settings import Settings
from gateway.store import open_store
from gateway.store.errors import StoreError

if TYPE_CHECKING:
    from gateway.services.request_people import RequestStore

_LOOK_SECONDS: Final = 1.0  # at the store's revision
_QUIET_SECONDS: Final = 5.0  # likewise, while there is no request whose time runs: none is shorter than a minute
_SHORTEST_SECONDS: Final = 0.02
_RETRY_SECONDS: Final = 5.0
_END_SECONDS: Final = 1.0
_log: Final = structlog.stdlib.get_logger("gateway.requests")


class RevisedStore(Protocol):
    """A store that says cheaply whether it was changed."""

    async def revision(self) -> int: ...


class RequestRounds:
    """`run` for as long as the gateway does; `look` is one round of it."""

    def __init__(self, store: "RequestStore", revised: RevisedStore) -> None:
        self._store = store
        self._revised = revised
        self._seen: int | None = None
        self._next_at: datetime | None = None

    async def run(self) -> None:
        while True:
            try:
                await self.look()
                await asyncio.sleep(self._pause())
            except StoreError as error:
                _log.warning("what became of access requests could not be written down", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:
                _log.exception("access requests could not be looked after")
                await asyncio.sleep(_RETRY_SECONDS)

    async def look(self) -> None:
        """Raises StoreError."""
        revision = await self._revised.revision()
        if revision == self._seen and (self._next_at is None or datetime.now(UTC) < self._next_at):
            return
        from gateway.services.request_sweep import sweep_requests  # nothing of it is needed before

        swept = await sweep_requests(self._store, now=lambda: datetime.now(UTC))
        self._seen, self._next_at = revision, swept.next_at

    def _pause(self) -> float:
        if self._next_at is None:
            return _QUIET_SECONDS
        seconds = (self._next_at - datetime.now(UTC)).total_seconds()
        return min(max(seconds, _SHORTEST_SECONDS), _LOOK_SECONDS)


@asynccontextmanager
async def requests_by_the_clock(settings: Settings) -> AsyncIterator[None]:
    """Meanwhile."""
    gateway = BusGateway(settings.bus_socket)
    store = open_store(settings, on_commit=lambda _revision: gateway.wake())
    task = asyncio.create_task(RequestRounds(store, store).run(), name="access requests")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=_END_SECONDS)  # a transaction is whole or not at all
