"""Reading the whole: through SQLAlchemy for a unit of work, straight through the driver for the directory.

The directory must not keep the event loop busy with rows: the driver's own thread fetches them, another one reads them.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiosqlite
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import tables
from gateway.store.errors import StoreUnavailableError
from gateway.store.rows import RawStore, Rows

_TABLES: Final = (
    tables.users,
    tables.groups,
    tables.group_members,
    tables.targets,
    tables.target_roles,
    tables.grants,
    tables.allowlist_entries,
    tables.api_tokens,
    tables.session_terminations,
)
_SELECTS: Final = {table.name: str(select(table)) for table in _TABLES}
_META: Final = str(select(tables.meta.c.revision, tables.meta.c.key_id, tables.meta.c.lockdown))


@dataclass(frozen=True, slots=True)
class Meta:
    """The one row of `meta`: `key_id` names the master key that the store's secrets are sealed with (None: not used yet)."""

    revision: int
    key_id: str | None
    lockdown: str | None


async def read_all(connection: AsyncConnection) -> RawStore:
    """Everything, within the caller's transaction. Raises StoreUnavailableError when the store was never set up."""
    meta = (await connection.execute(select(tables.meta.c.revision, tables.meta.c.lockdown))).first()
    if meta is None:
        raise _not_set_up()
    return _raw(meta.revision, meta.lockdown, {table.name: await _rows(connection, table) for table in _TABLES})


async def read_key_id(connection: AsyncConnection) -> str | None:
    """The id of the master key that this store's secrets are sealed with; None before the first use."""
    key_id: str | None = await connection.scalar(select(tables.meta.c.key_id))
    return key_id


async def fetch_data_version(driver: aiosqlite.Connection) -> int:
    """SQLite's own counter: another value means that somebody else committed. Compare it on one connection only."""
    (row,) = await driver.execute_fetchall("PRAGMA data_version")
    return int(row[0])


async def fetch_meta(driver: aiosqlite.Connection) -> Meta:
    """Raises StoreUnavailableError when the store was never set up."""
    for row in await driver.execute_fetchall(_META):
        return Meta(row["revision"], row["key_id"], row["lockdown"])
    raise _not_set_up()


async def fetch_all(driver: aiosqlite.Connection) -> RawStore:
    """Everything, in one read transaction. `driver` gives sqlite3.Row."""
    await driver.execute("BEGIN")
    try:
        meta = await fetch_meta(driver)
        rows = {name: list[sqlite3.Row](await driver.execute_fetchall(text)) for name, text in _SELECTS.items()}
    finally:
        await driver.rollback()
    return _raw(meta.revision, meta.lockdown, rows)


def _raw(revision: int, lockdown: str | None, rows: Mapping[str, Rows]) -> RawStore:
    return RawStore(
        revision=revision,
        lockdown=lockdown,
        users=rows["users"],
        groups=rows["groups"],
        group_members=rows["group_members"],
        targets=rows["targets"],
        target_roles=rows["target_roles"],
        grants=rows["grants"],
        allowlist_entries=rows["allowlist_entries"],
        api_tokens=rows["api_tokens"],
        session_terminations=rows["session_terminations"],
    )


async def _rows(connection: AsyncConnection, table: Table) -> Rows:
    return (await connection.execute(select(table))).mappings().all()


def _not_set_up() -> StoreUnavailableError:
    return StoreUnavailableError("the store was never set up")
