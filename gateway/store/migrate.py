"""Bring a store to this program's schema, and tie it to its master key."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, func, inspect, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import tables
from gateway.store.access import Access
from gateway.store.engine import PATIENCE_SECONDS, connected, open_engine, store_errors
from gateway.store.errors import StoreError
from gateway.store.keys_wanted import Keys, check_keys, sealed_with
from gateway.store.places import Place, SqlitePlace, locate
from gateway.store.queries import read_key_id
from gateway.store.sqlite import create_file, use_wal

if TYPE_CHECKING:
    from gateway.settings import Settings

HEAD: Final = "0017"
"""The newest migration. Kept here so that a store that is up to date is known as such without importing Alembic."""

_KNOWN: Final = frozenset(f"{number:04}" for number in range(1, int(HEAD) + 1))
_MIGRATION_SECONDS: Final = 60.0
_MIGRATION_LOCK: Final = 0x70676261  # any number that no other program uses in this database


async def upgrade(where: "Settings | str | Place") -> None:
    """Create the store if need be (a file: 0600, in a 0700 folder) and run the migrations it lacks.

    Nothing to do costs milliseconds. Several processes may do this at once: one migrates, the others wait. A database on a
    server must be there; its tables need not. Raises StoreError.
    """
    place = locate(where)
    if isinstance(place, SqlitePlace):
        create_file(place.path)
        with store_errors(place):
            await use_wal(place.path)
    async with connected(open_engine(place, Access.READ), place) as connection:
        with store_errors(place):
            if await connection.run_sync(known_version) == HEAD:
                return  # without a lock: looking at a store must not wait for who changes it
    async with connected(open_engine(place, Access.WRITE, _patience(place)), place) as connection:
        with store_errors(place):
            await migrate(connection)
            await connection.commit()


async def migrate(connection: AsyncConnection, to: str = HEAD) -> None:
    """Run what is missing up to `to`, within the caller's transaction."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    await connection.run_sync(_migrate, to)


async def bind_key(where: "Settings | str | Place", keys: Keys) -> None:
    """Note the master key's id in a new store; in an old one, see that all that is sealed can be opened. Raises VaultError."""
    place = locate(where)
    async with connected(open_engine(place, Access.READ), place) as connection:
        with store_errors(place):
            known = await read_key_id(connection)
            wanted = await sealed_with(connection)
    if known is None:
        first = update(tables.meta).where(tables.meta.c.key_id.is_(None)).values(key_id=keys.key_id)
        async with connected(open_engine(place, Access.WRITE), place) as connection:
            with store_errors(place):
                await connection.execute(first)
                known = await read_key_id(connection)  # somebody else may have been first
                await connection.commit()
    check_keys(wanted if known is None else wanted | {known}, keys)


def known_version(connection: Connection) -> str | None:
    """The store's schema; None: there is none yet. Raises StoreError for one that only a newer program knows."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found is not None and found not in _KNOWN:
        raise StoreError(f"the store was written by a newer pgbastion (schema {found}, this one knows up to {HEAD})")
    return found


def _patience(place: Place) -> float:
    return PATIENCE_SECONDS if isinstance(place, SqlitePlace) else _MIGRATION_SECONDS


def _migrate(connection: Connection, to: str) -> None:
    if known_version(connection) != to:
        _run_alembic(connection, to)


def _run_alembic(connection: Connection, to: str) -> None:
    from alembic import command  # half of this module's import time, needed once in a store's life
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
