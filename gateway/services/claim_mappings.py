"""What groups at the identity provider mean here: rows that map a value of the group claim to a group or an admin role."""

from gateway.access.accounts import ClaimMapping
from gateway.access.model import Snapshot
from gateway.ports import Store
from gateway.services.change import begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_version, find_admin_role, find_group
from gateway.services.naming import check_claim_value

CHANGE = "claim-mappings.change"


async def create_mapping(
    store: Store, *, value: str, group: str | None = None, role: str | None = None, actor: str, reason: str
) -> ClaimMapping:
    """From the next sign-in (or look at the provider) of each person on. Exactly one of `group` and `role`, by name."""
    check_claim_value(value)
    if (group is None) == (role is None):
        raise ServiceError("mapping-invalid", "a mapping is for one group or for one admin role", "Give --group or --role.")
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        group_id = None if group is None else find_group(change.snapshot, group).id
        role_id = None if role is None else find_admin_role(change.snapshot, role).id
        mapping = ClaimMapping(new_id(), value, group_id, role_id)
        if any(
            (each.value, each.group_id, each.role_id) == (value, group_id, role_id) for each in change.snapshot.claim_mappings
        ):
            raise ServiceError("mapping-exists", f'"{value}" is mapped to this already')
        return await change.save(mapping, "claim_mapping.created", value, _detail(change.snapshot, mapping))


async def delete_mapping(
    store: Store, *, mapping_id: str, actor: str, reason: str, expected_version: int | None = None
) -> ClaimMapping:
    """Who is a member by it stays one: take them out by hand, or map something else to the same."""
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        mapping = find_mapping(change.snapshot, mapping_id, expected_version)
        return await change.drop(mapping, "claim_mapping.deleted", mapping.value, _detail(change.snapshot, mapping))


def find_mapping(snapshot: Snapshot, mapping_id: str, expected_version: int | None = None) -> ClaimMapping:
    mapping = next((each for each in snapshot.claim_mappings if each.id == mapping_id), None)
    if mapping is None:
        raise ServiceError("mapping-unknown", f'there is no mapping "{mapping_id}"', "See: pgbastion oidc mappings")
    check_version("this mapping", mapping.version, expected_version)
    return mapping


def mapped_names(snapshot: Snapshot, mapping: ClaimMapping) -> tuple[str | None, str | None]:
    """The group's and the admin role's name; what was deleted meanwhile has none."""
    group = next((each.name for each in snapshot.groups.values() if each.id == mapping.group_id), None)
    role = next((each.name for each in snapshot.admin_roles.values() if each.id == mapping.role_id), None)
    return group, role


def _detail(snapshot: Snapshot, mapping: ClaimMapping) -> dict[str, str | None]:
    group, role = mapped_names(snapshot, mapping)
    return {"group": group, "role": role}
