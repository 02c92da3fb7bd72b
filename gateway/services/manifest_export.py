"""The store written as a manifest. Pure."""

from collections.abc import Mapping
from typing import TypeVar

from gateway.access.model import AdminRole, DatabaseRole, Environment, Group, Snapshot, Target, User
from gateway.services.allowlist import NamedEntry, OfTarget, OfUser, name_entries
from gateway.services.environments import environment_name
from gateway.services.grant_terms import TERMS, terms_of
from gateway.services.grants import NamedGrant, UserHolder, standing_grants
from gateway.services.groups import member_names
from gateway.services.manifest_accounts import export_accounts, export_mappings
from gateway.services.manifest_admins import export_role
from gateway.services.manifest_approvals import export_policies
from gateway.services.manifest_change import values
from gateway.services.manifest_model import JsonValue
from gateway.services.manifest_people import USER_FIELDS
from gateway.services.manifest_rights import ENTRY_FIELDS
from gateway.services.manifest_targets import TARGET_FIELDS
from gateway.services.manifest_webhooks import export_webhooks

R = TypeVar("R", User, Group, Target, Environment, AdminRole)


def export_manifest(snapshot: Snapshot) -> dict[str, JsonValue]:
    """The whole as a manifest, every field stated but the secrets: where it is applied, those that are there stay."""
    return {
        "version": 1,
        "environments": [{"name": each.name} for each in _by_name(snapshot.environments)],
        "users": [{"name": user.name, **values(user, USER_FIELDS)} for user in _by_name(snapshot.users)],
        "groups": [{"name": group.name, "members": member_names(snapshot, group)} for group in _by_name(snapshot.groups)],
        "roles": [export_role(snapshot, role) for role in _by_name(snapshot.admin_roles)],
        "accounts": export_accounts(snapshot),
        "targets": [_target(snapshot, target) for target in _by_name(snapshot.targets)],
        "grants": [_grant(named) for named in standing_grants(snapshot)],
        "allowlist": [_entry(named) for named in name_entries(snapshot)],
        "claim_mappings": export_mappings(snapshot),
        "approval_policies": export_policies(snapshot),
        "webhooks": export_webhooks(snapshot),
    }


def _by_name(rows: Mapping[str, R]) -> list[R]:
    return [rows[name] for name in sorted(rows)]


def _target(snapshot: Snapshot, target: Target) -> dict[str, JsonValue]:
    logins = {mode.value: _login(role) for mode, role in sorted(target.roles.items())}
    place = environment_name(snapshot, target.environment_id)
    return {"name": target.name, "environment": place, **values(target, TARGET_FIELDS), "logins": logins}


def _login(role: DatabaseRole) -> dict[str, JsonValue]:
    """Where a password is kept is no secret; one that is kept here is."""
    found: dict[str, JsonValue] = {"login": role.login}
    return found if role.reference is None else {**found, "secret_from": str(role.reference)}


def _grant(named: NamedGrant) -> dict[str, JsonValue]:
    holder = "user" if isinstance(named.holder, UserHolder) else "group"
    terms: dict[str, JsonValue] = values(terms_of(named.grant), TERMS)
    return {holder: named.holder.name, "target": named.target_name, "mode": named.grant.mode.value, **terms}


def _entry(named: NamedEntry) -> dict[str, JsonValue]:
    owner: dict[str, JsonValue] = {}
    match named.level:
        case OfUser(name):
            owner = {"user": name}
        case OfTarget(name):
            owner = {"target": name}
    return {"network": str(named.entry.network), **owner, **values(named.entry, ENTRY_FIELDS)}
