"""When each user logged in last: kept beside the rows of rights, without a revision, so that nobody has to load anything anew."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.store import tables, values
from gateway.store.engine import connected, store_errors
from gateway.store.places import Place

#: Whoever was deleted meanwhile is passed over, and an instant never moves back. (Both databases spell it alike.)
_RECORD = text(
    "INSERT INTO user_activity (user_id, last_login_at) SELECT id, :at FROM users WHERE id = :user_id "
    "ON CONFLICT (user_id) DO UPDATE SET last_login_at = excluded.last_login_at "
    "WHERE user_activity.last_login_at < excluded.last_login_at"
).bindparams(bindparam("at"), bindparam("user_id"))


async def record_logins(engine: AsyncEngine, place: Place, logins: Mapping[str, datetime]) -> None:
    """By user id. Raises StoreError."""
    if not logins:
        return
    rows = [{"user_id": user_id, "at": values.to_text(at)} for user_id, at in sorted(logins.items())]
    async with connected(engine, place) as connection:
        with store_errors(place):
            await connection.execute(_RECORD, rows)
            await connection.commit()


async def read_logins(connection: AsyncConnection) -> dict[str, datetime]:
    """By user id; who never logged in is not there."""
    table = tables.user_activity
    found = (await connection.execute(select(table.c.user_id, table.c.last_login_at))).all()
    return {user_id: datetime.fromisoformat(at) for user_id, at in found}
