"""One change of who may do what: the rows, its audit event and the new revision, in one transaction.

`commit` takes the event as a required argument, so a change that is not audited does not type-check.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.access.model import Snapshot
from gateway.audit.admin_event import AdminEvent, RecordedAdminEvent
from gateway.ports import ChangeableRow, IdempotencyClaim
from gateway.store import rows, tables
from gateway.store.changes import Step, Writing, claim_steps, put_steps, removal_steps
from gateway.store.engine import Access, open_engine, store_errors, store_path
from gateway.store.errors import StoreConflictError
from gateway.store.queries import read_all


class SqlUnitOfWork:
    """Implements ports.UnitOfWork. Made by SqlStore.begin; nothing is written before `commit`."""

    def __init__(self, connection: AsyncConnection, snapshot: Snapshot, now: datetime) -> None:
        self._connection = connection
        self._snapshot = snapshot
        self._now = now
        self._puts: list[ChangeableRow] = []
        self._removals: list[ChangeableRow] = []
        self._claims: list[IdempotencyClaim] = []

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

    def claim(self, claim: IdempotencyClaim) -> None:
        self._claims.append(claim)

    async def commit(self, event: AdminEvent, *more: AdminEvent) -> int:
        """Raises StoreConflictError when the store moved on since `snapshot` was read, or a claim is there already."""
        events = (event, *more)
        after = self._snapshot.revision + 1
        last_sequence = await self._advance(after, len(events))
        first = last_sequence - len(events) + 1
        recorded = [
            RecordedAdminEvent(str(uuid.uuid4()), self._now, after, sequence, each)
            for sequence, each in enumerate(events, start=first)
        ]
        await self._run(removal_steps(self._removals))
        await self._run(put_steps(self._puts, self._writing(after)))
        await self._connection.execute(insert(tables.audit_events), [rows.event_row(each) for each in recorded])
        await self._run(claim_steps(self._claims, recorded[0].id, self._now))
        await self._connection.commit()
        return after

    async def _advance(self, revision: int, events: int) -> int:
        """Take the next revision and the next `events` sequence numbers; returns the last of these."""
        meta = tables.meta
        change = update(meta).where(meta.c.revision == self._snapshot.revision)
        done = await self._connection.execute(change.values(revision=revision, last_sequence=meta.c.last_sequence + events))
        if done.rowcount != 1:
            raise StoreConflictError("somebody else changed the store in between; try again")
        last: int = (await self._connection.execute(select(meta.c.last_sequence))).scalar_one()
        return last

    def _writing(self, revision: int) -> Writing:
        group_ids = frozenset(group.id for group in self._snapshot.groups.values())
        return Writing(revision, self._now, self._connection.dialect.name, group_ids)

    async def _run(self, steps: Iterable[Step]) -> None:
        for step in steps:
            await self._connection.execute(step.statement, step.parameters)


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
