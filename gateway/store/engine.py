"""One way to talk to either database, and its exceptions turned into our own."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.store.access import Access
from gateway.store.errors import CONFLICT, StoreConflictError, StoreError, StoreUnavailableError
from gateway.store.places import Place, PostgresPlace, SqlitePlace
from gateway.store.sqlite import open_sqlite

PATIENCE_SECONDS: Final = 1.5
"""How long whoever looks at the store waits for it."""

CHANGE_PATIENCE_SECONDS: Final = 5.0
"""How long a change waits for those before it: SQLite lets them in at random, and there may be a hundred."""

_CLOSE_SECONDS: Final = 1.0


def open_engine(place: Place, access: Access, patience_seconds: float = PATIENCE_SECONDS) -> AsyncEngine:
    """Holds no connection, so there is nothing to dispose of, and it may outlive an event loop."""
    match place:
        case SqlitePlace():
            return open_sqlite(place.path, access, patience_seconds)
        case PostgresPlace():
            from gateway.store.postgres import open_postgres

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
        with contextlib.suppress(StoreError), store_errors(place):
            await _cut(connection)
        raise
    finally:
        with contextlib.suppress(StoreError), store_errors(place):
            await asyncio.wait_for(connection.close(), _CLOSE_SECONDS)


async def _cut(connection: AsyncConnection) -> None:
    """A server that did not answer will not answer a rollback either."""
    if connection.dialect.name == "postgresql" and not connection.invalidated:
        raw = await connection.get_raw_connection()
        if raw.driver_connection is not None:
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
        raise StoreConflictError(CONFLICT) from None
    except exc.DBAPIError as error:
        raise _translated(place, error.orig) from None
    except (sqlite3.Error, OSError) as error:
        raise _translated(place, error) from None
    except Exception as error:
        if (translated := _of_postgres(place, error)) is None:
            raise
        raise translated from None


def _translated(place: Place, error: BaseException | None) -> StoreError:
    if isinstance(error, TimeoutError):
        return StoreUnavailableError(f"the store {place} does not answer in time")
    return _of_postgres(place, error) or StoreUnavailableError(f"the store {place} does not answer: {error}")


def _of_postgres(place: Place, error: BaseException | None) -> StoreError | None:
    if not isinstance(place, PostgresPlace):
        return None
    from gateway.store.postgres_errors import of_postgres

    return of_postgres(place, error)
