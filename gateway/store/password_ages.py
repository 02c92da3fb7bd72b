"""Which upstream passwords have a schedule, or a rotation that has not ended: asked often, so without reading the whole."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import RowMapping, literal, null, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.access.password_age import PasswordAge
from gateway.store import tables


async def read_ages(connection: AsyncConnection) -> Sequence[PasswordAge]:
    targets, roles, admins = tables.targets, tables.target_roles, tables.target_admins
    of_sessions = (
        select(
            targets.c.name,
            roles.c.mode.label("role"),
            roles.c.id.label("row_id"),
            roles.c.login,
            roles.c.changed_at,
            targets.c.rotate_every_days,
            roles.c.pending_secret.is_not(None).label("half_done"),
        )
        .join(targets, targets.c.id == roles.c.target_id)
        .where(roles.c.reference.is_(None))
        .where(roles.c.pending_secret.is_not(None) | targets.c.rotate_every_days.is_not(None))
    )
    of_admins = (
        select(
            targets.c.name,
            literal("admin").label("role"),
            admins.c.target_id.label("row_id"),
            admins.c.login,
            admins.c.adopted_at.label("changed_at"),
            null().label("rotate_every_days"),
            admins.c.pending_secret.is_not(None).label("half_done"),
        )
        .join(targets, targets.c.id == admins.c.target_id)
        .where(admins.c.pending_secret.is_not(None))
    )
    found = [*(await connection.execute(of_sessions)).mappings(), *(await connection.execute(of_admins)).mappings()]
    return sorted(map(_age, found), key=lambda each: (each.target, each.role))


def _age(row: RowMapping) -> PasswordAge:
    changed_at = datetime.fromisoformat(row["changed_at"])
    every, half_done = row["rotate_every_days"], bool(row["half_done"])
    return PasswordAge(row["name"], row["role"], row["row_id"], row["login"], changed_at, every, half_done)
