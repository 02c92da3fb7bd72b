"""When each user logged in last, and each API token was used last: kept beside the rows of rights, without a revision, so that
nobody has to load anything anew.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import Column, TextClause, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.store import tables, values
from gateway.store.engine import connected, store_errors
from gateway.store.places import Place


def _recording(table: str, key: str, column: str, rows: str) -> TextClause:
    """Whoever was deleted meanwhile is passed over, and an instant never moves back. (Both databases spell it alike.)"""
    return text(
        f"INSERT INTO {table} ({key}, {column}) SELECT id, :at FROM {rows} WHERE id = :id "  # noqa: S608 (names of ours)
        f"ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column} WHERE {table}.{column} < excluded.{column}"
    ).bindparams(bindparam("at"), bindparam("id"))


_LOGINS: Final = _recording("user_activity", "user_id", "last_login_at", "users")
_TOKEN_USES: Final = _recording("token_activity", "token_id", "last_used_at", "api_tokens")


async def record_logins(engine: AsyncEngine, place: Place, logins: Mapping[str, datetime]) -> None:
    """By user id. Raises StoreError."""
    await _record(engine, place, _LOGINS, logins)


async def record_token_uses(engine: AsyncEngine, place: Place, uses: Mapping[str, datetime]) -> None:
    """By token id. Raises StoreError."""
    await _record(engine, place, _TOKEN_USES, uses)


async def read_logins(connection: AsyncConnection) -> dict[str, datetime]:
    """By user id; who never logged in is not there."""
    table = tables.user_activity
    return await _read(connection, table.c.user_id, table.c.last_login_at)


async def read_token_uses(connection: AsyncConnection) -> dict[str, datetime]:
    """By token id; one that was never used is not there."""
    table = tables.token_activity
    return await _read(connection, table.c.token_id, table.c.last_used_at)


async def _record(engine: AsyncEngine, place: Place, statement: TextClause, instants: Mapping[str, datetime]) -> None:
    if not instants:
        return
    rows = [{"id": key, "at": values.to_text(at)} for key, at in sorted(instants.items())]
    async with connected(engine, place) as connection:
        with store_errors(place):
            await connection.execute(statement, rows)
            await connection.commit()


async def _read(connection: AsyncConnection, key: Column[str], column: Column[str]) -> dict[str, datetime]:
    found = (await connection.execute(select(key, column))).all()
    return {each: datetime.fromisoformat(at) for each, at in found}
