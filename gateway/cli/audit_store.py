"""Admins' changes, read from the store as it is: nothing is made, migrated or locked, and one that is not there yet is empty."""

import zlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.audit.admin_event import RecordedAdminEvent
from gateway.store import open_store
from gateway.store.places import SqlitePlace, locate

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.sql_store import SqlStore


class StoreChanges:
    """Implements services.audit.Changes."""

    def __init__(self, store: "SqlStore", file: Path | None) -> None:
        """`file`: where the store is one."""
        self._store = store
        self._file = file

    async def read_events(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> Sequence[RecordedAdminEvent]:
        """Raises StoreError."""
        if self._file is not None and not self._file.exists():
            return []
        return await self._store.read_events(since=since, until=until, before=before, after=after, limit=limit)

    async def revision(self) -> int:
        """Another number whenever the store may be another. A file is not opened five times a second for that."""
        if self._file is None:
            newest = await self._store.read_events(limit=1)
            return newest[0].sequence if newest else 0
        return zlib.crc32(repr([_stamp(self._file), _stamp(self._file.with_name(f"{self._file.name}-wal"))]).encode())


def open_changes(settings: "Settings") -> StoreChanges:
    place = locate(settings)
    return StoreChanges(open_store(settings), place.path if isinstance(place, SqlitePlace) else None)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
