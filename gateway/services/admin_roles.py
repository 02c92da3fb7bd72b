"""Admin roles: who may do what as an admin, and in which environment. Only owners change them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gateway.access.model import AdminRole, Permission, Snapshot
from gateway.ports import Store
from gateway.services.change import Change, begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, find_admin_role, find_environment, find_user
from gateway.services.naming import check_admin_role_name


async def create_admin_role(store: Store, *, name: str, members: Sequence[str] = (), actor: str, reason: str) -> AdminRole:
    """A new one, without any permission yet."""
    check_admin_role_name(name)
    async with begin(store, actor, reason) as change:
        change.require("roles.change")
        check_name_is_free("admin-role", name, change.whole.admin_roles)
        ids = frozenset(find_user(change.snapshot, each).id for each in members)
        role = AdminRole(new_id(), name, {}, ids)
        return await change.save(role, "admin_role.created", name, {"members": tuple(sorted(set(members)))})


async def grant_permissions(
    store: Store,
    *,
    name: str,
    environment: str,
    permissions: frozenset[Permission],
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> AdminRole:
    """Add permissions in one environment. Tunnel and Environment Admin let members read from its targets at once."""
    async with begin(store, actor, reason) as change:
        change.require("roles.change")
        role, place, held = _held(change, name, environment, expected_version)
        if permissions <= held:
            raise ServiceError("nothing-to-change", f'admin role "{name}" holds that already in "{environment}"')
        after = replace(role, permissions={**role.permissions, place: held | permissions})
        return await change.save(after, "admin_role.permissions_granted", name, _detail(environment, permissions - held))


async def revoke_permissions(
    store: Store,
    *,
    name: str,
    environment: str,
    permissions: frozenset[Permission],
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> AdminRole:
    """Take permissions in one environment away. Sessions that stood on them end."""
    async with begin(store, actor, reason) as change:
        change.require("roles.change")
        role, place, held = _held(change, name, environment, expected_version)
        if not permissions & held:
            raise ServiceError("nothing-to-change", f'admin role "{name}" holds none of that in "{environment}"')
        left = {**role.permissions, place: held - permissions}
        after = replace(role, permissions={key: each for key, each in left.items() if each})
        return await change.save(after, "admin_role.permissions_revoked", name, _detail(environment, permissions & held))


async def change_members(
    store: Store,
    *,
    name: str,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> AdminRole:
    """Give an admin role to users, take it from others. The last owner stays."""
    async with begin(store, actor, reason) as change:
        change.require("roles.change")
        role = find_admin_role(change.snapshot, name, expected_version)
        added = {user.id: user.name for user in (find_user(change.snapshot, each) for each in add)}
        removed = {user.id: user.name for user in (find_user(change.snapshot, each) for each in remove)}
        members = (role.members | set(added)) - set(removed)
        if members == role.members:
            raise ServiceError("nothing-to-change", f'admin role "{name}" has these members already')
        detail = {"added": tuple(sorted(added.values())), "removed": tuple(sorted(removed.values()))}
        return await change.save(replace(role, members=members), "admin_role.members_changed", name, detail)


async def delete_admin_role(
    store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None
) -> AdminRole:
    """Gone, and what it allowed; the one of the owners stays."""
    async with begin(store, actor, reason) as change:
        change.require("roles.change")
        role = find_admin_role(change.snapshot, name, expected_version)
        if role.owners:
            raise ServiceError("last-owner", f'admin role "{name}" cannot be deleted', "Change its members instead.")
        for mapping in change.snapshot.claim_mappings:
            if mapping.role_id == role.id:
                change.also_remove(mapping)
        return await change.drop(role, "admin_role.deleted", name, {"members": member_names(change.snapshot, role)})


def member_names(snapshot: Snapshot, role: AdminRole) -> tuple[str, ...]:
    return tuple(sorted(user.name for user in snapshot.users.values() if user.id in role.members))


def permissions_by_name(snapshot: Snapshot, role: AdminRole) -> dict[str, list[str]]:
    """By environment name: what it holds there, as scope names."""
    names = {each.id: each.name for each in snapshot.environments.values()}
    held = {names[key]: sorted(each.value for each in found) for key, found in role.permissions.items() if key in names}
    return dict(sorted(held.items()))


def _held(
    change: Change, name: str, environment: str, expected_version: int | None
) -> tuple[AdminRole, str, frozenset[Permission]]:
    role = find_admin_role(change.snapshot, name, expected_version)
    if role.owners:
        raise ServiceError(
            "owners-have-all", f'admin role "{name}" may do everything everywhere', "Change its members instead."
        )
    place = find_environment(change.snapshot, environment)
    return role, place.id, role.permissions.get(place.id, frozenset())


def _detail(environment: str, permissions: Iterable[Permission]) -> dict[str, str | tuple[str, ...]]:
    return {"environment": environment, "permissions": tuple(sorted(each.value for each in permissions))}
