"""Bring a store to this program's schema, and tie it to its master key."""

import asyncio
from pathlib import Path
from typing import Final

import aiosqlite
from sqlalchemy import Connection, inspect, text, update

from gateway.store import tables
from gateway.store.engine import Access, create_file, open_engine, store_errors, store_path
from gateway.store.errors import StoreError, VaultError
from gateway.store.queries import read_key_id

HEAD: Final = "0002"
"""The newest migration. Kept here so that a store that is up to date is known as such without importing Alembic."""

_KNOWN: Final = frozenset({"0001", HEAD})
_WAL_ATTEMPTS: Final = 20


async def upgrade(url: str) -> None:
    """Create the store if need be (0600, in a 0700 folder) and run the migrations it lacks; nothing to do costs milliseconds.

    Several processes may do this at once: one migrates, the others wait. Raises StoreError.
    """
    path = store_path(url)
    create_file(path)
    engine = open_engine(path, Access.WRITE)
    try:
        with store_errors(path):
            await _use_wal(path)
            async with engine.begin() as connection:
                await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


async def bind_key(url: str, key_id: str) -> None:
    """Note the master key's id in a new store; in an old one, hold it against the noted id. Raises VaultError."""
    path = store_path(url)
    engine = open_engine(path, Access.WRITE)
    try:
        with store_errors(path):
            async with engine.begin() as connection:
                known = await read_key_id(connection)
                if known is None:
                    await connection.execute(update(tables.meta).values(key_id=key_id))
        check_key(known, key_id)
    finally:
        await engine.dispose()


def check_key(expected: str | None, given: str) -> None:
    """Raises VaultError when the store was made with another key."""
    if expected is not None and expected != given:
        raise VaultError(f"the store's secrets are sealed with master key {expected}, but the key file holds key {given}")


async def _use_wal(path: Path) -> None:
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


def _migrate(connection: Connection) -> None:
    at = None
    if inspect(connection).has_table("alembic_version"):
        at = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if at == HEAD:
        return
    if at is not None and at not in _KNOWN:
        raise StoreError(f"the store was written by a newer pgbastion (schema {at}, this one knows up to {HEAD})")
    _run_alembic(connection)


def _run_alembic(connection: Connection) -> None:
    from alembic import command  # half of this module's import time, needed once in a store's life
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
