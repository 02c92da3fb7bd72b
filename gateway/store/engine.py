"""How this package talks to SQLite: pragmas, explicit transactions, and errors turned into our own.

WAL, so that readers never wait for a writer; synchronous=FULL, so that a commit that was answered survives a power cut.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiosqlite
from sqlalchemy import URL, Connection, event, exc, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from gateway.store.errors import StoreConflictError, StoreError, StoreUnavailableError
from gateway.store.files import make_private_folder, open_private

BUSY_TIMEOUT_SECONDS: Final = 1.5
_BACKEND: Final = "sqlite"


class Access(Enum):
    """What a connection is for. A write transaction takes the one write lock when it begins, so it never has to start over."""

    READ = "BEGIN"
    WRITE = "BEGIN IMMEDIATE"


def store_path(url: str) -> Path:
    """The file behind `sqlite+aiosqlite:///path`. Raises StoreError for any other kind of URL (without repeating it)."""
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise StoreError("store.url cannot be read: write sqlite+aiosqlite:///path/to/file") from None
    if parsed.get_backend_name() != _BACKEND or not parsed.database or parsed.database == ":memory:":
        raise StoreError("store.url must name an SQLite file: sqlite+aiosqlite:///path/to/file")
    return Path(parsed.database)


def create_file(path: Path) -> None:
    """Make an empty store file, 0600 in a 0700 folder, unless it is there. SQLite gives its side files the same mode."""
    try:
        make_private_folder(path.parent)
        os.close(open_private(path, os.O_RDWR))
    except OSError as error:
        raise StoreUnavailableError(f"the store {path} cannot be created: {error.strerror}") from error


def open_engine(path: Path, access: Access, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS) -> AsyncEngine:
    """An engine without a pool, on an existing file: it never creates one. Parameters are kept out of error texts."""
    url = URL.create("sqlite+aiosqlite", database=f"file:{quote(str(path.absolute()))}", query={"mode": "rw", "uri": "true"})
    # isolation_level None: the driver begins no transaction by itself, the "begin" event below does.
    arguments = {"isolation_level": None, "timeout": busy_timeout_seconds}
    engine = create_async_engine(url, connect_args=arguments, poolclass=NullPool, hide_parameters=True)

    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in _pragmas(access):
            cursor.execute(pragma)
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(access.value)

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin)
    return engine


def _pragmas(access: Access) -> tuple[str, ...]:
    own = "PRAGMA query_only = ON" if access is Access.READ else "PRAGMA synchronous = FULL"
    return "PRAGMA foreign_keys = ON", own


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn the driver's exceptions into ours. Their own texts may quote statements, so only SQLite's reason is passed on."""
    try:
        yield
    except exc.IntegrityError as error:
        raise StoreConflictError("somebody else made a change that does not go with this one; try again") from error
    except exc.DBAPIError as error:
        raise StoreUnavailableError(f"the store {path} does not answer: {error.orig}") from error
    except (aiosqlite.Error, OSError) as error:
        raise StoreUnavailableError(f"the store {path} does not answer: {error}") from error
