"""Who else is in the databases of targets that are observed: the admin API's process looks, again and again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, Protocol

import structlog

from gateway.access.model import Snapshot
from gateway.ports import LiveGateway, OutsideLook, SecretBox, TargetObservation
from gateway.services.errors import ServiceError
from gateway.services.outside_use import look_now, uses_of
from gateway.services.target_admins import AdminBook
from gateway.store.errors import StoreError, VaultError

_PAUSE_SECONDS: Final = 2.0
_SILENT: Final = "the gateway could not be asked which sessions are its own"
_log: Final = structlog.stdlib.get_logger("admin_api")


class LookBook(AdminBook, Protocol):
    """Where it stands whose turn it is, and what was seen."""

    async def take_observations(self) -> Sequence[TargetObservation]: ...

    async def record_look(self, observation: TargetObservation, look: OutsideLook) -> None: ...


class OutsideWatch:
    def __init__(
        self,
        book: LookBook,
        box: SecretBox,
        gateway: LiveGateway,
        read: Callable[[], Awaitable[Snapshot]],
        clock: Callable[[], datetime],
    ) -> None:
        """`read` gives the rights as they are now."""
        self._book = book
        self._box = box
        self._gateway = gateway
        self._read = read
        self._clock = clock

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                _log.warning("who else uses targets is not seen: the store does not answer", error=str(error))
            except Exception:  # whatever it was, this loop goes on
                _log.exception("who else uses targets could not be seen")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def look(self) -> int:
        """At all that are due; how many. Raises StoreError."""
        due = list(await self._book.take_observations())
        if not due:
            return 0
        snapshot = await self._read()
        for each in due:
            seen = await self._seen(each, snapshot)
            if seen is not None:
                with suppress(StoreError):  # the next look is kept
                    await self._book.record_look(each, seen)
        return len(due)

    async def _seen(self, observation: TargetObservation, snapshot: Snapshot) -> OutsideLook | None:
        target = next((each for each in snapshot.targets.values() if each.id == observation.target_id), None)
        if target is None:
            return None
        at = self._clock()
        try:
            now = await look_now(self._book, self._box, self._gateway, snapshot, target, at)
        except ServiceError as error:
            return OutsideLook(at, (), error.message)
        except VaultError as error:
            return OutsideLook(at, (), str(error))
        return OutsideLook(at, uses_of(now.others)) if now.gateway_known else OutsideLook(at, (), _SILENT)
