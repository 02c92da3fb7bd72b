"""The few reads that both the directory and a unit of work do."""

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import tables
from gateway.store.errors import StoreUnavailableError
from gateway.store.rows import RawStore, Rows


async def read_revision(connection: AsyncConnection) -> int:
    """The store's revision. Raises StoreUnavailableError when its one row is not there."""
    revision: int | None = await connection.scalar(select(tables.meta.c.revision))
    if revision is None:
        raise StoreUnavailableError("the store has no revision: it was never set up")
    return revision


async def read_key_id(connection: AsyncConnection) -> str | None:
    """The id of the master key that this store's secrets are sealed with; None before the first use."""
    key_id: str | None = await connection.scalar(select(tables.meta.c.key_id))
    return key_id


async def read_all(connection: AsyncConnection) -> RawStore:
    """Everything, within the caller's transaction."""
    return RawStore(
        revision=await read_revision(connection),
        users=await _rows(connection, tables.users),
        targets=await _rows(connection, tables.targets),
        target_roles=await _rows(connection, tables.target_roles),
        grants=await _rows(connection, tables.grants),
        allowlist_entries=await _rows(connection, tables.allowlist_entries),
        session_terminations=await _rows(connection, tables.session_terminations),
    )


async def _rows(connection: AsyncConnection, table: Table) -> Rows:
    return (await connection.execute(select(table))).mappings().all()
