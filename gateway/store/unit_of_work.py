"""One change of who may do what: the rows, its audit event and the new revision, in one transaction.

`commit` takes the event as a required argument, so a change that is not audited does not type-check.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sqlalchemy import exc, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.access.model import Snapshot
from gateway.access.request_record import AccessRequest
from gateway.audit.admin_event import AdminEvent, RecordedAdminEvent
from gateway.ports import ChangeableRow, FormerLogin, IdempotencyClaim, OutboxMessage, RequestFilter, TargetAdmin
from gateway.store import tables, values
from gateway.store.access_requests import read_access_request, read_access_requests, read_next_number
from gateway.store.changes import Writing, claim_steps, put_steps, removal_steps
from gateway.store.engine import store_errors
from gateway.store.errors import StoreConflictError, StoreUnavailableError
from gateway.store.places import CHANNEL, Place, PostgresPlace
from gateway.store.steps import Step
from gateway.store.target_admins import read_admin, read_former


class SqlUnitOfWork:
    """Implements ports.UnitOfWork. Made by SqlStore.begin; nothing is written before `commit`."""

    def __init__(
        self, connection: AsyncConnection, place: Place, snapshot: Snapshot, now: datetime, on_commit: Callable[[int], None]
    ) -> None:
        self._connection = connection
        self._place = place
        self._snapshot = snapshot
        self._now = now
        self._on_commit = on_commit
        self._puts: list[ChangeableRow] = []
        self._removals: list[ChangeableRow] = []
        self._claims: list[IdempotencyClaim] = []
        self._key_id: str | None = None

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

    def use_key(self, key_id: str) -> None:
        """From this change on, the master key with this id is the one that fits the store."""
        self._key_id = key_id

    async def target_admin(self, target_id: str) -> TargetAdmin | None:
        with store_errors(self._place):
            return await read_admin(self._connection, target_id)

    async def former_logins(self, target_id: str) -> list[FormerLogin]:
        with store_errors(self._place):
            return await read_former(self._connection, target_id)

    async def next_request_number(self) -> int:
        with store_errors(self._place):
            return await read_next_number(self._connection)

    async def access_request(self, key: str | int) -> AccessRequest | None:
        with store_errors(self._place):
            return await read_access_request(self._connection, key)

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]:
        with store_errors(self._place):
            return await read_access_requests(self._connection, wanted)

    async def commit(self, event: AdminEvent, *more: AdminEvent) -> int:
        """Raises StoreConflictError when the store moved on since `snapshot` was read, or a claim is there already.

        Raises StoreUnavailableError when the store cannot take it: then nothing of it is there, unless the text says otherwise.
        """
        after = self._snapshot.revision + 1
        with store_errors(self._place):
            await self._write((event, *more), after)
            await self._end()
        self._on_commit(after)
        return after

    async def _write(self, events: Sequence[AdminEvent], after: int) -> None:
        last_sequence = await self._advance(after, len(events))
        first = last_sequence - len(events) + 1
        recorded = [
            RecordedAdminEvent(str(uuid.uuid4()), self._now, after, sequence, each)
            for sequence, each in enumerate(events, start=first)
        ]
        if self._key_id is not None:
            await self._connection.execute(update(tables.meta).values(key_id=self._key_id))
        await self._run(removal_steps(self._removals))
        await self._run(put_steps(self._puts, self._writing(after, await self._last_message())))
        await self._connection.execute(insert(tables.audit_events), [values.event_row(each) for each in recorded])
        await self._run(claim_steps(self._claims, recorded[0].id, self._now))
        if self._connection.dialect.name == "postgresql":
            await self._connection.execute(select(func.pg_notify(CHANNEL, str(after))))

    async def _end(self) -> None:
        try:
            await self._connection.commit()
        except (exc.DBAPIError, OSError) as error:
            if not isinstance(self._place, PostgresPlace) or not _lost_connection(error):
                raise
            raise StoreUnavailableError(
                f"the store {self._place} broke off while it was committing: the change may or may not be made; look first"
            ) from None

    async def _advance(self, revision: int, events: int) -> int:
        """Take the next revision and the next `events` sequence numbers; returns the last of these."""
        meta = tables.meta
        change = update(meta).where(meta.c.revision == self._snapshot.revision)
        done = await self._connection.execute(change.values(revision=revision, last_sequence=meta.c.last_sequence + events))
        if done.rowcount != 1:
            raise StoreConflictError("somebody else changed the store in between; try again")
        last: int = (await self._connection.execute(select(meta.c.last_sequence))).scalar_one()
        return last

    async def _last_message(self) -> int:
        """Of the outbox; asked only by a change that has something for it."""
        if not any(isinstance(row, OutboxMessage) for row in self._puts):
            return 0
        last: int | None = await self._connection.scalar(select(func.max(tables.outbox.c.sequence)))
        return last or 0

    def _writing(self, revision: int, last_message: int) -> Writing:
        group_ids = frozenset(group.id for group in self._snapshot.groups.values())
        return Writing(revision, self._now, self._connection.dialect.name, group_ids, last_message)

    async def _run(self, steps: Iterable[Step]) -> None:
        for step in steps:
            await self._connection.execute(step.statement, step.parameters)


def _lost_connection(error: exc.DBAPIError | OSError) -> bool:
    from gateway.store.postgres_errors import lost_connection  # and asyncpg, which nobody needs who has a file

    return lost_connection(error)
