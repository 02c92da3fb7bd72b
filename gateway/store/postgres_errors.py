"""asyncpg's exceptions, told apart. Their own texts may hold values of rows ("Key (name)=(...)"), so details stay out."""

from typing import Final

import asyncpg
from sqlalchemy import exc

from gateway.store.errors import CONFLICT, StoreConflictError, StoreError, StoreUnavailableError
from gateway.store.places import PostgresPlace

_CONFLICTS: Final = frozenset({"40001", "40P01"})


def of_postgres(place: PostgresPlace, error: BaseException | None) -> StoreError | None:
    """What it means for us; None: nothing that PostgreSQL or its driver said."""
    if error is not None and isinstance(error.__cause__, asyncpg.PostgresError):  # SQLAlchemy's own class around it
        error = error.__cause__
    if isinstance(error, asyncpg.InterfaceError):
        return StoreUnavailableError(f"the store {place} does not answer: {error}")
    if not isinstance(error, asyncpg.PostgresError):
        return None
    sqlstate, text = str(error.sqlstate), str(error.args[0]) if error.args else ""
    if sqlstate in _CONFLICTS:
        return StoreConflictError(CONFLICT)
    if sqlstate == "55P03":
        return StoreUnavailableError(f"the store {place} is locked: somebody else has been changing it for too long")
    if sqlstate == "42P01":
        return StoreUnavailableError(f"the store {place} was never set up ({text})")
    if sqlstate.startswith("22"):
        return StoreError(f"the store {place} cannot hold such a value ({sqlstate})")
    return StoreUnavailableError(f"the store {place} does not answer: {text} ({sqlstate})")


def lost_connection(error: exc.DBAPIError | OSError) -> bool:
    """Whether it broke before the server's answer came: then nobody knows what the server did."""
    if isinstance(error, OSError):  # a TimeoutError is one
        return True
    cause = error.orig.__cause__ if error.orig is not None else None
    return not isinstance(cause, asyncpg.PostgresError) or isinstance(cause, asyncpg.PostgresConnectionError)
