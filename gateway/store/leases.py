"""Who is at a work that one process of all gateways on this store does at a time: beside the rights, without a revision.

A lease is short and renewed while the work goes on, so that whoever dies holds up the next one for seconds.
"""

from datetime import datetime

from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import tables, values

#: One statement, so that of two that come at once one gets it. (Both databases spell it alike.)
_TAKE = text(
    "INSERT INTO leases (name, holder, until) VALUES (:name, :holder, :until) "
    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until "
    "WHERE leases.holder = excluded.holder OR leases.until < :now"
)


async def take_lease(connection: AsyncConnection, name: str, holder: str, now: datetime, until: datetime) -> bool:
    """Also renews it. False: another holder has it."""
    parameters = {"name": name, "holder": holder, "now": values.to_text(now), "until": values.to_text(until)}
    taken = await connection.execute(_TAKE, parameters)
    await connection.commit()
    return taken.rowcount == 1


async def drop_lease(connection: AsyncConnection, name: str, holder: str) -> None:
    table = tables.leases
    await connection.execute(delete(table).where(table.c.name == name, table.c.holder == holder))
    await connection.commit()
