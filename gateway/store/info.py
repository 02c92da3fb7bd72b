"""What a store says about itself: for people who look after one. Changes nothing, and makes nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from gateway.store import tables
from gateway.store.access import Access
from gateway.store.engine import connected, open_engine, store_errors
from gateway.store.keys_wanted import count_by_key, sealed_with
from gateway.store.migrate import HEAD, known_version
from gateway.store.places import Place, SqlitePlace, locate
from gateway.store.queries import read_key_id

if TYPE_CHECKING:
    from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """`schema` is None in a store that was never set up; then so is all the rest. `newest_schema`: what this program wants.

    `sealed_with`: the ids of all keys that something in it is sealed with.
    """

    kind: str
    place: str
    schema: str | None
    newest_schema: str = HEAD
    key_id: str | None = None
    sealed_with: tuple[str, ...] = ()
    revision: int = 0
    events: int = 0
    bytes: int | None = None


async def read_info(where: "Settings | str | Place") -> StoreInfo:
    """Raises StoreError: StoreUnavailableError when nothing answers there."""
    place = locate(where)
    kind = "sqlite" if isinstance(place, SqlitePlace) else "postgresql"
    async with connected(open_engine(place, Access.READ), place) as connection:
        with store_errors(place):
            schema = await connection.run_sync(known_version)
            if schema is None:
                return StoreInfo(kind, str(place), None)
            key_id = await read_key_id(connection)
            sealed = tuple(sorted(await sealed_with(connection)))
            revision = await connection.scalar(select(tables.meta.c.revision))
            events = await connection.scalar(select(func.count()).select_from(tables.audit_events))
    return StoreInfo(kind, str(place), schema, HEAD, key_id, sealed, revision or 0, events or 0, _size(place))


async def read_sealed(where: "Settings | str | Place") -> dict[tuple[str, str], int]:
    """How many values are sealed with which key, by their kind and the key's id. Raises StoreError."""
    place = locate(where)
    async with connected(open_engine(place, Access.READ), place) as connection:
        with store_errors(place):
            return await count_by_key(connection)


def _size(place: Place) -> int | None:
    return place.path.stat().st_size if isinstance(place, SqlitePlace) else None
