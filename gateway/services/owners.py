"""There is always somebody left who may do everything, once there was. Pure."""

from collections.abc import Sequence

from gateway.access.model import AdminRole, Snapshot, User
from gateway.ports import ChangeableRow
from gateway.services.errors import ServiceError


def check_owners_stay(snapshot: Snapshot, puts: Sequence[ChangeableRow], removals: Sequence[ChangeableRow]) -> None:
    """Raises ServiceError when these rows leave the owners without anybody who may log in. `snapshot`: before them."""
    role = next((each for each in snapshot.admin_roles.values() if each.owners), None)
    if role is None or not role.members:
        return
    members = next((row.members for row in reversed(puts) if isinstance(row, AdminRole) and row.id == role.id), role.members)
    people = {user.id: user for user in snapshot.users.values()}
    if not any(people[each].enabled for each in role.members if each in people):
        return
    people |= {row.id: row for row in puts if isinstance(row, User)}
    gone = {row.id for row in removals if isinstance(row, User)}
    if not any(people[each].enabled for each in members - gone if each in people):
        raise ServiceError(
            "last-owner",
            "this would leave no owner who may log in",
            "Make somebody else an owner first: pgbastion roles members owners --add USER",
        )
