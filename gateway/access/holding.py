"""What somebody holds: grants of their own and of their groups, and what an admin role is. Pure."""

from gateway.access.managed import ManagedMode
from gateway.access.model import Grant, Snapshot, Target, User
from gateway.access_mode import AccessMode


def holders(snapshot: Snapshot, user: User) -> tuple[str, ...]:
    """Whose grants the user may use: their own and those of their groups."""
    return (user.id, *snapshot.memberships.get(user.id, ()))


def held_grants(snapshot: Snapshot, user: User, target: Target) -> list[Grant]:
    """All that the user holds on the target, whether or not it may be used now: own, groups', and what an admin role is."""
    held = [grant for holder in holders(snapshot, user) for grant in snapshot.held.get((holder, target.id), ())]
    standing = standing_right(snapshot, user.id, target)
    return held if standing is None else [*held, standing]


def is_usable(grant: Grant, target: Target) -> bool:
    """A grant for a database role leads to a login of its own, which there is only where logins are managed."""
    return grant.database_role is None or target.managed is not ManagedMode.OFF


def standing_right(snapshot: Snapshot, user_id: str, target: Target) -> Grant | None:
    """What an admin role that may connect in the target's environment is: a grant to read, as long as the role is held."""
    role_id = snapshot.standing.get((user_id, target.environment_id))
    if role_id is None:
        return None
    return Grant(f"role:{role_id}:{target.environment_id}", user_id, target.id, AccessMode.READ_ONLY, None)


def stands(snapshot: Snapshot, user: User, target: Target) -> bool:
    return (user.id, target.environment_id) in snapshot.standing
