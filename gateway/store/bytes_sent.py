"""What was sent on a day under grants that limit it: kept beside the rows of rights, without a revision."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from sqlalchemy import bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.store import tables
from gateway.store.engine import connected, store_errors
from gateway.store.places import Place

_SENT: Final = text(
    "INSERT INTO bytes_sent (day, user_id, grant_id, bytes) VALUES (:day, :user_id, :grant_id, :bytes) "
    "ON CONFLICT (day, user_id, grant_id) DO UPDATE SET bytes = bytes_sent.bytes + excluded.bytes"
).bindparams(bindparam("day"), bindparam("user_id"), bindparam("grant_id"), bindparam("bytes"))


async def record_sent(engine: AsyncEngine, place: Place, day: date, more: Mapping[tuple[str, str], int]) -> None:
    """Add to what was sent on this day, by user and grant id: several gateways may. What is older than the day before is forgotten
    (of two gateways one may still be in it). Raises StoreError; then it may still have been added, if the store broke off.
    """
    oldest = (day - timedelta(days=1)).isoformat()
    rows = [
        {"day": day.isoformat(), "user_id": user_id, "grant_id": grant_id, "bytes": size}
        for (user_id, grant_id), size in sorted(more.items())
    ]
    async with connected(engine, place) as connection:
        with store_errors(place):
            await connection.execute(delete(tables.bytes_sent).where(tables.bytes_sent.c.day < oldest))
            if rows:
                await connection.execute(_SENT, rows)
            await connection.commit()


async def read_sent(connection: AsyncConnection, day: date) -> dict[tuple[str, str], int]:
    """By user and grant id."""
    table = tables.bytes_sent
    query = select(table.c.user_id, table.c.grant_id, table.c.bytes).where(table.c.day == day.isoformat())
    return {(user_id, grant_id): size for user_id, grant_id, size in (await connection.execute(query)).all()}
