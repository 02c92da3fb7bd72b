"""Staged rows to SQL: which statements, in which order. Pure; the unit of work runs them.

Whatever the number of rows, there are a handful of statements, each with many parameter sets. Rows are never deleted and inserted
again under the same id where others refer to them: that would cascade to grants, memberships and allowlists.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from sqlalchemy import Table, bindparam, delete, insert, update

from gateway.access.accounts import Account, ClaimMapping
from gateway.access.approvals import ApprovalPolicy
from gateway.access.managed import ManagedLogin
from gateway.access.model import AdminRole, AllowlistEntry, ApiToken, Environment, Grant, Group, Target, User
from gateway.access.proof import Credential
from gateway.access.request_record import AccessRequest
from gateway.access.webhooks import Webhook
from gateway.ports import (
    ChangeableRow,
    FormerLogin,
    GrantEnding,
    IdempotencyClaim,
    Lockdown,
    OutboxMessage,
    Redelivery,
    SessionTermination,
    TargetAdmin,
    TargetObservation,
)
from gateway.store import tables, values
from gateway.store.outside_uses import observation_row
from gateway.store.request_changes import put_request_steps
from gateway.store.steps import Step, Upsert, key_of
from gateway.store.target_admins import admin_row, former_row
from gateway.store.values import Values
from gateway.store.webhooks import put_webhook_steps

_TERMINATIONS_KEPT: Final = timedelta(days=7)
"""A terminated session ends within a second, and its id is never used again; the audit event stays."""

_CREDENTIALS_KEPT: Final = timedelta(days=1)
"""From when the last session that one could open has ended: until then people find it in their list."""

_CLAIMS_KEPT: Final = timedelta(days=7)
"""Whoever repeats a request does so within minutes."""


@dataclass(frozen=True, slots=True)
class Writing:
    """What every row of one change has in common. `group_ids`: whoever holds a grant and is not among them is a user.

    `last_message`: the sequence number of the newest message in the outbox.
    """

    revision: int
    now: datetime
    dialect: str
    group_ids: frozenset[str]
    last_message: int = 0


def removal_steps(removals: Iterable[ChangeableRow]) -> Iterator[Step]:
    keys: dict[str, list[Values]] = {}
    for row in removals:
        match row:
            case User() | Target() | Group() | Grant() | AllowlistEntry() | ApiToken():
                keys.setdefault(_table(row).name, []).append({"key": row.id})
            case Environment() | AdminRole() | Account() | ClaimMapping() | Credential():
                keys.setdefault(_table(row).name, []).append({"key": row.id})
            case SessionTermination():
                keys.setdefault(tables.session_terminations.name, []).append({"key": row.session_id})
            case TargetAdmin():
                keys.setdefault(tables.target_admins.name, []).append({"key": row.target_id})
            case ManagedLogin():
                keys.setdefault(tables.managed_logins.name, []).append({"key": row.id})
            case TargetObservation():
                keys.setdefault(tables.target_observations.name, []).append({"key": row.target_id})
            case FormerLogin():
                keys.setdefault(tables.former_logins.name, []).append({"key": row.role.id})
            case ApprovalPolicy():
                keys.setdefault(tables.approval_policies.name, []).append({"key": row.id})
            case GrantEnding():
                keys.setdefault(tables.grant_endings.name, []).append({"key": row.grant_id})
            case Webhook():
                keys.setdefault(tables.webhooks.name, []).append({"key": row.id})
            case AccessRequest() | OutboxMessage() | Redelivery():
                raise ValueError("what was asked, and what was to be told of it, is history")
            case Lockdown():
                yield Step(update(tables.meta).values(lockdown=None))
            case _:
                assert_never(row)
    for name, found in keys.items():
        table = tables.metadata.tables[name]
        yield Step(delete(table).where(key_of(table) == bindparam("key")), found)


def put_steps(puts: Sequence[ChangeableRow], writing: Writing) -> Iterator[Step]:
    """Rows that others refer to come first, in whichever order they were put."""
    revision = writing.revision
    users = [values.user_row(row, revision) for row in puts if isinstance(row, User)]
    targets = [row for row in puts if isinstance(row, Target)]
    groups = [row for row in puts if isinstance(row, Group)]
    grants = [row for row in puts if isinstance(row, Grant)]
    entries = [values.entry_row(row, revision) for row in puts if isinstance(row, AllowlistEntry)]
    tokens = [values.token_row(row, revision) for row in puts if isinstance(row, ApiToken)]
    credentials = [values.credential_row(row, revision) for row in puts if isinstance(row, Credential)]
    accounts = [values.account_row(row, revision) for row in puts if isinstance(row, Account)]
    mappings = [values.claim_mapping_row(row, revision) for row in puts if isinstance(row, ClaimMapping)]
    managed = [values.managed_login_row(row, revision) for row in puts if isinstance(row, ManagedLogin)]
    terminations = [row for row in puts if isinstance(row, SessionTermination)]
    environments = [values.environment_row(row, revision) for row in puts if isinstance(row, Environment)]
    admin_roles = [row for row in puts if isinstance(row, AdminRole)]
    upsert = Upsert(writing.dialect)
    yield from upsert.steps(tables.users, users)
    yield from upsert.steps(tables.environments, environments)
    yield from upsert.steps(tables.admin_roles, [values.admin_role_row(role, revision) for role in admin_roles])
    yield from _replace_rights(admin_roles)
    yield from upsert.steps(tables.targets, [values.target_row(target, revision) for target in targets])
    yield from _replace_roles(targets, writing.now)
    yield from upsert.steps(tables.target_admins, [admin_row(row) for row in puts if isinstance(row, TargetAdmin)])
    yield from upsert.steps(tables.former_logins, [former_row(row) for row in puts if isinstance(row, FormerLogin)])
    observed = [observation_row(row, writing.now) for row in puts if isinstance(row, TargetObservation)]
    yield from upsert.steps(tables.target_observations, observed)
    yield from upsert.steps(tables.groups, [values.group_row(group, revision) for group in groups])
    yield from _replace_members(groups)
    holders = writing.group_ids | {group.id for group in groups}
    yield from upsert.steps(tables.grants, [values.grant_row(grant, holders, revision) for grant in grants])
    yield from upsert.steps(tables.allowlist_entries, entries)
    yield from upsert.steps(tables.api_tokens, tokens)
    yield from upsert.steps(tables.accounts, accounts)
    yield from upsert.steps(tables.claim_mappings, mappings)
    yield from upsert.steps(tables.managed_logins, managed)
    if credentials:
        table = tables.credentials
        yield Step(delete(table).where(table.c.sessions_until < values.to_text(writing.now - _CREDENTIALS_KEPT)))
        yield from upsert.steps(table, credentials)
    if terminations:
        table = tables.session_terminations
        yield Step(delete(table).where(table.c.at < values.to_text(writing.now - _TERMINATIONS_KEPT)))
        yield from upsert.steps(table, [values.termination_row(each, writing.now) for each in terminations])
    yield from put_request_steps(puts, upsert, revision, writing.now, writing.last_message)
    yield from put_webhook_steps(puts, upsert, revision, writing.now)
    for row in puts:
        if isinstance(row, Lockdown):
            yield Step(update(tables.meta).values(lockdown=row.reason))


def claim_steps(claims: Sequence[IdempotencyClaim], event_id: str, now: datetime) -> Iterator[Step]:
    """Plain inserts: a claim whose key is there already must fail."""
    if claims:
        table = tables.idempotency_claims
        yield Step(delete(table).where(table.c.at < values.to_text(now - _CLAIMS_KEPT)))
        yield Step(insert(table), [values.claim_row(claim, event_id, now) for claim in claims])


def _replace_roles(targets: Sequence[Target], now: datetime) -> Iterator[Step]:
    table = tables.target_roles  # nothing refers to it
    if targets:
        yield Step(delete(table).where(table.c.target_id == bindparam("key")), [{"key": target.id} for target in targets])
    found = [values.role_row(target, mode, role, now) for target in targets for mode, role in target.roles.items()]
    if found:
        yield Step(insert(table), found)


def _replace_members(groups: Sequence[Group]) -> Iterator[Step]:
    table = tables.group_members  # nothing refers to it
    if groups:
        yield Step(delete(table).where(table.c.group_id == bindparam("key")), [{"key": group.id} for group in groups])
    found: list[Values] = [{"group_id": group.id, "user_id": member} for group in groups for member in sorted(group.members)]
    if found:
        yield Step(insert(table), found)


def _replace_rights(roles: Sequence[AdminRole]) -> Iterator[Step]:
    """Members and permissions. Nothing refers to them."""
    members: list[Values] = [{"role_id": role.id, "user_id": member} for role in roles for member in sorted(role.members)]
    permissions: list[Values] = [
        {"role_id": role.id, "environment_id": environment, "permission": permission.value}
        for role in roles
        for environment, held in role.permissions.items()
        for permission in sorted(held)
    ]
    for table, found in ((tables.admin_role_members, members), (tables.admin_role_permissions, permissions)):
        if roles:
            yield Step(delete(table).where(table.c.role_id == bindparam("key")), [{"key": role.id} for role in roles])
        if found:
            yield Step(insert(table), found)


def _table(
    row: User
    | Target
    | Group
    | Grant
    | AllowlistEntry
    | ApiToken
    | Environment
    | AdminRole
    | Account
    | ClaimMapping
    | Credential,
) -> Table:
    match row:
        case User():
            return tables.users
        case Target():
            return tables.targets
        case Group():
            return tables.groups
        case Grant():
            return tables.grants
        case AllowlistEntry():
            return tables.allowlist_entries
        case ApiToken():
            return tables.api_tokens
        case Credential():
            return tables.credentials
        case Environment():
            return tables.environments
        case AdminRole():
            return tables.admin_roles
        case Account():
            return tables.accounts
        case ClaimMapping():
            return tables.claim_mappings
        case _:
            assert_never(row)
