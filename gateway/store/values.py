"""Model values to rows. Pure."""

import json
from collections.abc import Set
from datetime import datetime

from gateway.access.accounts import Account, ClaimMapping
from gateway.access.managed import ManagedLogin
from gateway.access.model import (
    AdminRole,
    AllowlistEntry,
    ApiToken,
    DatabaseRole,
    Environment,
    Grant,
    Group,
    Target,
    User,
)
from gateway.access.proof import Credential
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import RecordedAdminEvent
from gateway.ports import IdempotencyClaim, SessionTermination
from gateway.store.instants import to_text as to_text
from gateway.store.request_documents import write_backers, write_only

Value = str | int | bytes | None
Values = dict[str, Value]


def user_row(user: User, version: int) -> Values:
    return {
        "id": user.id,
        "name": user.name,
        "verifier": user.verifier,
        "enabled": int(user.enabled),
        "valid_until": to_text(user.valid_until),
        "allowlist": user.allowlist.value,
        "credential_version": user.credential_version,
        "version": version,
        "kind": user.kind.value,
        "protected": int(user.protected),
        "read_only": int(user.read_only),
        "email": user.email,
        "certificate_names": _names(user.certificate_names),
    }


def group_row(group: Group, version: int) -> Values:
    return {"id": group.id, "name": group.name, "version": version}


def environment_row(environment: Environment, version: int) -> Values:
    return {"id": environment.id, "name": environment.name, "version": version}


def admin_role_row(role: AdminRole, version: int) -> Values:
    return {"id": role.id, "name": role.name, "owners": int(role.owners), "version": version}


def target_row(target: Target, version: int) -> Values:
    return {
        "id": target.id,
        "name": target.name,
        "host": target.host,
        "port": target.port,
        "dbname": target.dbname,
        "tls": target.tls.value,
        "ca_pem": target.ca_pem,
        "allow_md5": int(target.allow_md5),
        "enabled": int(target.enabled),
        "allowlist": target.allowlist.value,
        "allowed_functions": _names(target.allowed_functions),
        "allowed_schemas": _names(target.allowed_schemas),
        "allowed_settings": _names(target.allowed_settings),
        "revision": target.revision,
        "max_sessions": target.max_sessions,
        "open_ahead": target.open_ahead,
        "version": version,
        "environment_id": target.environment_id,
        "rotate_every_days": target.rotate_every_days,
        "managed": target.managed.value,
    }


def role_row(target: Target, mode: AccessMode, role: DatabaseRole, now: datetime) -> Values:
    return {
        "id": role.id,
        "target_id": target.id,
        "mode": mode.value,
        "login": role.login,
        "sealed_secret": role.sealed_secret,
        "pending_secret": role.pending_secret,
        "reference": None if role.reference is None else str(role.reference),
        "changed_at": to_text(role.changed_at or now),
    }


def managed_login_row(login: ManagedLogin, version: int) -> Values:
    return {
        "id": login.id,
        "target_id": login.key.target_id,
        "mode": login.key.mode.value,
        "user_id": login.key.user_id,
        "grant_id": login.key.grant_id,
        "user_name": login.user_name,
        "login": login.login,
        "member_of": login.member_of,
        "sealed_secret": login.sealed_secret,
        "valid_until": to_text(login.valid_until),
        "state": login.state.value,
        "created_at": to_text(login.created_at),
        "finding": login.finding,
        "version": version,
    }


def grant_row(grant: Grant, group_ids: Set[str], version: int) -> Values:
    """`group_ids`: ids of groups; any other holder is a user."""
    by_group, limits, reading = grant.holder_id in group_ids, grant.limits, grant.reading
    return {
        "id": grant.id,
        "user_id": None if by_group else grant.holder_id,
        "group_id": grant.holder_id if by_group else None,
        "target_id": grant.target_id,
        "mode": grant.mode.value,
        "valid_until": to_text(grant.valid_until),
        "version": version,
        "options": _names(grant.options),
        "max_changed_rows": grant.max_changed_rows,
        "valid_from": to_text(grant.valid_from),
        "windows": json.dumps([str(window) for window in grant.windows]),
        "max_sessions": limits.max_sessions,
        "statement_timeout_ms": limits.statement_timeout_ms,
        "idle_timeout_seconds": limits.idle_timeout_seconds,
        "idle_in_transaction_timeout_seconds": limits.idle_in_transaction_timeout_seconds,
        "max_rows": reading.max_rows,
        "max_bytes": reading.max_bytes,
        "max_bytes_per_day": reading.max_bytes_per_day,
        "schemas": _names(reading.schemas),
        "tables": json.dumps(sorted(reading.tables)),
        "request_id": grant.request_id,
        "backers": write_backers(grant.backers),
        "only_these": write_only(grant.only),
        "database_role": grant.database_role,
    }


def entry_row(entry: AllowlistEntry, version: int) -> Values:
    return {
        "id": entry.id,
        "network": str(entry.network),
        "label": entry.label,
        "valid_until": to_text(entry.valid_until),
        "target_id": entry.target_id,
        "user_id": entry.user_id,
        "version": version,
    }


def token_row(token: ApiToken, version: int) -> Values:
    return {
        "id": token.id,
        "name": token.name,
        "token_hash": token.token_hash,
        "scope": token.scope.value,
        "created_at": to_text(token.created_at),
        "valid_until": to_text(token.valid_until),
        "created_by": token.created_by,
        "version": version,
        "user_id": token.user_id,
        "environments": None if token.environments is None else _names(token.environments),
        "permissions": None if token.permissions is None else _names(token.permissions),
        "networks": json.dumps([str(network) for network in token.networks]),
        "kind": token.kind.value,
    }


def credential_row(credential: Credential, version: int) -> Values:
    return {
        "id": credential.id,
        "user_id": credential.user_id,
        "target_id": credential.target_id,
        "mode": credential.mode.value,
        "verifier": credential.verifier,
        "created_at": to_text(credential.created_at),
        "created_by": credential.created_by,
        "valid_until": to_text(credential.valid_until),
        "sessions_until": to_text(credential.sessions_until),
        "credential_version": credential.credential_version,
        "max_sessions": credential.max_sessions,
        "network": None if credential.network is None else str(credential.network),
        "version": version,
    }


def account_row(account: Account, version: int) -> Values:
    identity = account.identity
    return {
        "id": account.id,
        "password_hash": account.password_hash,
        "sealed_secret": account.sealed_secret,
        "last_step": account.last_step,
        "recovery_hashes": _names(account.recovery_hashes),
        "issuer": None if identity is None else identity.issuer,
        "subject": None if identity is None else identity.subject,
        "managed": int(account.managed),
        "standing": account.standing.value,
        "version": version,
    }


def claim_mapping_row(mapping: ClaimMapping, version: int) -> Values:
    return {
        "id": mapping.id,
        "value": mapping.value,
        "group_id": mapping.group_id,
        "role_id": mapping.role_id,
        "version": version,
    }


def termination_row(termination: SessionTermination, at: datetime) -> Values:
    return {"session_id": termination.session_id, "reason": termination.reason, "at": to_text(at)}


def claim_row(claim: IdempotencyClaim, event_id: str, at: datetime) -> Values:
    return {"key_hash": claim.key_hash, "request_hash": claim.request_hash, "event_id": event_id, "at": to_text(at)}


def event_row(recorded: RecordedAdminEvent) -> Values:
    event = recorded.event
    return {
        "sequence": recorded.sequence,
        "revision": recorded.revision,
        "id": recorded.id,
        "at": to_text(recorded.at),
        "actor": event.actor,
        "action": event.action,
        "object_id": event.object_id,
        "object_name": event.object_name,
        "reason": event.reason,
        "detail": json.dumps(dict(event.detail), ensure_ascii=False, sort_keys=True),
    }


def _names(names: Set[str]) -> str:
    return json.dumps(sorted(names), ensure_ascii=False)
