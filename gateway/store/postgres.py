"""PostgreSQL: connections that give up in time, and never fall back to plain text.

A server that does not answer - gone, stopped, behind a cut line - must show within about a second, so connecting and every
statement have a deadline, and a connection that missed one is cut, not closed in all politeness.
"""

import os
import ssl
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gateway.access.model import TlsMode
from gateway.store.access import Access
from gateway.store.errors import StoreError
from gateway.store.places import PostgresPlace

_CONNECT_SECONDS: Final = 1.5
_IDLE_IN_TRANSACTION_MS: Final = 30_000
_HANDED_SECRETS: Final = Path("/run/secrets")


class Record(Protocol):
    """A row, as asyncpg gives it."""

    def __getitem__(self, key: str) -> str | int | bytes | bool | None: ...


class Driver(Protocol):
    """What is used of asyncpg's connection."""

    async def fetch(self, query: str) -> list[Record]: ...

    async def fetchrow(self, query: str) -> Record | None: ...

    async def execute(self, query: str) -> str: ...

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...

    def add_termination_listener(self, callback: Callable[..., None]) -> None: ...

    def terminate(self) -> None: ...


async def connect(place: PostgresPlace, patience_seconds: float) -> Driver:
    """A connection whose every statement fails after `patience_seconds`. Raises asyncpg's errors, OSError, StoreError."""
    settings = {
        "application_name": "pgbastion",
        "lock_timeout": str(round(patience_seconds * 1000)),
        "idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION_MS),
        "synchronous_commit": "on",
    }
    connection: Driver = await asyncpg.connect(
        host=place.host,
        port=place.port,
        user=place.user,
        # Never None: asyncpg would go and look for one in places that nobody named.
        password=_password(place.password_file),
        database=place.database,
        ssl=_tls(place),
        timeout=_CONNECT_SECONDS,
        command_timeout=patience_seconds + 0.5,  # the server's own lock_timeout comes first: its error says more
        server_settings=settings,
    )
    return connection


def open_postgres(place: PostgresPlace, access: Access, patience_seconds: float) -> AsyncEngine:
    """An engine without a pool. Reading is one view of the whole; parameters are kept out of error texts."""

    async def creator() -> Driver:
        return await connect(place, patience_seconds)

    reading = access is Access.READ
    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args={"async_creator_fn": creator},
        poolclass=NullPool,
        hide_parameters=True,
        isolation_level="REPEATABLE READ" if reading else "READ COMMITTED",
        execution_options={"postgresql_readonly": reading},
    )


def _password(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            password = file.read(4096)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"store.password_file {path} cannot be read: {_reason(error)}") from None
    if stat.S_IMODE(mode) & stat.S_IRWXO and not path.is_relative_to(_HANDED_SECRETS):  # container engines hand out 0444 there
        raise StoreError(f"store.password_file {path} can be read by everybody: run chmod 600 {path}")
    return password.rstrip("\r\n")


def _tls(place: PostgresPlace) -> ssl.SSLContext | bool:
    if place.tls is TlsMode.DISABLE:
        return False
    try:
        changed_at = place.root_cert.stat().st_mtime_ns if place.root_cert is not None else 0
    except OSError:
        changed_at = 0  # reading it will say what is wrong
    return _context(place, changed_at)


@lru_cache(maxsize=4)
def _context(place: PostgresPlace, _changed_at: int) -> ssl.SSLContext:
    """Made once: reading all of the system's authorities takes longer than the event loop may stand still."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = place.tls is TlsMode.VERIFY_FULL
    if place.tls is TlsMode.REQUIRE:
        context.verify_mode = ssl.CERT_NONE
    elif place.root_cert is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(place.root_cert)
        except OSError as error:  # ssl.SSLError is one
            raise StoreError(f"sslrootcert {place.root_cert} in store.url cannot be used: {_reason(error)}") from None
    return context


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
