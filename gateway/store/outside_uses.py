"""Who else is in a target's database, seen again and again: beside the rights, without a revision, and forgotten after some days.

Of several processes one looks: whoever takes what is due puts off the next turn in the same transaction.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.ports import OutsideLook, OutsideUse, TargetObservation
from gateway.store import tables
from gateway.store.values import Values, to_text

_AT_ONCE = 20


async def read_observation(connection: AsyncConnection, target_id: str) -> TargetObservation | None:
    table = tables.target_observations
    row = (await connection.execute(select(table).where(table.c.target_id == target_id))).mappings().first()
    return None if row is None else TargetObservation(row["target_id"], row["every_seconds"], row["keep_days"])


async def take_observations(connection: AsyncConnection, now: datetime) -> Sequence[TargetObservation]:
    """Those that are due; their next turn comes after as long as they are to."""
    table = tables.target_observations
    due = select(table).where(table.c.due_at <= to_text(now)).order_by(table.c.due_at).limit(_AT_ONCE).with_for_update()
    found = (await connection.execute(due)).mappings().all()
    if found:
        put_off = update(table).where(table.c.target_id == bindparam("key")).values(due_at=bindparam("next"))
        turns = [{"key": row["target_id"], "next": to_text(now + timedelta(seconds=row["every_seconds"]))} for row in found]
        await connection.execute(put_off, turns)
        await connection.commit()
    return [TargetObservation(row["target_id"], row["every_seconds"], row["keep_days"]) for row in found]


async def record_look(connection: AsyncConnection, observation: TargetObservation, look: OutsideLook) -> None:
    """Of a target that was deleted meanwhile, nothing is kept. What is too old is forgotten."""
    table = tables.outside_looks
    known = await connection.scalar(select(tables.targets.c.id).where(tables.targets.c.id == observation.target_id))
    if known is None:
        return
    too_old = to_text(look.at - timedelta(days=observation.keep_days))
    await connection.execute(delete(table).where(table.c.target_id == observation.target_id, table.c.at < too_old))
    uses = [[use.role, use.database, use.address, use.application, use.sessions] for use in look.uses]
    row = {"target_id": known, "at": to_text(look.at), "failure": look.failure, "uses": json.dumps(uses, ensure_ascii=False)}
    await connection.execute(insert(table), [row])
    await connection.commit()


async def read_looks(connection: AsyncConnection, target_id: str, since: datetime) -> list[OutsideLook]:
    table = tables.outside_looks
    wanted = select(table).where(table.c.target_id == target_id, table.c.at >= to_text(since)).order_by(table.c.at)
    found = (await connection.execute(wanted)).mappings().all()
    return [
        OutsideLook(
            datetime.fromisoformat(row["at"]), tuple(OutsideUse(*use) for use in json.loads(row["uses"])), row["failure"]
        )
        for row in found
    ]


def observation_row(observation: TargetObservation, now: datetime) -> Values:
    """Due at once."""
    return {
        "target_id": observation.target_id,
        "every_seconds": observation.every_seconds,
        "keep_days": observation.keep_days,
        "due_at": to_text(now),
    }
