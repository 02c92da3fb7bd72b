"""The gateway's view of the store: the newest snapshot, kept in memory and never in the way.

A task polls SQLite's `data_version` (one round trip to the driver's thread, no query), reads the revision when something was
committed, and loads everything when the revision moved. No login, no statement and no turn of the event loop waits for it. A
store that is locked, corrupt or gone makes `fresh` False after a while; the last snapshot stays, and the task keeps trying.
"""

import asyncio
import contextlib
import gc
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import aiosqlite
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.access.model import Snapshot
from gateway.store.engine import Access, open_engine, store_errors, store_path
from gateway.store.errors import StoreError, StoreUnavailableError
from gateway.store.migrate import check_key
from gateway.store.queries import fetch_all, fetch_data_version, fetch_meta
from gateway.store.rows import to_snapshot

_CLOSE_TIMEOUT_SECONDS: Final = 2.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Link:
    """One open connection. `data_version` only means something on the connection that read it."""

    connection: AsyncConnection
    driver: aiosqlite.Connection
    file: tuple[int, int]
    data_version: int | None = None


class StoreDirectory:
    """Implements ports.Directory. Opens the file for reading only; one per process, used from its event loop."""

    def __init__(self, url: str, *, poll_seconds: float, stale_after_seconds: float, key_id: str | None = None) -> None:
        """`key_id`: refuse to start on a store whose secrets are sealed with another master key."""
        self._path = store_path(url)
        self._poll_seconds = poll_seconds
        self._stale_after_seconds = stale_after_seconds
        self._key_id = key_id
        self._engine: AsyncEngine = open_engine(self._path, Access.READ)
        self._link: _Link | None = None
        self._snapshot: Snapshot | None = None
        self._answered_at = time.monotonic()
        self._failing = False
        self._wake = asyncio.Event()
        self._subscribers: list[Callable[[Snapshot], None]] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the first snapshot, then watch. Raises StoreError (VaultError when the key is another)."""
        try:
            await self._look()
        except BaseException:
            await self._unlink()
            raise
        self._task = asyncio.create_task(self._watch(), name="store-directory")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._unlink()
        await self._engine.dispose()

    @property
    def snapshot(self) -> Snapshot:
        if self._snapshot is None:
            raise StoreUnavailableError("the directory was not started")
        return self._snapshot

    @property
    def fresh(self) -> bool:
        return self.stale_for_seconds <= self._stale_after_seconds

    @property
    def stale_for_seconds(self) -> float:
        """Seconds since the store last answered; less than a few poll intervals when all is well."""
        return time.monotonic() - self._answered_at

    def wake(self) -> None:
        """Look again now instead of at the next poll."""
        self._wake.set()

    def subscribe(self, callback: Callable[[Snapshot], None]) -> None:
        """`callback` is called on the loop with each snapshot after the first, as soon as it is loaded."""
        self._subscribers.append(callback)

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._poll_seconds)
            self._wake.clear()
            try:
                changed = await self._look()
            except Exception as error:  # whatever it was, this loop goes on: `fresh` tells the rest of the gateway
                await self._fail(error)
            else:
                self._recover()
                if changed:
                    self._publish()

    async def _look(self) -> bool:
        """Whether there is a new snapshot. The order matters: a commit after `data_version` was read shows next time."""
        asked_at = time.monotonic()
        with store_errors(self._path):
            link = self._link
            if link is None or link.file != await asyncio.to_thread(_identity, self._path):
                link = await self._relink()
            version = await fetch_data_version(link.driver)
            changed = version != link.data_version and await self._load(link)
        link.data_version = version
        self._answered_at = asked_at
        return changed

    async def _load(self, link: _Link) -> bool:
        meta = await fetch_meta(link.driver)
        if link.data_version is None:  # a new connection, perhaps to another file: trust nothing
            if self._key_id is not None:
                check_key(meta.key_id, self._key_id)
        elif self._snapshot is not None and meta.revision == self._snapshot.revision:
            return False
        with _no_collection():
            raw = await fetch_all(link.driver)
            try:
                self._snapshot = await asyncio.to_thread(to_snapshot, raw)
            except (ValueError, LookupError, TypeError) as error:
                raise StoreUnavailableError(f"the store {self._path} holds rows that cannot be read") from error
        return True

    async def _relink(self) -> _Link:
        await self._unlink()
        file = await asyncio.to_thread(_identity, self._path)  # first: replaced after this, the next look sees it
        connection = await self._engine.connect()
        try:
            raw = await connection.get_raw_connection()
            driver = cast(aiosqlite.Connection, raw.driver_connection)
            driver.row_factory = sqlite3.Row
            self._link = _Link(connection, driver, file)
        except BaseException:
            await connection.close()
            raise
        return self._link

    async def _unlink(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            # A broken connection may fail to close, or wait for a lock; it is given up either way.
            with contextlib.suppress(Exception):
                await asyncio.wait_for(link.connection.close(), _CLOSE_TIMEOUT_SECONDS)

    def _publish(self) -> None:
        for callback in self._subscribers:
            try:
                callback(self.snapshot)
            except Exception:
                _log.exception("a subscriber of the directory failed")

    async def _fail(self, error: Exception) -> None:
        if not self._failing:
            text = str(error) if isinstance(error, StoreError) else type(error).__name__
            _log.error("the store does not answer; still deciding by the last snapshot", error=text)
        self._failing = True
        await self._unlink()

    def _recover(self) -> None:
        if self._failing:
            _log.warning("the store answers again", revision=self.snapshot.revision)
        self._failing = False


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """So many new objects would start full garbage collections, each of which stops the loop; none of them is garbage yet."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _identity(path: Path) -> tuple[int, int]:
    """Which file this is: a store that was moved away or restored under the same name is another one."""
    found = path.stat()
    return found.st_dev, found.st_ino
