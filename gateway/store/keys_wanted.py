"""Which master keys a store's secrets are sealed with, against those that there are."""

from collections.abc import Set
from typing import Protocol

from sqlalchemy import ColumnElement, Connection, func, inspect, literal, literal_column, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.errors import VaultError
from gateway.store.key_ring import KEY_ID_BYTES
from gateway.store.sealed_columns import SEALED_COLUMNS, SealedColumn


class Keys(Protocol):
    """What SealedVault says of its keys."""

    @property
    def key_id(self) -> str: ...

    @property
    def key_ids(self) -> list[str]: ...

    def knows(self, key_id: str) -> bool: ...


def said(keys: Keys) -> str:
    """Which keys there are, for a message that says which is missing."""
    names = keys.key_ids
    return f"the key file holds key{'s' if len(names) > 1 else ''} {', '.join(names)}"


def check_keys(wanted: Set[str], keys: Keys) -> None:
    """Raises VaultError when the store was made with another key."""
    missing = sorted(each for each in wanted if not keys.knows(each))
    if missing:
        raise VaultError(f"the store's secrets are sealed with master key {', '.join(missing)}, but {said(keys)}")


async def sealed_with(connection: AsyncConnection) -> frozenset[str]:
    """The ids of all keys that something is sealed with. The store may be of an older schema."""
    return frozenset(key_id for _, key_id in await count_by_key(connection))


async def count_by_key(connection: AsyncConnection) -> dict[tuple[str, str], int]:
    """How many values are sealed with which key, by their kind and the key's id."""
    here = await connection.run_sync(_columns_here)
    if not here:
        return {}
    counted = [
        select(literal(each.kind).label("kind"), key_in(each).label("key_id"), func.count().label("rows"))
        .where(is_sealed(each))
        .group_by(key_in(each))
        for each in here
    ]
    return {(row.kind, bytes(row.key_id).hex()): row.rows for row in await connection.execute(union_all(*counted))}


def key_in(sealed: SealedColumn) -> ColumnElement[bytes]:
    """The key's id, out of a sealed value."""
    return func.substr(sealed.column, literal_column("2"), literal_column(str(KEY_ID_BYTES)))


def is_sealed(sealed: SealedColumn) -> ColumnElement[bool]:
    """There is something: a reference to a secret that is kept elsewhere leaves it empty."""
    return func.length(sealed.column) > 0


def _columns_here(connection: Connection) -> list[SealedColumn]:
    found = inspect(connection)
    tables = set(found.get_table_names())
    names = {each.table.name for each in SEALED_COLUMNS} & tables
    columns = {name: {each["name"] for each in found.get_columns(name)} for name in names}
    return [each for each in SEALED_COLUMNS if each.column.name in columns.get(each.table.name, ())]
