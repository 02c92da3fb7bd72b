"""One store's whole content into another, of whichever kind: the one mechanism behind backup, restore and moving.

Everything is read in one transaction and written in one transaction, in the source's own schema (whoever puts it to use migrates
it then); what arrived is read back and held against what was sent before it is committed.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, MetaData, RowMapping, Table, delete, func, insert, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import tables
from gateway.store.engine import store_errors
from gateway.store.errors import StoreError, StoreUnavailableError
from gateway.store.migrate import known_version, migrate
from gateway.store.places import Place

Progress = Callable[[int, int], None]
"""(rows done, rows in all), now and then."""

_BATCH: Final = 500
_OURS: Final = frozenset(tables.metadata.tables)
_VERSION_TABLE: Final = "alembic_version"
_SUMS: Final = 1 << 256


def no_progress(_done: int, _total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied. `digest` is the same for the same rows, in whichever store and whichever order they lie."""

    rows: Mapping[str, int]  # by table
    revision: int
    key_id: str | None
    digest: str


@dataclass(slots=True)
class _Tally:
    """Counts and digests while rows pass. Digests of rows are added up, because no two databases sort alike."""

    rows: dict[str, int] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)

    def add(self, table: str, rows: Sequence[RowMapping]) -> None:
        self.rows[table] = self.rows.get(table, 0) + len(rows)
        for row in rows:
            facts = repr(sorted(row.items())).encode("utf-8", "backslashreplace")
            number = int.from_bytes(hashlib.sha256(facts).digest(), "big")
            self.sums[table] = (self.sums.get(table, 0) + number) % _SUMS

    def digest(self) -> str:
        return hashlib.sha256(repr(sorted(self.sums.items())).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class End:
    """A store with a transaction open in it."""

    connection: AsyncConnection
    place: Place


async def copy_rows(source: End, destination: End, progress: Progress) -> CopyReport:
    """Into an empty store (see `clear`); the caller commits. Raises StoreError that names the end that failed."""
    with store_errors(source.place):
        version = await source.connection.run_sync(known_version)
        if version is None:
            raise StoreUnavailableError(f"there is no store in {source.place}: it was never set up")
        copied = await source.connection.run_sync(_reflected)
        total = await _count(source.connection, copied)
    writing = destination.connection
    with store_errors(destination.place):
        await migrate(writing, version)
        await writing.execute(delete(tables.meta))  # the row of a new store
        sent, arrived = _Tally(), _Tally()
        for table in copied:
            sent.add(table.name, [])
            async for batch in _batches(source, table):
                sent.add(table.name, batch)
                await writing.execute(insert(table), [dict(row) for row in batch])
                progress(sum(sent.rows.values()), total)
        for table in copied:
            arrived.add(table.name, [])
            async for batch in _batches(destination, table):
                arrived.add(table.name, batch)
        if arrived != sent:
            raise StoreError("what was written is not what was read: nothing was kept of it")
        meta = (await writing.execute(select(tables.meta.c.revision, tables.meta.c.key_id))).one()
    return CopyReport(sent.rows, meta.revision, meta.key_id, sent.digest())


async def is_empty(connection: AsyncConnection) -> bool:
    """Nothing in it but what a new store holds, and nothing of another program that would be in the way."""
    if await connection.run_sync(known_version) is None:
        return not await connection.run_sync(_in_the_way)
    found = await connection.run_sync(_reflected)
    return await _count(connection, [table for table in found if table.name != tables.meta.name]) == 0


async def read_revision(connection: AsyncConnection) -> int:
    """The store's revision; 0 where there is none."""
    if await connection.run_sync(known_version) is None:
        return 0
    return await connection.scalar(select(tables.meta.c.revision)) or 0


async def clear(connection: AsyncConnection) -> None:
    """Drop every table of ours, in the caller's transaction."""
    if await connection.run_sync(known_version) is not None:
        await connection.run_sync(_drop)


async def go_beyond(connection: AsyncConnection, report: CopyReport, former_revision: int) -> int:
    """Whoever watches must see another revision than before, and versions of rows must not come twice. Returns the revision."""
    if report.revision > former_revision:
        return report.revision
    await connection.execute(update(tables.meta).values(revision=former_revision + 1))
    return former_revision + 1


def _reflected(connection: Connection) -> list[Table]:
    """Our tables as this store's own schema has them, those first that others refer to."""
    found = MetaData()
    found.reflect(connection, only=sorted(_OURS & set(inspect(connection).get_table_names())))
    return found.sorted_tables


def _in_the_way(connection: Connection) -> bool:
    """A file belongs to one program alone; a database may hold tables of others."""
    names = set(inspect(connection).get_table_names())
    return bool(names if connection.dialect.name == "sqlite" else names & _OURS)


def _drop(connection: Connection) -> None:
    found = MetaData()
    found.reflect(connection, only=sorted((_OURS | {_VERSION_TABLE}) & set(inspect(connection).get_table_names())))
    found.drop_all(connection)


async def _count(connection: AsyncConnection, counted: Sequence[Table]) -> int:
    return sum([await connection.scalar(select(func.count()).select_from(table)) or 0 for table in counted])


async def _batches(end: End, table: Table) -> AsyncIterator[Sequence[RowMapping]]:
    with store_errors(end.place):
        result = await end.connection.stream(select(table))
        async for batch in result.mappings().partitions(_BATCH):
            yield batch
