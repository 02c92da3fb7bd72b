"""One change of who may do what: the rows, its audit event and the new revision, in one transaction.

`commit` takes the event as a required argument, so a change that is not audited does not type-check.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

from sqlalchemy import Table, delete, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.access.model import AllowlistEntry, Grant, Snapshot, Target, User
from gateway.audit.admin_event import AdminEvent, RecordedAdminEvent
from gateway.ports import ChangeableRow, SessionTermination
from gateway.store import rows, tables
from gateway.store.engine import Access, open_engine, store_errors, store_path
from gateway.store.errors import StoreConflictError
from gateway.store.queries import read_all

_TERMINATIONS_KEPT: Final = timedelta(days=7)
"""A terminated session ends within a second, and its id is never used again; the audit event stays."""


class SqlUnitOfWork:
    """Implements ports.UnitOfWork. Made by SqlStore.begin; nothing is written before `commit`."""

    def __init__(self, connection: AsyncConnection, snapshot: Snapshot, now: datetime) -> None:
        self._connection = connection
        self._snapshot = snapshot
        self._now = now
        self._puts: list[ChangeableRow] = []
        self._removals: list[ChangeableRow] = []

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    @property
    def now(self) -> datetime:
        return self._now

    def put(self, row: ChangeableRow) -> None:
        self._puts.append(row)

    def remove(self, row: ChangeableRow) -> None:
        self._removals.append(row)

    async def commit(self, event: AdminEvent) -> int:
        """Raises StoreConflictError when the store moved on since `snapshot` was read."""
        seen, after = self._snapshot.revision, self._snapshot.revision + 1
        bumped = await self._connection.execute(
            update(tables.meta).where(tables.meta.c.revision == seen).values(revision=after)
        )
        if bumped.rowcount != 1:
            raise StoreConflictError("somebody else changed the store in between; try again")
        for row in self._removals:
            await self._remove(row)
        for row in self._puts:
            await self._put(row)
        recorded = RecordedAdminEvent(str(uuid.uuid4()), self._now, after, event)
        await self._connection.execute(insert(tables.audit_events).values(rows.event_row(recorded)))
        await self._connection.commit()
        return after

    async def _put(self, row: ChangeableRow) -> None:
        match row:
            case User():
                await self._upsert(tables.users, rows.user_row(row))
            case Target():
                await self._put_target(row)
            case Grant():
                await self._upsert(tables.grants, rows.grant_row(row))
            case AllowlistEntry():
                await self._upsert(tables.allowlist_entries, rows.entry_row(row))
            case SessionTermination():
                await self._put_termination(row)
            case _:
                assert_never(row)

    async def _remove(self, row: ChangeableRow) -> None:
        match row:
            case User():
                await self._delete(tables.users, row.id)
            case Target():
                await self._delete(tables.targets, row.id)
            case Grant():
                await self._delete(tables.grants, row.id)
            case AllowlistEntry():
                await self._delete(tables.allowlist_entries, row.id)
            case SessionTermination():
                table = tables.session_terminations
                await self._connection.execute(delete(table).where(table.c.session_id == row.session_id))
            case _:
                assert_never(row)

    async def _put_target(self, target: Target) -> None:
        await self._upsert(tables.targets, rows.target_row(target))
        kept = [role.id for role in target.roles.values()]
        roles = tables.target_roles
        await self._connection.execute(delete(roles).where(roles.c.target_id == target.id, roles.c.id.not_in(kept)))
        for mode, role in target.roles.items():
            await self._upsert(roles, rows.role_row(target, mode, role))

    async def _put_termination(self, termination: SessionTermination) -> None:
        table = tables.session_terminations
        oldest = rows.to_text(self._now - _TERMINATIONS_KEPT)
        named = table.c.session_id == termination.session_id
        await self._connection.execute(delete(table).where((table.c.at < oldest) | named))
        values = {"session_id": termination.session_id, "reason": termination.reason, "at": rows.to_text(self._now)}
        await self._connection.execute(insert(table).values(values))

    async def _upsert(self, table: Table, values: Mapping[str, rows.Value]) -> None:
        # Never delete and insert: that would cascade to grants and allowlists.
        changed = await self._connection.execute(update(table).where(table.c.id == values["id"]).values(values))
        if changed.rowcount == 0:
            await self._connection.execute(insert(table).values(values))

    async def _delete(self, table: Table, row_id: str) -> None:
        await self._connection.execute(delete(table).where(table.c.id == row_id))


class SqlStore:
    """Implements ports.Store: where units of work begin. For control-plane processes; holds nothing open in between."""

    def __init__(self, url: str, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = store_path(url)
        self._clock = clock

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[SqlUnitOfWork]:
        """Read everything and hold the write lock until the block ends. What was not committed is rolled back.

        Raises StoreUnavailableError, StoreConflictError.
        """
        engine = open_engine(self._path, Access.WRITE)
        try:
            with store_errors(self._path):
                async with engine.connect() as connection:
                    snapshot = rows.to_snapshot(await read_all(connection))
                    yield SqlUnitOfWork(connection, snapshot, self._clock())
        finally:
            await engine.dispose()

    async def read(self) -> Snapshot:
        """The whole, once, without the write lock. Raises StoreUnavailableError."""
        engine = open_engine(self._path, Access.READ)
        try:
            with store_errors(self._path):
                async with engine.connect() as connection:
                    return rows.to_snapshot(await read_all(connection))
        finally:
            await engine.dispose()
