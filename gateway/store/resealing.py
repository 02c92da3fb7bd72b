"""Whatever is sealed, sealed with the newest key instead: a few rows at a time, each opened again before it counts as done.

A row that changes meanwhile is left to whoever changed it, who sealed it with the newest key; the next pass sees what is left.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.store import tables
from gateway.store.engine import connected, store_errors
from gateway.store.errors import StoreError, VaultError
from gateway.store.keys_wanted import is_sealed, key_in
from gateway.store.places import Place
from gateway.store.sealed_columns import SEALED_COLUMNS, SealedColumn
from gateway.store.vault import SealedVault, key_of

Progress = Callable[[int, int], None]
"""(values done, values in all), now and then."""

_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that cannot be opened. `row`: the id of the row that it is in; `why` holds no secret."""

    kind: str
    row: str
    why: str


@dataclass(frozen=True, slots=True)
class Checked:
    """`opened`: how many values were opened, by kind; each of them with the newest key."""

    opened: dict[str, int]
    unreadable: list[Unreadable]


async def reseal_all(engine: AsyncEngine, place: Place, vault: SealedVault, progress: Progress) -> list[Unreadable]:
    """One pass over everything; what cannot be opened is passed over, and told. `engine` writes. Raises StoreError."""
    async with connected(engine, place) as connection:
        with store_errors(place):
            total = sum([await _count_old(connection, each, vault) for each in SEALED_COLUMNS])
    done, unreadable = 0, []
    for column in SEALED_COLUMNS:
        after = ""
        while True:
            async with connected(engine, place) as connection:
                with store_errors(place):
                    rows = await _take_old(connection, column, vault, after)
                    if not rows:
                        break
                    unreadable += await _reseal(connection, column, vault, rows)
                    await connection.commit()
            done, after = done + len(rows), rows[-1].row
            progress(done, max(total, done))
    return unreadable


async def check_all(engine: AsyncEngine, place: Place, vault: SealedVault, progress: Progress) -> Checked:
    """Open everything, with the newest key and no other. Raises StoreError."""
    found = Checked({}, [])
    async with connected(engine, place) as connection:
        with store_errors(place):
            for column in SEALED_COLUMNS:
                after = ""
                while rows := await _rows(connection, column, after):
                    after = rows[-1].row
                    for row in rows:
                        _check(column, vault, row, found)
                    opened = sum(found.opened.values())
                    progress(opened, opened)
    return found


def _check(column: SealedColumn, vault: SealedVault, row: Row[tuple[str, str, bytes]], found: Checked) -> None:
    try:
        if key_of(row.sealed) != vault.key_id:
            raise VaultError(f"it is sealed with master key {key_of(row.sealed)}")
        vault.reopen(column.use, row.bound_to, row.sealed)
    except VaultError as error:
        found.unreadable.append(Unreadable(column.kind, row.row, str(error)))
    else:
        found.opened[column.kind] = found.opened.get(column.kind, 0) + 1


async def _reseal(
    connection: AsyncConnection, column: SealedColumn, vault: SealedVault, rows: list[Row[tuple[str, str, bytes]]]
) -> list[Unreadable]:
    unreadable = []
    value, key = column.column, _key(column)
    for row in rows:
        try:
            secret = vault.reopen(column.use, row.bound_to, row.sealed)
        except VaultError as error:
            unreadable.append(Unreadable(column.kind, row.row, str(error)))
            continue
        sealed = vault.reseal(column.use, row.bound_to, secret)
        change = update(column.table).where(key == row.row, value == bindparam("was", row.sealed)).values({value.name: sealed})
        if (await connection.execute(change)).rowcount == 0:
            continue  # somebody else changed it
        kept = await connection.scalar(select(value).where(key == row.row))
        again = vault.reopen(column.use, row.bound_to, bytes(kept or b""))
        if key_of(bytes(kept or b"")) != vault.key_id or not _same(again.reveal(), secret.reveal()):
            raise StoreError(f"what was sealed anew does not open as what it was ({column.kind}): nothing of this was kept")
    return unreadable


async def _count_old(connection: AsyncConnection, column: SealedColumn, vault: SealedVault) -> int:
    query = select(func.count()).select_from(column.table).where(is_sealed(column), key_in(column) != _newest(vault))
    return await connection.scalar(query) or 0


async def _take_old(
    connection: AsyncConnection, column: SealedColumn, vault: SealedVault, after: str
) -> list[Row[tuple[str, str, bytes]]]:
    """Those behind `after` that are sealed with another key; nobody else changes the rights while they are being sealed anew."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(tables.meta.c.revision).with_for_update())
    return await _rows(connection, column, after, key_in(column) != _newest(vault))


async def _rows(
    connection: AsyncConnection, column: SealedColumn, after: str, *conditions: object
) -> list[Row[tuple[str, str, bytes]]]:
    key = _key(column)
    query = select(key.label("row"), column.bound_to.label("bound_to"), column.column.label("sealed"))
    query = query.where(is_sealed(column), key > after, *conditions).order_by(key).limit(_BATCH)  # type: ignore[arg-type]
    return list((await connection.execute(query)).all())


def _key(column: SealedColumn):  # type: ignore[no-untyped-def]
    (key,) = column.table.primary_key.columns
    return key


def _newest(vault: SealedVault) -> bytes:
    return bytes.fromhex(vault.key_id)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
