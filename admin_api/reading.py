"""Snapshots for requests: the newest that the directory has, and never one from before a change of our own."""

import asyncio
from typing import Final

from gateway.access.model import Snapshot
from gateway.ports import Directory
from gateway.store.errors import StoreUnavailableError

_PATIENCE_SECONDS: Final = 3.0


class OwnWrites:
    """`read` is AdminContext.read. `committed` is to be called with the revision of each change of this process."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._committed = 0
        self._news = asyncio.Event()
        directory.subscribe(self._arrived)

    def committed(self, revision: int) -> None:
        self._committed = max(self._committed, revision)
        self._directory.wake()

    async def read(self) -> Snapshot:
        """Raises StoreUnavailableError when what is known is too old: a token may have been revoked in the meantime."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while self._directory.fresh and self._directory.snapshot.revision < self._committed:
                    await self._news.wait()
        except TimeoutError:
            # It answers, and has no such revision: the store was put back to an earlier state.
            self._committed = 0
        if not self._directory.fresh:
            raise StoreUnavailableError("the store has not answered for too long")
        return self._directory.snapshot

    def _arrived(self, _snapshot: Snapshot) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
