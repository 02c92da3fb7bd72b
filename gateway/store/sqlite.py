"""SQLite: pragmas, explicit transactions, and the file itself.

WAL, so that readers never wait for a writer; synchronous=FULL, so that a commit that was answered survives a power cut.
"""

import asyncio
import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiosqlite
from sqlalchemy import URL, Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from gateway.store.access import Access
from gateway.store.errors import StoreUnavailableError
from gateway.store.files import make_private_folder, open_private

_WAL_ATTEMPTS: Final = 20


def create_file(path: Path) -> None:
    """Make an empty store file, 0600 in a 0700 folder, unless it is there. SQLite gives its side files the same mode."""
    try:
        make_private_folder(path.parent)
        os.close(open_private(path, os.O_RDWR))
    except OSError as error:
        raise StoreUnavailableError(f"the store {path} cannot be created: {error.strerror}") from error


def open_sqlite(path: Path, access: Access, patience_seconds: float) -> AsyncEngine:
    """An engine without a pool, on an existing file: it never creates one. Parameters are kept out of error texts."""
    # isolation_level None: the driver begins no transaction by itself, the "begin" event below does.
    arguments = {"isolation_level": None, "timeout": patience_seconds}
    url = URL.create("sqlite+aiosqlite", database=sqlite_uri(path), query={"uri": "true"})
    engine = create_async_engine(url, connect_args=arguments, poolclass=NullPool, hide_parameters=True)

    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in _pragmas(access):
            cursor.execute(pragma)
        cursor.close()

    def begin(connection: Connection) -> None:
        # A write transaction takes the one write lock when it begins, so it never has to start over.
        connection.exec_driver_sql("BEGIN" if access is Access.READ else "BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin)
    return engine


def sqlite_uri(path: Path) -> str:
    return f"file:{quote(str(path.absolute()))}?mode=rw"


async def use_wal(path: Path) -> None:
    """Journal mode is kept in the file. Changing it does not wait for the busy timeout, hence the attempts."""
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        for attempt in range(1, _WAL_ATTEMPTS + 1):
            try:
                await connection.execute("PRAGMA journal_mode = WAL")
            except aiosqlite.OperationalError:
                if attempt == _WAL_ATTEMPTS:
                    raise
                await asyncio.sleep(0.05)
            else:
                return


def _pragmas(access: Access) -> tuple[str, ...]:
    if access is Access.READ:
        return "PRAGMA foreign_keys = ON", "PRAGMA query_only = ON"
    # secure_delete: what is replaced or removed (a sealed secret, say) is overwritten, and not only forgotten.
    return "PRAGMA foreign_keys = ON", "PRAGMA synchronous = FULL", "PRAGMA secure_delete = ON"
