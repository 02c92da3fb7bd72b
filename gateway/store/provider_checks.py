"""With what an identity provider is asked whether it still vouches for somebody, and when: beside the rights, without a revision.

Whoever takes a check that is due puts off the next one in the same transaction: of several processes one asks, and a refresh token
that may be used once is used once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import bindparam, delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import tables, values


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """`sealed_refresh`: the refresh token, sealed for the account. `vouched_at`: when the provider last said yes."""

    account_id: str
    sealed_refresh: bytes = field(repr=False)
    vouched_at: datetime


@dataclass(frozen=True, slots=True)
class PlannedCheck:
    """When the provider last said yes about somebody, and when it is to be asked again."""

    account_id: str
    vouched_at: datetime
    due_at: datetime


#: Whose account was removed meanwhile is passed over. (Both databases spell it alike.)
_PUT = text(
    "INSERT INTO provider_checks (account_id, sealed_refresh, vouched_at, due_at) "
    "SELECT id, :sealed, :vouched_at, :due_at FROM accounts WHERE id = :account_id "
    "ON CONFLICT (account_id) DO UPDATE SET sealed_refresh = excluded.sealed_refresh, vouched_at = excluded.vouched_at, "
    "due_at = excluded.due_at"
)


async def put_check(connection: AsyncConnection, check: ProviderCheck, due_at: datetime) -> None:
    parameters = {
        "account_id": check.account_id,
        "sealed": check.sealed_refresh,
        "vouched_at": values.to_text(check.vouched_at),
        "due_at": values.to_text(due_at),
    }
    await connection.execute(_PUT, parameters)
    await connection.commit()


async def take_due(connection: AsyncConnection, now: datetime, next_due_at: datetime, limit: int) -> Sequence[ProviderCheck]:
    """Those that have waited longest first; their next turn is at `next_due_at`."""
    table = tables.provider_checks
    due = select(table).where(table.c.due_at <= values.to_text(now)).order_by(table.c.due_at).limit(limit).with_for_update()
    found = (await connection.execute(due)).mappings().all()
    if found:
        put_off = update(table).where(table.c.account_id == bindparam("key")).values(due_at=values.to_text(next_due_at))
        await connection.execute(put_off, [{"key": row["account_id"]} for row in found])
        await connection.commit()
    return [ProviderCheck(row["account_id"], row["sealed_refresh"], datetime.fromisoformat(row["vouched_at"])) for row in found]


async def read_planned(connection: AsyncConnection) -> Sequence[PlannedCheck]:
    table = tables.provider_checks
    found = await connection.execute(select(table.c.account_id, table.c.vouched_at, table.c.due_at))
    return [PlannedCheck(key, datetime.fromisoformat(vouched), datetime.fromisoformat(due)) for key, vouched, due in found]


async def drop_check(connection: AsyncConnection, account_id: str) -> None:
    table = tables.provider_checks
    await connection.execute(delete(table).where(table.c.account_id == account_id))
    await connection.commit()
