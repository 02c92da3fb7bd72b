"""/v1/groups"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Change, Changing, Looking, Making, gone, made, shown
from admin_api.models.groups import GroupPage, GroupRecord, NewGroup, group_record
from admin_api.paging import Paged
from gateway.access.model import Group
from gateway.audit.admin_event import AdminEvent
from gateway.services import groups
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_group, find_user

router = APIRouter(prefix="/groups", tags=["groups"])


@router.get("", response_model=GroupPage)
async def list_groups(
    call: Looking, page: Paged, user: Annotated[str | None, Query(description="Only groups that this user is in.")] = None
) -> Response:
    """List groups, by name."""
    member = None if user is None else find_user(call.snapshot, user).id
    found = [group for group in call.snapshot.groups.values() if member is None or member in group.members]
    items, following = page.of(found, lambda group: (group.name,))
    return call.show_list(GroupPage(items=[group_record(call.snapshot, group) for group in items], next=following))


@router.post("", response_model=GroupRecord, status_code=201)
async def create_group(call: Making, body: NewGroup) -> Response:
    """Make a group. It holds no grant yet."""

    async def answer(group: Group) -> Response:
        return await _made(call, group.id)

    async def again(event: AdminEvent) -> Response:
        return await _made(call, event.object_id)

    return await call.run(
        lambda store: groups.create_group(store, name=body.name, members=body.members, **call.why), answer, again
    )


@router.get("/{name}", response_model=GroupRecord)
async def show_group(call: Looking, name: str) -> Response:
    """Show one group with its members."""
    group = find_group(call.snapshot, name)
    return call.show(group_record(call.snapshot, group), group.version, whole=False)


@router.delete("/{name}", status_code=204)
async def delete_group(call: Changing, name: str) -> Response:
    """Delete a group with its grants; the users stay."""
    await groups.delete_group(call.store, name=name, expected_version=call.expected_version, **call.why)
    return gone()


@router.put("/{name}/members/{user}", response_model=GroupRecord)
async def add_member(call: Changing, name: str, user: str) -> Response:
    """Make a user a member: what the group holds they may use, at once."""
    version = call.expected_version
    group = await groups.add_member(call.store, group_name=name, user_name=user, expected_version=version, **call.why)
    return await _shown(call, group)


@router.delete("/{name}/members/{user}", response_model=GroupRecord)
async def remove_member(call: Changing, name: str, user: str) -> Response:
    """Take a user out; sessions that stand on the group's grants end."""
    version = call.expected_version
    group = await groups.remove_member(call.store, group_name=name, user_name=user, expected_version=version, **call.why)
    return await _shown(call, group)


async def _shown(call: Change, group: Group) -> Response:
    return shown(group_record(await call.after(), group), group.version)


async def _made(call: Change, group_id: str) -> Response:
    snapshot = await call.after()
    group = next((group for group in snapshot.groups.values() if group.id == group_id), None)
    if group is None:
        raise ServiceError("group-unknown", "this group was deleted meanwhile")
    return made(group_record(snapshot, group), group.version, f"/v1/groups/{group.name}")
