"""One way to talk to either database, and its exceptions turned into our own."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import asyncpg
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.store import places
from gateway.store.access import Access
from gateway.store.errors import StoreConflictError, StoreError, StoreUnavailableError
from gateway.store.places import Place, PostgresPlace, SqlitePlace
from gateway.store.postgres import open_postgres
from gateway.store.sqlite import open_sqlite

PATIENCE_SECONDS: Final = 1.5
"""How long a change waits for whoever is changing the store right now."""

_CLOSE_SECONDS: Final = 1.0
_CONFLICTS: Final = frozenset({"40001", "40P01"})
_CONFLICT: Final = "somebody else made a change that does not go with this one; try again"


def open_engine(place: Place, access: Access, patience_seconds: float = PATIENCE_SECONDS) -> AsyncEngine:
    """Holds no connection, so there is nothing to dispose of, and it may outlive an event loop."""
    match place:
        case SqlitePlace():
            return open_sqlite(place.path, access, patience_seconds)
        case PostgresPlace():
            return open_postgres(place, access, patience_seconds)


@asynccontextmanager
async def connected(engine: AsyncEngine, place: Place) -> AsyncIterator[AsyncConnection]:
    """A connection for one block; what was not committed is rolled back. Raises StoreUnavailableError.

    Only opening and closing are covered here: errors of the block pass as they are.
    """
    with store_errors(place):
        connection = await engine.connect()
    try:
        yield connection
    except (StoreUnavailableError, asyncio.CancelledError):
        await _cut(connection)
        raise
    finally:
        with contextlib.suppress(exc.DBAPIError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.wait_for(connection.close(), _CLOSE_SECONDS)


async def _cut(connection: AsyncConnection) -> None:
    """Whoever did not answer will not answer a rollback either."""
    with contextlib.suppress(exc.SQLAlchemyError, OSError, asyncpg.InterfaceError):
        raw = await connection.get_raw_connection()
        if connection.dialect.name == "postgresql" and raw.driver_connection is not None:
            raw.driver_connection.terminate()
            await connection.invalidate()


@contextmanager
def store_errors(place: Place) -> Iterator[None]:
    """Turn the drivers' exceptions into ours.

    Their own texts may quote statements and values, so only the database's reason is passed on.
    """
    try:
        yield
    except exc.IntegrityError:
        raise StoreConflictError(_CONFLICT) from None
    except exc.DBAPIError as error:
        raise _translated(place, error.orig) from None
    except (sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise _translated(place, error) from None


def lost_connection(error: exc.DBAPIError | OSError) -> bool:
    """Whether it broke before the server's answer came: then nobody knows what the server did."""
    if isinstance(error, OSError):  # a TimeoutError is one
        return True
    cause = error.orig.__cause__ if error.orig is not None else None
    return not isinstance(cause, asyncpg.PostgresError) or isinstance(cause, asyncpg.PostgresConnectionError)


def _translated(place: Place, error: BaseException | None) -> StoreError:
    cause = error
    if error is not None and isinstance(error.__cause__, asyncpg.PostgresError):  # SQLAlchemy's own class around it
        cause = error.__cause__
    if isinstance(cause, asyncpg.PostgresError):
        return _of_postgres(place, cause)
    if isinstance(cause, TimeoutError):
        return StoreUnavailableError(f"the store {place} does not answer in time")
    return StoreUnavailableError(f"the store {place} does not answer: {cause}")


def _of_postgres(place: Place, error: "asyncpg.PostgresError") -> StoreError:
    sqlstate, text = str(error.sqlstate), str(error.args[0]) if error.args else ""
    if sqlstate in _CONFLICTS:
        return StoreConflictError(_CONFLICT)
    if sqlstate == "55P03":
        return StoreUnavailableError(f"the store {place} is locked: somebody else has been changing it for too long")
    if sqlstate.startswith("22"):
        return StoreError(f"the store {place} cannot hold such a value ({sqlstate})")
    return StoreUnavailableError(f"the store {place} does not answer: {text} ({sqlstate})")


def store_path(url: str) -> Path:
    """Former place of places.store_path."""
    return places.store_path(url)
