"""Reading the whole: through SQLAlchemy for a unit of work; as plain texts for the directory, which talks to the driver itself."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Select, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.access.managed import ManagedMode
from gateway.access.model import Snapshot
from gateway.store import tables
from gateway.store.access import Access
from gateway.store.errors import StoreUnavailableError
from gateway.store.letting_go import empty_rows
from gateway.store.rows import RawStore, Rows, to_snapshot

_TABLES: Final = (
    tables.users,
    tables.groups,
    tables.group_members,
    tables.targets,
    tables.target_roles,
    tables.grants,
    tables.allowlist_entries,
    tables.api_tokens,
    tables.environments,
    tables.admin_roles,
    tables.admin_role_members,
    tables.admin_role_permissions,
    tables.accounts,
    tables.claim_mappings,
    tables.credentials,
    tables.managed_logins,
    tables.approval_policies,
    tables.grant_endings,
    tables.webhooks,
    tables.session_terminations,
)


def _query(table: Table) -> Select[tuple[object, ...]]:
    """A grant comes with the number of the request that led to it."""
    if table is not tables.grants:
        return select(table)
    requests = tables.access_requests
    number = select(requests.c.number).where(requests.c.id == table.c.request_id).scalar_subquery()
    return select(table, number.label("request_number"))


SELECTS: Final = {table.name: str(_query(table)) for table in _TABLES}
"""A query for each table of a snapshot, by its name."""

SELECT_META: Final = str(select(tables.meta.c.revision, tables.meta.c.key_id, tables.meta.c.lockdown))


@dataclass(frozen=True, slots=True)
class Meta:
    """The one row of `meta`: `key_id` names the master key that the store's secrets are sealed with (None: not used yet)."""

    revision: int
    key_id: str | None
    lockdown: str | None


async def read_all(connection: AsyncConnection, access: Access) -> RawStore:
    """Everything, within the caller's transaction; with WRITE nobody else gets as far as this until it ends.

    Raises StoreUnavailableError when the store was never set up.
    """
    query = select(tables.meta.c.revision, tables.meta.c.lockdown)
    if access is Access.WRITE:  # PostgreSQL's one lock; SQLite, which took its own with BEGIN, leaves these words out
        query = query.with_for_update()
    meta = (await connection.execute(query)).first()
    if meta is None:
        raise not_set_up()
    return raw_store(meta.revision, meta.lockdown, {table.name: await _rows(connection, table) for table in _TABLES})


async def read_key_id(connection: AsyncConnection) -> str | None:
    """The id of the master key that this store's secrets are sealed with; None before the first use."""
    key_id: str | None = await connection.scalar(select(tables.meta.c.key_id))
    return key_id


async def read_gateway_id(connection: AsyncConnection) -> str:
    """What this gateway calls itself on the servers of its targets. Raises StoreUnavailableError in a store never set up."""
    found: str | None = await connection.scalar(select(tables.meta.c.gateway_id))
    if found is None:
        raise not_set_up()
    return found


async def read_revision(connection: AsyncConnection) -> int:
    """Raises StoreUnavailableError in a store never set up."""
    found: int | None = await connection.scalar(select(tables.meta.c.revision))
    if found is None:
        raise not_set_up()
    return found


async def read_has_managed(connection: AsyncConnection) -> bool:
    """Whether any target has managed logins, or may have."""
    wanted = select(tables.targets.c.id).where(tables.targets.c.managed != ManagedMode.OFF.value)
    there = select(tables.managed_logins.c.id)
    return (await connection.execute(wanted.union_all(there).limit(1))).first() is not None


async def read_rows(raw: RawStore, name: str) -> Snapshot:
    """In a thread: the event loop has better things to do. `name`: the store, for errors. The rows are gone afterwards."""
    try:
        return await asyncio.to_thread(_use_up, raw)
    except (ValueError, LookupError, TypeError) as error:
        raise StoreUnavailableError(f"the store {name} holds rows that cannot be read") from error


def _use_up(raw: RawStore) -> Snapshot:
    try:
        return to_snapshot(raw)
    finally:
        empty_rows(raw)


def raw_store(revision: int, lockdown: str | None, rows: Mapping[str, Rows]) -> RawStore:
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
        environments=rows["environments"],
        admin_roles=rows["admin_roles"],
        admin_role_members=rows["admin_role_members"],
        admin_role_permissions=rows["admin_role_permissions"],
        accounts=rows["accounts"],
        claim_mappings=rows["claim_mappings"],
        credentials=rows["credentials"],
        managed_logins=rows["managed_logins"],
        approval_policies=rows["approval_policies"],
        grant_endings=rows["grant_endings"],
        webhooks=rows["webhooks"],
        session_terminations=rows["session_terminations"],
    )


async def _rows(connection: AsyncConnection, table: Table) -> Rows:
    return (await connection.execute(_query(table))).mappings().all()


def not_set_up() -> StoreUnavailableError:
    return StoreUnavailableError("the store was never set up")
