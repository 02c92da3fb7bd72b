"""What a manifest changes about environments and admin roles. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from gateway.access.model import DEFAULT_ENVIRONMENT, AdminRole, Environment, Permission, Snapshot
from gateway.audit.admin_event import DetailValue
from gateway.services.admin_roles import member_names, permissions_by_name
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_environment, find_user
from gateway.services.manifest_admins_model import EnvironmentPart, RolePart
from gateway.services.manifest_change import Action, Change, Draft, Drafts, Kind, Means, Note, at, check_new_name, unique
from gateway.services.manifest_model import JsonValue, Manifest
from gateway.services.naming import check_admin_role_name, check_environment_name

_Held = dict[str, frozenset[Permission]]


def draft_environments(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> Drafts:
    """Raises ServiceError, by the rules of the verbs. Whether one that goes is empty is seen once targets are drafted."""
    named = unique(manifest.environments, lambda part: part.name)
    others = [
        each
        for _, each in sorted(snapshot.environments.items())
        if manifest.states("environments") and each.name not in named and each.id != DEFAULT_ENVIRONMENT
    ]
    drafts = [_remove_environment(each) for each in others] if prune else []
    if drafts:
        snapshot = _without_environments(snapshot, {each.id for each in others})
    environments = dict(snapshot.environments)
    lowered = {name.lower(): name for name in environments}
    for part in named.values():
        if part.name not in snapshot.environments:
            with at(f'environment "{part.name}"'):
                made, draft = _create_environment(part, lowered, means)
            drafts.append(draft)
            environments[made.name] = made
    return Drafts(tuple(drafts), replace(snapshot, environments=environments), len(others))


def check_environments_stay(snapshot: Snapshot) -> None:
    """Raises ServiceError when a target is left in an environment that goes."""
    known = {each.id for each in snapshot.environments.values()}
    lost = sorted(target.name for target in snapshot.targets.values() if target.environment_id not in known)
    if lost:
        raise ServiceError(
            "environment-in-use",
            f'target "{lost[0]}": its environment would be removed',
            "Name the environment in the manifest, or the target with another one.",
        )


def draft_roles(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> Drafts:
    """Raises ServiceError, by the rules of the verbs. `snapshot` is as environments and users will be."""
    named = unique(manifest.roles, lambda part: part.name)
    others = [
        role
        for _, role in sorted(snapshot.admin_roles.items())
        if manifest.states("roles") and role.name not in named and not role.owners
    ]
    drafts = [_remove_role(snapshot, role) for role in others] if prune else []
    roles = dict(snapshot.admin_roles)
    if drafts:
        gone = {role.id for role in others}
        roles = {name: role for name, role in roles.items() if role.id not in gone}
        mappings = tuple(each for each in snapshot.claim_mappings if each.role_id not in gone)
        snapshot = replace(snapshot, admin_roles=roles, claim_mappings=mappings)
    lowered = {name.lower(): name for name in roles}
    roles = dict(roles)
    for part in named.values():
        with at(f'role "{part.name}"'):
            old = snapshot.admin_roles.get(part.name)
            drafted = _create_role(snapshot, part, lowered, means) if old is None else _change_role(snapshot, part, old)
        if drafted is not None:
            role, draft = drafted
            drafts.append(draft)
            roles[role.name] = role
    return Drafts(tuple(drafts), replace(snapshot, admin_roles=roles), len(others))


def export_role(snapshot: Snapshot, role: AdminRole) -> dict[str, JsonValue]:
    held: dict[str, JsonValue] = {**permissions_by_name(snapshot, role)}
    return {"name": role.name, "members": [*member_names(snapshot, role)], "permissions": held}


def _create_environment(part: EnvironmentPart, taken: Mapping[str, str], means: Means) -> tuple[Environment, Draft]:
    check_environment_name(part.name)
    check_new_name("environment", part.name, taken)
    made = Environment(means.new_id(), part.name)
    change = Change(Kind.ENVIRONMENT, Action.CREATE, part.name, {}, {})
    return made, Draft(change, (Note("environment.created", made.id, made.name),), (made,))


def _remove_environment(environment: Environment) -> Draft:
    change = Change(Kind.ENVIRONMENT, Action.REMOVE, environment.name, {}, {})
    return Draft(change, (Note("environment.deleted", environment.id, environment.name),), removals=(environment,))


def _without_environments(snapshot: Snapshot, gone: set[str]) -> Snapshot:
    def left(role: AdminRole) -> AdminRole:
        return replace(role, permissions={place: held for place, held in role.permissions.items() if place not in gone})

    return replace(
        snapshot,
        environments={name: each for name, each in snapshot.environments.items() if each.id not in gone},
        admin_roles={name: left(role) for name, role in snapshot.admin_roles.items()},
    )


def _create_role(snapshot: Snapshot, part: RolePart, taken: Mapping[str, str], means: Means) -> tuple[AdminRole, Draft]:
    check_admin_role_name(part.name)
    check_new_name("admin-role", part.name, taken)
    role = AdminRole(means.new_id(), part.name, _held(snapshot, part), _members(snapshot, part))
    names = member_names(snapshot, role)
    created = Note("admin_role.created", role.id, role.name, {"members": names})
    after: dict[str, JsonValue] = {"members": [*names], "permissions": permissions_by_name(snapshot, role)}
    change = Change(Kind.ROLE, Action.CREATE, role.name, {}, after)
    return role, Draft(change, (created, *_permission_notes(snapshot, AdminRole(role.id, role.name), role)), (role,))


def _change_role(snapshot: Snapshot, part: RolePart, old: AdminRole) -> tuple[AdminRole, Draft] | None:
    role = old
    if part.states("members"):
        role = replace(role, members=_members(snapshot, part))
    if part.states("permissions"):
        if old.owners and any(part.permissions.values()):
            text = f'admin role "{old.name}" may do everything everywhere'
            raise ServiceError("owners-have-all", text, "Leave its permissions out.")
        role = replace(role, permissions={} if old.owners else _held(snapshot, part))
    before: dict[str, JsonValue] = {}
    after: dict[str, JsonValue] = {}
    notes: list[Note] = []
    if role.members != old.members:
        was, now = member_names(snapshot, old), member_names(snapshot, role)
        before["members"], after["members"] = [*was], [*now]
        moved: dict[str, DetailValue] = {"added": tuple(sorted({*now} - {*was})), "removed": tuple(sorted({*was} - {*now}))}
        notes.append(Note("admin_role.members_changed", old.id, old.name, moved))
    if role.permissions != old.permissions:
        before["permissions"], after["permissions"] = permissions_by_name(snapshot, old), permissions_by_name(snapshot, role)
        notes += _permission_notes(snapshot, old, role)
    if not notes:
        return None
    return role, Draft(Change(Kind.ROLE, Action.CHANGE, old.name, before, after), tuple(notes), (role,))


def _remove_role(snapshot: Snapshot, role: AdminRole) -> Draft:
    names = member_names(snapshot, role)
    mappings = tuple(each for each in snapshot.claim_mappings if each.role_id == role.id)
    before: dict[str, JsonValue] = {"members": [*names], "permissions": permissions_by_name(snapshot, role)}
    change = Change(Kind.ROLE, Action.REMOVE, role.name, before, {})
    return Draft(change, (Note("admin_role.deleted", role.id, role.name, {"members": names}),), removals=(role, *mappings))


def _members(snapshot: Snapshot, part: RolePart) -> frozenset[str]:
    return frozenset(find_user(snapshot, each).id for each in part.members)


def _held(snapshot: Snapshot, part: RolePart) -> _Held:
    return {find_environment(snapshot, place).id: held for place, held in part.permissions.items() if held}


def _permission_notes(snapshot: Snapshot, old: AdminRole, new: AdminRole) -> list[Note]:
    """One for each environment in which something was given or taken, as the verbs have it."""
    notes = []
    for place in sorted(snapshot.environments.values(), key=lambda each: each.name):
        was, now = (role.permissions.get(place.id, frozenset()) for role in (old, new))
        for action, which in (("granted", now - was), ("revoked", was - now)):
            if which:
                permissions = tuple(sorted(each.value for each in which))
                detail: dict[str, DetailValue] = {"environment": place.name, "permissions": permissions}
                notes.append(Note(f"admin_role.permissions_{action}", new.id, new.name, detail))
    return notes
