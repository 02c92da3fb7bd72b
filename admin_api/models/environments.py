"""Environments and admin roles."""

from typing import Annotated

from pydantic import Field

from admin_api.models.fields import Page, Record, Request, Version
from gateway.access.model import AdminRole, Environment, Permission, Snapshot
from gateway.services.admin_roles import member_names, permissions_by_name

Permissions = Annotated[
    list[Annotated[Permission, Field(strict=False)]],
    Field(min_length=1, max_length=len(Permission), description="By their scope names.", examples=[["read", "tunnel"]]),
]


class NewEnvironment(Request):
    name: str = Field(examples=["production"])


class EnvironmentPatch(Request):
    name: str = Field(description="The new name.", examples=["production"])


class EnvironmentRecord(Record):
    id: str
    name: str = Field(examples=["production"])
    targets: list[str] = Field(description="Those that you may see.", examples=[["shop"]])
    roles: list[str] = Field(description="Admin roles with permissions here.", examples=[["dba"]])
    version: Version


class EnvironmentPage(Page):
    items: list[EnvironmentRecord]


class NewAdminRole(Request):
    name: str = Field(examples=["dba"])
    members: list[str] = Field([], max_length=1000, description="Names of users.", examples=[["ana"]])


class RoleMembers(Request):
    """Who gets the role and who loses it."""

    add: list[str] = Field([], max_length=1000, description="Names of users.", examples=[["ben"]])
    remove: list[str] = Field([], max_length=1000, description="Names of users.", examples=[["ana"]])


class RolePermissions(Request):
    permissions: Permissions


class AdminRoleRecord(Record):
    id: str
    name: str = Field(examples=["dba"])
    owners: bool = Field(description="The built-in one: its members may do everything everywhere.")
    permissions: dict[str, list[str]] = Field(
        description="By the environment's name, as scope names.", examples=[{"production": ["read", "tunnel"]}]
    )
    members: list[str] = Field(examples=[["ana"]])
    version: Version


class AdminRolePage(Page):
    items: list[AdminRoleRecord]


def environment_record(snapshot: Snapshot, environment: Environment) -> EnvironmentRecord:
    inside = (target.name for target in snapshot.targets.values() if target.environment_id == environment.id)
    roles = (role.name for role in snapshot.admin_roles.values() if role.owners or environment.id in role.permissions)
    return EnvironmentRecord(
        id=environment.id, name=environment.name, targets=sorted(inside), roles=sorted(roles), version=environment.version
    )


def admin_role_record(snapshot: Snapshot, role: AdminRole) -> AdminRoleRecord:
    return AdminRoleRecord(
        id=role.id,
        name=role.name,
        owners=role.owners,
        permissions=permissions_by_name(snapshot, role),
        members=list(member_names(snapshot, role)),
        version=role.version,
    )
