"""Watching a store that is an SQLite file.

A look is one `PRAGMA data_version` on a connection that stays open (a round trip to the driver's thread, no query); the revision
is read when something was committed, and everything when the revision moved. The driver's thread fetches rows, another one reads
them.
"""

import asyncio
import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiosqlite

from gateway.access.model import Snapshot
from gateway.store.engine import store_errors
from gateway.store.errors import StoreUnavailableError
from gateway.store.feed import check_new_link, no_full_collection
from gateway.store.keys_wanted import Keys
from gateway.store.places import SqlitePlace
from gateway.store.queries import SELECT_META, SELECTS, Meta, not_set_up, raw_store, read_rows
from gateway.store.rows import RawStore
from gateway.store.sqlite import sqlite_uri
from gateway.store.sqlite_stamp import Stamp, stamp

_BUSY_SECONDS: Final = 0.3
_CLOSE_SECONDS: Final = 2.0
_ROOM_BYTES: Final = 64 * 1024
"""What a small commit may take. Less than that on the disk, and the store is full."""


@dataclass(slots=True)
class _Link:
    """One open connection. `data_version` only means something on the connection that read it."""

    driver: aiosqlite.Connection
    file: tuple[int, int]
    data_version: int | None = None


class SqliteFeed:
    """Implements feed.Feed. Its connection cannot write."""

    def __init__(self, place: SqlitePlace, keys: Keys | None) -> None:
        self._place = place
        self._keys = keys
        self._link: _Link | None = None
        self._forget = False
        self._read_through: Stamp | None = None  # as of which the probe read the schema, too

    async def look(self, known: Snapshot | None) -> Snapshot | None:
        # The order matters: a commit after `data_version` was read shows next time.
        try:
            with store_errors(self._place):
                link = self._link
                if link is None or self._forget or link.file != await asyncio.to_thread(_identity, self._place.path):
                    link = await self._relink()
                version = await _data_version(link.driver)
                snapshot = None if version == link.data_version else await self._load(link, known)
        except BaseException:
            await self._unlink()
            raise
        link.data_version = version
        return snapshot

    async def probe(self) -> None:
        """On a connection of its own, so that it sees what a new command would see: also a header that is no longer one."""
        with store_errors(self._place):
            self._read_through = await asyncio.to_thread(_try_to_change, self._place.path, self._read_through)

    def forget(self) -> None:
        self._forget = True

    async def close(self) -> None:
        await self._unlink()

    async def _load(self, link: _Link, known: Snapshot | None) -> Snapshot | None:
        meta = await _meta(link.driver)
        if link.data_version is None:  # a new connection, perhaps to another file: trust nothing
            check_new_link(meta.key_id, self._keys)
        elif known is not None and meta.revision == known.revision:
            return None
        with no_full_collection():
            return await read_rows(await _rows(link.driver), str(self._place))

    async def _relink(self) -> _Link:
        await self._unlink()
        self._forget = False
        file = await asyncio.to_thread(_identity, self._place.path)  # first: replaced after this, the next look sees it
        driver = await aiosqlite.connect(sqlite_uri(self._place.path), uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
        self._link = _Link(driver, file)
        driver.row_factory = sqlite3.Row
        await driver.execute("PRAGMA query_only = ON")
        return self._link

    async def _unlink(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            # A broken connection may fail to close, or wait for a lock; it is given up either way.
            with contextlib.suppress(Exception):
                await asyncio.wait_for(link.driver.close(), _CLOSE_SECONDS)


async def _data_version(driver: aiosqlite.Connection) -> int:
    """SQLite's own counter: another value means that somebody else committed. Compare it on one connection only."""
    (row,) = await driver.execute_fetchall("PRAGMA data_version")
    return int(row[0])


async def _meta(driver: aiosqlite.Connection) -> Meta:
    for row in await driver.execute_fetchall(SELECT_META):
        return Meta(row["revision"], row["key_id"], row["lockdown"])
    raise not_set_up()


async def _rows(driver: aiosqlite.Connection) -> RawStore:
    """Everything, in one read transaction."""
    await driver.execute("BEGIN")
    try:
        meta = await _meta(driver)
        rows = {name: list[sqlite3.Row](await driver.execute_fetchall(text)) for name, text in SELECTS.items()}
    finally:
        await driver.rollback()
    return raw_store(meta.revision, meta.lockdown, rows)


def _identity(path: Path) -> tuple[int, int]:
    """Which file this is: a store that was moved away or restored under the same name is another one."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _try_to_change(path: Path, read_through: Stamp | None) -> Stamp | None:
    """Take the write lock for a moment, which reads the header; and where anybody wrote since, the schema and a row.

    Given and returned: the stamp as of which that was read. Raises sqlite3.Error, OSError, StoreUnavailableError.
    """
    disk = os.statvfs(path.parent)
    free_blocks = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail
    if disk.f_blocks and free_blocks * disk.f_frsize < _ROOM_BYTES:
        raise StoreUnavailableError(f"the disk of the store {path} is full")
    if not os.access(path, os.W_OK):
        raise StoreUnavailableError(f"the store {path} cannot be written")
    now = stamp(path)
    connection = sqlite3.connect(sqlite_uri(path), uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
    try:
        connection.execute("BEGIN IMMEDIATE")
        if now is None or now != read_through:
            connection.execute(SELECT_META).fetchone()
        connection.execute("ROLLBACK")
    finally:
        connection.close()
    return now
