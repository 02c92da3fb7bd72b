"""All rows to one snapshot. Pure; whoever has an event loop runs `to_snapshot` in a thread."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway.access.model import (
    DEFAULT_ENVIRONMENT,
    OWNERS,
    AdminRole,
    DatabaseRole,
    Environment,
    Permission,
    Snapshot,
)
from gateway.access_mode import AccessMode
from gateway.store.row_values import (
    Row,
    to_account,
    to_approval_policy,
    to_claim_mapping,
    to_credential,
    to_entry,
    to_grant,
    to_group,
    to_managed_login,
    to_role,
    to_target,
    to_token,
    to_user,
)
from gateway.store.webhooks import to_webhook

Rows = Sequence[Row]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RawStore:
    """Every table's rows, as read in one transaction."""

    revision: int
    lockdown: str | None
    users: Rows
    groups: Rows
    group_members: Rows
    targets: Rows
    target_roles: Rows
    grants: Rows
    allowlist_entries: Rows
    api_tokens: Rows
    environments: Rows
    admin_roles: Rows
    admin_role_members: Rows
    admin_role_permissions: Rows
    accounts: Rows
    claim_mappings: Rows
    credentials: Rows
    managed_logins: Rows
    approval_policies: Rows
    grant_endings: Rows
    webhooks: Rows
    session_terminations: Rows


def to_snapshot(raw: RawStore) -> Snapshot:
    """Raises ValueError, LookupError or TypeError for rows that no version of this program wrote."""
    roles: dict[str, dict[AccessMode, DatabaseRole]] = {}
    for row in raw.target_roles:
        mode = AccessMode(row["mode"])
        roles.setdefault(row["target_id"], {})[mode] = to_role(row)
    members: dict[str, set[str]] = {}
    for row in raw.group_members:
        members.setdefault(row["group_id"], set()).add(row["user_id"])
    entries = [to_entry(row) for row in raw.allowlist_entries]
    grants = [to_grant(row) for row in raw.grants]
    return Snapshot(
        revision=raw.revision,
        users={row["name"]: to_user(row) for row in raw.users},
        targets={row["name"]: to_target(row, roles.get(row["id"], {})) for row in raw.targets},
        grants=_grouped((grant.holder_id, grant) for grant in grants),
        global_entries=tuple(entry for entry in entries if entry.target_id is None and entry.user_id is None),
        target_entries=_grouped((entry.target_id, entry) for entry in entries if entry.target_id is not None),
        user_entries=_grouped((entry.user_id, entry) for entry in entries if entry.user_id is not None),
        terminated={row["session_id"]: row["reason"] for row in raw.session_terminations},
        groups={row["name"]: to_group(row, members.get(row["id"], set())) for row in raw.groups},
        tokens={row["name"]: to_token(row) for row in raw.api_tokens},
        credentials={credential.handle: credential for credential in map(to_credential, raw.credentials)},
        lockdown=raw.lockdown,
        environments={each.name: each for each in _environments(raw)},
        admin_roles={role.name: role for role in _admin_roles(raw)},
        accounts={row["id"]: to_account(row) for row in raw.accounts},
        claim_mappings=tuple(to_claim_mapping(row) for row in raw.claim_mappings),
        managed_logins=tuple(to_managed_login(row) for row in raw.managed_logins),
        approval_policies={row["name"]: to_approval_policy(row) for row in raw.approval_policies},
        endings={row["grant_id"]: row["reason"] for row in raw.grant_endings},
        webhooks={row["name"]: to_webhook(row) for row in raw.webhooks},
    )


def _environments(raw: RawStore) -> Iterable[Environment]:
    """The default one is always there: it has no row as long as nobody changed it."""
    found = {row["id"]: Environment(row["id"], row["name"], row["version"]) for row in raw.environments}
    return ({DEFAULT_ENVIRONMENT: Environment(DEFAULT_ENVIRONMENT, DEFAULT_ENVIRONMENT)} | found).values()


def _admin_roles(raw: RawStore) -> Iterable[AdminRole]:
    """The owners are always there, in the same way."""
    members: dict[str, set[str]] = {}
    for row in raw.admin_role_members:
        members.setdefault(row["role_id"], set()).add(row["user_id"])
    permissions: dict[str, dict[str, frozenset[Permission]]] = {}
    for row in raw.admin_role_permissions:
        held = permissions.setdefault(row["role_id"], {})
        held[row["environment_id"]] = held.get(row["environment_id"], frozenset()) | {Permission(row["permission"])}
    found = {
        row["id"]: AdminRole(
            row["id"],
            row["name"],
            permissions.get(row["id"], {}),
            frozenset(members.get(row["id"], ())),
            bool(row["owners"]),
            row["version"],
        )
        for row in raw.admin_roles
    }
    return ({OWNERS: AdminRole(OWNERS, OWNERS, owners=True)} | found).values()


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, tuple[T, ...]]:
    groups: dict[str, list[T]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in groups.items()}
