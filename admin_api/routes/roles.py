"""/v1/roles: admin roles."""

from fastapi import APIRouter
from starlette.responses import Response

from admin_api.calls import Change, Changing, Looking, Making, gone, made, shown
from admin_api.models.environments import (
    AdminRolePage,
    AdminRoleRecord,
    NewAdminRole,
    RoleMembers,
    RolePermissions,
    admin_role_record,
)
from admin_api.paging import Paged
from gateway.access.model import AdminRole, Permission
from gateway.audit.admin_event import AdminEvent
from gateway.services import admin_roles
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_admin_role

router = APIRouter(prefix="/roles", tags=["roles"])


@router.get("", response_model=AdminRolePage)
async def list_roles(call: Looking, page: Paged) -> Response:
    """List admin roles, by name: owners see all, others their own."""
    items, following = page.of(list(call.snapshot.admin_roles.values()), lambda role: (role.name,))
    return call.show_list(AdminRolePage(items=[admin_role_record(call.snapshot, role) for role in items], next=following))


@router.post("", response_model=AdminRoleRecord, status_code=201)
async def create_role(call: Making, body: NewAdminRole) -> Response:
    """Make an admin role. It holds no permission yet."""

    async def answer(role: AdminRole) -> Response:
        return await _made(call, role.id)

    async def again(event: AdminEvent) -> Response:
        return await _made(call, event.object_id)

    return await call.run(
        lambda store: admin_roles.create_admin_role(store, name=body.name, members=body.members, **call.why), answer, again
    )


@router.get("/{name}", response_model=AdminRoleRecord)
async def show_role(call: Looking, name: str) -> Response:
    """Show one admin role with its permissions and members."""
    role = find_admin_role(call.snapshot, name)
    return call.show(admin_role_record(call.snapshot, role), role.version, whole=False)


@router.delete("/{name}", status_code=204)
async def delete_role(call: Changing, name: str) -> Response:
    """Delete an admin role, and with it what its members had by it. That of the owners stays."""
    await admin_roles.delete_admin_role(call.store, name=name, expected_version=call.expected_version, **call.why)
    return gone()


@router.patch("/{name}/members", response_model=AdminRoleRecord)
async def change_members(call: Changing, name: str, body: RoleMembers) -> Response:
    """Give the role to users, take it from others. The last owner stays."""
    role = await admin_roles.change_members(
        call.store, name=name, add=body.add, remove=body.remove, expected_version=call.expected_version, **call.why
    )
    return await _shown(call, role)


@router.put("/{name}/environments/{environment}", response_model=AdminRoleRecord)
async def grant_permissions(call: Changing, name: str, environment: str, body: RolePermissions) -> Response:
    """Add permissions in one environment."""
    role = await admin_roles.grant_permissions(
        call.store,
        name=name,
        environment=environment,
        permissions=frozenset(body.permissions),
        expected_version=call.expected_version,
        **call.why,
    )
    return await _shown(call, role)


@router.delete("/{name}/environments/{environment}/{permission}", response_model=AdminRoleRecord)
async def revoke_permission(call: Changing, name: str, environment: str, permission: Permission) -> Response:
    """Take a permission in one environment away. Sessions that stood on it end."""
    role = await admin_roles.revoke_permissions(
        call.store,
        name=name,
        environment=environment,
        permissions=frozenset({permission}),
        expected_version=call.expected_version,
        **call.why,
    )
    return await _shown(call, role)


async def _shown(call: Change, role: AdminRole) -> Response:
    snapshot, _ = await call.rights()  # whole: who has just given up their own right may still see what became of it
    return shown(admin_role_record(snapshot, role), role.version)


async def _made(call: Change, role_id: str) -> Response:
    snapshot = await call.after()
    role = next((each for each in snapshot.admin_roles.values() if each.id == role_id), None)
    if role is None:
        raise ServiceError("admin-role-unknown", "this admin role was deleted meanwhile")
    return made(admin_role_record(snapshot, role), role.version, f"/v1/roles/{role.name}")
