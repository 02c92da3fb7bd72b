"""What was to be told elsewhere, and what became of it: taken by one courier at a time, and written down without a revision.

Whoever takes a message puts off its next turn and counts the attempt in one statement: that is its lease, and whoever comes too
late with what became of it is not heard. A courier that dies leaves the message to the next one, under the same id. Of one request
and one destination, a message waits until those before it were delivered or given up.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.ports import OutboxMessage, OutboxState
from gateway.ports.outbox import MessageFilter, OutboxCounts
from gateway.store import tables
from gateway.store.engine import connected, store_errors
from gateway.store.instants import from_text, to_text
from gateway.store.outbox_rows import to_message
from gateway.store.places import Place

_TABLE: Final = tables.outbox
_MOST_ERROR_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class Lease:
    """How messages are taken. `until`: nobody else takes them before. `passed_over`: destinations that are not to be asked now."""

    now: datetime
    until: datetime
    limit: int
    per_destination: int
    passed_over: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one attempt. PENDING: it is tried again at `next_at`."""

    state: OutboxState
    at: datetime
    next_at: datetime | None = None
    error: str = ""
    receipt: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a delivered message is called where it was delivered."""

    destination: str
    topic: str
    receipt: str


class SqlOutbox:
    """Implements ports.Outbox; the rest is the courier's. All of it raises StoreUnavailableError."""

    def __init__(self, place: Place, reading: AsyncEngine, changing: AsyncEngine) -> None:
        self._place = place
        self._reading = reading
        self._changing = changing

    async def take(self, lease: Lease) -> list[OutboxMessage]:
        """Those that are due, for whoever calls this alone, as they are from now on."""
        async with self._connected(self._reading) as connection:  # most times there is nothing, and nobody is held up
            due = await _read_due(connection, lease)
        if not due:
            return []
        async with self._connected(self._changing) as connection:
            return await _take(connection, due, lease)

    async def settle(self, message: OutboxMessage, settled: Settled) -> bool:
        """What became of it. False: its lease was over and somebody else has it, or somebody has changed it."""
        async with self._connected(self._changing) as connection:
            return await _settle(connection, message, settled)

    async def next_at(self) -> datetime | None:
        """When the first of those that wait is due; None: none waits."""
        async with self._connected(self._reading) as connection:
            return await _read_next_at(connection)

    async def receipts(self, request_id: str) -> list[Receipt]:
        """What was delivered about this request, in its order; what left no receipt is not there."""
        async with self._connected(self._reading) as connection:
            return await _read_receipts(connection, request_id)

    async def messages(self, wanted: MessageFilter) -> list[OutboxMessage]:
        """The newest first."""
        async with self._connected(self._reading) as connection:
            return await _read_messages(connection, wanted)

    async def message(self, message_id: str) -> OutboxMessage | None:
        async with self._connected(self._reading) as connection:
            return await _read_message(connection, message_id)

    async def count(self) -> OutboxCounts:
        async with self._connected(self._reading) as connection:
            return await _count(connection)

    async def wants_courier(self) -> bool:
        """Whether there is anything to deliver, or anybody who is told by HTTP."""
        async with self._connected(self._reading) as connection:
            return await _read_wants_courier(connection)

    async def forget(self, before: datetime) -> int:
        """What was delivered or given up before. How many."""
        async with self._connected(self._changing) as connection:
            return await _forget(connection, before)

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with connected(engine, self._place) as connection:
            with store_errors(self._place):
                yield connection


async def _read_due(connection: AsyncConnection, lease: Lease) -> list[OutboxMessage]:
    """Those that could be taken now, in their order."""
    found = await connection.execute(_due(lease))
    return [to_message(row) for row in found.mappings().all()]


async def _take(connection: AsyncConnection, due: Sequence[OutboxMessage], lease: Lease) -> list[OutboxMessage]:
    """Those of them that nobody else has taken meanwhile, as they are from now on."""
    taken = []
    for message in due:
        unchanged = _TABLE.c.next_at == to_text(message.next_at), *_as_taken(message)
        claim = update(_TABLE).where(*unchanged).values(attempts=message.attempts + 1, next_at=to_text(lease.until))
        if (await connection.execute(claim)).rowcount == 1:
            taken.append(replace(message, attempts=message.attempts + 1, next_at=lease.until))
    await connection.commit()
    return taken


async def _settle(connection: AsyncConnection, message: OutboxMessage, settled: Settled) -> bool:
    """False: its lease was over, and somebody else has it, or somebody has changed it."""
    ended_at = None if settled.state is OutboxState.PENDING else settled.at
    values = {
        "state": settled.state.value,
        "next_at": to_text(settled.next_at or message.next_at),
        "last_error": settled.error[:_MOST_ERROR_CHARACTERS],
        "receipt": settled.receipt or message.receipt,
        "ended_at": to_text(ended_at),
    }
    done = await connection.execute(update(_TABLE).where(*_as_taken(message)).values(**values))
    await connection.commit()
    return done.rowcount == 1


async def _read_next_at(connection: AsyncConnection) -> datetime | None:
    """When the first of those that wait is due; None: none waits."""
    found = await connection.scalar(select(func.min(_TABLE.c.next_at)).where(_TABLE.c.state == OutboxState.PENDING.value))
    return from_text(found)


async def _read_receipts(connection: AsyncConnection, request_id: str) -> list[Receipt]:
    """What was delivered about this request, in its order; what left no receipt is not there."""
    wanted = select(_TABLE.c.destination, _TABLE.c.topic, _TABLE.c.receipt)
    wanted = wanted.where(_TABLE.c.request_id == request_id, _TABLE.c.receipt != "").order_by(_TABLE.c.sequence)
    return [Receipt(*row) for row in (await connection.execute(wanted)).all()]


async def _read_messages(connection: AsyncConnection, wanted: MessageFilter) -> list[OutboxMessage]:
    """The newest first."""
    query = select(_TABLE).order_by(_TABLE.c.sequence.desc()).limit(wanted.limit)
    if wanted.state is not None:
        query = query.where(_TABLE.c.state == wanted.state.value)
    if wanted.destination is not None:
        query = query.where(_TABLE.c.destination == wanted.destination)
    if wanted.kind is not None:
        query = query.where(_TABLE.c.destination.startswith(f"{wanted.kind}:", autoescape=True))
    if wanted.request_id is not None:
        query = query.where(_TABLE.c.request_id == wanted.request_id)
    if wanted.before is not None:
        query = query.where(_TABLE.c.sequence < wanted.before)
    return [to_message(row) for row in (await connection.execute(query)).mappings().all()]


async def _read_message(connection: AsyncConnection, message_id: str) -> OutboxMessage | None:
    found = (await connection.execute(select(_TABLE).where(_TABLE.c.id == message_id))).mappings().first()
    return None if found is None else to_message(found)


async def _count(connection: AsyncConnection) -> OutboxCounts:
    column = _TABLE.c
    found = await connection.execute(
        select(column.state, func.count().label("rows"), func.min(column.created_at).label("oldest"))
        .where(column.state != OutboxState.DELIVERED.value)
        .group_by(column.state)
    )
    by_state = {row.state: row for row in found.all()}
    pending, dead = by_state.get(OutboxState.PENDING.value), by_state.get(OutboxState.DEAD.value)
    oldest = None if pending is None else from_text(pending.oldest)
    return OutboxCounts(0 if pending is None else pending.rows, 0 if dead is None else dead.rows, oldest)


async def _read_wants_courier(connection: AsyncConnection) -> bool:
    """Whether there is anything to deliver, or anybody who is told by HTTP."""
    waiting = select(_TABLE.c.id).where(_TABLE.c.state == OutboxState.PENDING.value).limit(1)
    told = select(tables.webhooks.c.id).limit(1)
    return (await connection.execute(waiting)).first() is not None or (await connection.execute(told)).first() is not None


async def _forget(connection: AsyncConnection, before: datetime) -> int:
    """What was delivered or given up before. How many."""
    ended = _TABLE.c.state != OutboxState.PENDING.value, _TABLE.c.ended_at < to_text(before)
    done = await connection.execute(delete(_TABLE).where(*ended))
    await connection.commit()
    return done.rowcount


def _due(lease: Lease) -> Select[tuple[object, ...]]:
    """Of each destination a few, so that one with many does not keep the others waiting."""
    earlier = _TABLE.alias("earlier")
    waits = (
        select(earlier.c.id)
        .where(
            earlier.c.state == OutboxState.PENDING.value,
            earlier.c.request_id == _TABLE.c.request_id,
            earlier.c.destination == _TABLE.c.destination,
            earlier.c.sequence < _TABLE.c.sequence,
        )
        .exists()
    )
    place = func.row_number().over(partition_by=_TABLE.c.destination, order_by=_TABLE.c.sequence).label("place")
    due = select(_TABLE, place).where(
        _TABLE.c.state == OutboxState.PENDING.value,
        _TABLE.c.next_at <= to_text(lease.now),
        or_(_TABLE.c.request_id.is_(None), ~waits),
    )
    if lease.passed_over:
        due = due.where(_TABLE.c.destination.not_in(sorted(lease.passed_over)))
    found = due.subquery()
    columns = [found.c[column.name] for column in _TABLE.columns]
    return select(*columns).where(found.c.place <= lease.per_destination).order_by(found.c.sequence).limit(lease.limit)


def _as_taken(message: OutboxMessage) -> tuple[ColumnElement[bool], ...]:
    """It waits, and nobody has tried since."""
    pending = _TABLE.c.state == OutboxState.PENDING.value
    return _TABLE.c.id == message.id, pending, _TABLE.c.attempts == message.attempts
