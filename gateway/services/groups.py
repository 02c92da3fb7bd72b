"""Groups: users who share grants. Whoever leaves one loses what it holds at once; live sessions that stood on it end."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.access.model import Group, Snapshot
from gateway.audit.admin_event import DetailValue
from gateway.ports import Store
from gateway.services.change import begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, find_group, find_user
from gateway.services.naming import check_group_name


async def create_group(store: Store, *, name: str, members: Sequence[str] = (), actor: str, reason: str) -> Group:
    """A new group without grants. `members`: names of users."""
    check_group_name(name)
    async with begin(store, actor, reason) as change:
        change.require("groups.change")
        check_name_is_free("group", name, change.snapshot.groups)
        users = [find_user(change.snapshot, member) for member in sorted(set(members))]
        group = Group(new_id(), name, frozenset(user.id for user in users))
        return await change.save(group, "group.created", name, {"members": tuple(user.name for user in users)})


async def delete_group(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> Group:
    """Gone with its grants and memberships; the users stay."""
    async with begin(store, actor, reason) as change:
        change.require("groups.change")
        group = find_group(change.snapshot, name, expected_version)
        grants = len(change.snapshot.grants.get(group.id, ()))
        detail: dict[str, DetailValue] = {"grants": grants, "members": tuple(member_names(change.snapshot, group))}
        return await change.drop(group, "group.deleted", name, detail)


async def add_member(
    store: Store, *, group_name: str, user_name: str, actor: str, reason: str, expected_version: int | None = None
) -> Group:
    """The user may use all that the group holds. `expected_version`: the group's."""
    async with begin(store, actor, reason) as change:
        change.require("groups.change")
        group = find_group(change.snapshot, group_name, expected_version)
        user = find_user(change.snapshot, user_name)
        if user.id in group.members:
            raise ServiceError("member-already", f'user "{user_name}" is in group "{group_name}" already')
        group = replace(group, members=group.members | {user.id})
        return await change.save(group, "group.member_added", group_name, {"user": user_name})


async def remove_member(
    store: Store, *, group_name: str, user_name: str, actor: str, reason: str, expected_version: int | None = None
) -> Group:
    """The user loses what only the group gave them. `expected_version`: the group's."""
    async with begin(store, actor, reason) as change:
        change.require("groups.change")
        group = find_group(change.snapshot, group_name, expected_version)
        user = find_user(change.snapshot, user_name)
        if user.id not in group.members:
            raise ServiceError("member-unknown", f'user "{user_name}" is not in group "{group_name}"')
        group = replace(group, members=group.members - {user.id})
        return await change.save(group, "group.member_removed", group_name, {"user": user_name})


def member_names(snapshot: Snapshot, group: Group) -> list[str]:
    """The members of a group, by name."""
    return sorted(user.name for user in snapshot.users.values() if user.id in group.members)
