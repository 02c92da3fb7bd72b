"""When each API token was used last: kept beside the rows of rights, without a revision, so that nobody has to load anything."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.store import tables, values
from gateway.store.engine import connected, store_errors
from gateway.store.places import Place

#: One that was revoked meanwhile is passed over, and an instant never moves back. (Both databases spell it alike.)
_RECORD = text(
    "INSERT INTO token_activity (token_id, last_used_at) SELECT id, :at FROM api_tokens WHERE id = :token_id "
    "ON CONFLICT (token_id) DO UPDATE SET last_used_at = excluded.last_used_at "
    "WHERE token_activity.last_used_at < excluded.last_used_at"
).bindparams(bindparam("at"), bindparam("token_id"))


async def record_token_uses(engine: AsyncEngine, place: Place, uses: Mapping[str, datetime]) -> None:
    """By token id. Raises StoreError."""
    if not uses:
        return
    rows = [{"token_id": token_id, "at": values.to_text(at)} for token_id, at in sorted(uses.items())]
    async with connected(engine, place) as connection:
        with store_errors(place):
            await connection.execute(_RECORD, rows)
            await connection.commit()


async def read_token_uses(connection: AsyncConnection) -> dict[str, datetime]:
    """By token id; one that was never used is not there."""
    table = tables.token_activity
    found = (await connection.execute(select(table.c.token_id, table.c.last_used_at))).all()
    return {token_id: datetime.fromisoformat(at) for token_id, at in found}
