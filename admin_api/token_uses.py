"""When each token was last used: noted in memory with each request, written now and then, without a revision of the rights."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

import structlog

from gateway.store.errors import StoreError

WRITE_SECONDS: Final = 10.0

_log: Final = structlog.stdlib.get_logger("admin_api")


class UsesStore(Protocol):
    async def record_token_uses(self, uses: Mapping[str, datetime]) -> None: ...


class TokenUses:
    def __init__(self, store: UsesStore) -> None:
        self._store = store
        self._noted: dict[str, datetime] = {}  # by token id

    def note(self, token_id: str, at: datetime) -> None:
        self._noted[token_id] = at

    async def keep_writing(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """What was noted since the last time. What the store does not take now is tried again."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._store.record_token_uses(noted)
        except StoreError as error:
            self._noted = noted | self._noted
            _log.warning("when tokens were used could not be written", error=str(error))
