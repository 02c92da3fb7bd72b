"""By which logins targets are administered, and what their logins were before they were adopted: beside the snapshot.

They are written by a unit of work, like all that an audit event speaks of.
"""

from datetime import datetime

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.access.model import DatabaseRole
from gateway.access.secret_reference import SecretReference
from gateway.access_mode import AccessMode
from gateway.ports import FormerLogin, TargetAdmin
from gateway.store import tables
from gateway.store.instants import from_text, to_text
from gateway.store.values import Values


async def read_admin(connection: AsyncConnection, target_id: str) -> TargetAdmin | None:
    table = tables.target_admins
    found = (await connection.execute(select(table).where(table.c.target_id == target_id))).mappings().first()
    return None if found is None else _admin(found)


async def read_former(connection: AsyncConnection, target_id: str) -> list[FormerLogin]:
    table = tables.former_logins
    found = await connection.execute(select(table).where(table.c.target_id == target_id).order_by(table.c.mode))
    return [_former(row) for row in found.mappings().all()]


def admin_row(admin: TargetAdmin) -> Values:
    return {
        "target_id": admin.target_id,
        "login": admin.login,
        "sealed_secret": admin.sealed_secret,
        "pending_secret": admin.pending_secret,
        "adopted_at": to_text(admin.adopted_at),
        "rotated_at": to_text(admin.rotated_at),
    }


def former_row(former: FormerLogin) -> Values:
    role = former.role
    return {
        "id": role.id,
        "target_id": former.target_id,
        "mode": former.mode.value,
        "login": role.login,
        "sealed_secret": role.sealed_secret,
        "reference": None if role.reference is None else str(role.reference),
        "replaced_at": to_text(former.replaced_at),
    }


def _admin(row: RowMapping) -> TargetAdmin:
    return TargetAdmin(
        row["target_id"],
        row["login"],
        row["sealed_secret"],
        datetime.fromisoformat(row["adopted_at"]),
        row["pending_secret"],
        from_text(row["rotated_at"]),
    )


def _former(row: RowMapping) -> FormerLogin:
    text = row["reference"]
    reference = None if text is None else SecretReference.parse(text)
    role = DatabaseRole(row["id"], row["login"], row["sealed_secret"], None, reference)
    return FormerLogin(row["target_id"], AccessMode(row["mode"]), role, datetime.fromisoformat(row["replaced_at"]))
