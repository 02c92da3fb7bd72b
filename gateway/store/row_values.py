"""One row to the model value that it stands for.

Each raises ValueError, LookupError or TypeError for a row that no version of this program wrote.
"""

import json
import sqlite3
from datetime import datetime

import orjson
from sqlalchemy import RowMapping

from gateway.access.accounts import Account, ClaimMapping, Identity, Standing
from gateway.access.approvals import ApprovalPolicy
from gateway.access.managed import ManagedKey, ManagedLogin, ManagedMode, ManagedState
from gateway.access.model import (
    ALL_READING,
    NO_LIMITS,
    AllowlistEntry,
    ApiToken,
    DatabaseRole,
    Grant,
    Group,
    ListMode,
    Permission,
    Reading,
    SessionLimits,
    Target,
    TlsMode,
    TokenKind,
    TokenScope,
    User,
    UserKind,
)
from gateway.access.networks import parse_network
from gateway.access.proof import Credential
from gateway.access.secret_reference import SecretReference
from gateway.access.windows import parse_window
from gateway.access_mode import AccessMode, GrantOption
from gateway.audit.admin_event import AdminEvent, RecordedAdminEvent
from gateway.store.instants import from_text
from gateway.store.request_documents import read_backers, read_only, read_policy

Row = RowMapping | sqlite3.Row


def to_event(row: Row) -> RecordedAdminEvent:
    detail = {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(row["detail"]).items()}
    event = AdminEvent(row["actor"], row["action"], row["object_id"], row["object_name"], row["reason"], detail)
    return RecordedAdminEvent(row["id"], datetime.fromisoformat(row["at"]), row["revision"], row["sequence"], event)


def to_role(row: Row) -> DatabaseRole:
    reference = row["reference"]
    return DatabaseRole(
        row["id"],
        row["login"],
        row["sealed_secret"],
        row["pending_secret"],
        None if reference is None else SecretReference.parse(reference),
        from_text(row["changed_at"]),
    )


def to_user(row: Row) -> User:
    return User(
        id=row["id"],
        name=row["name"],
        verifier=row["verifier"],
        enabled=bool(row["enabled"]),
        valid_until=from_text(row["valid_until"]),
        allowlist=ListMode(row["allowlist"]),
        credential_version=row["credential_version"],
        version=row["version"],
        kind=UserKind(row["kind"]),
        protected=bool(row["protected"]),
        read_only=bool(row["read_only"]),
        email=row["email"],
        certificate_names=frozenset(orjson.loads(row["certificate_names"])),
    )


def to_group(row: Row, members: set[str]) -> Group:
    return Group(row["id"], row["name"], frozenset(members), row["version"])


def to_target(row: Row, roles: dict[AccessMode, DatabaseRole]) -> Target:
    return Target(
        id=row["id"],
        name=row["name"],
        host=row["host"],
        port=row["port"],
        dbname=row["dbname"],
        tls=TlsMode(row["tls"]),
        ca_pem=row["ca_pem"],
        allow_md5=bool(row["allow_md5"]),
        enabled=bool(row["enabled"]),
        allowlist=ListMode(row["allowlist"]),
        roles=roles,
        allowed_functions=frozenset(orjson.loads(row["allowed_functions"])),
        allowed_schemas=frozenset(orjson.loads(row["allowed_schemas"])),
        allowed_settings=frozenset(orjson.loads(row["allowed_settings"])),
        revision=row["revision"],
        max_sessions=row["max_sessions"],
        open_ahead=row["open_ahead"],
        version=row["version"],
        environment_id=row["environment_id"],
        rotate_every_days=row["rotate_every_days"],
        managed=ManagedMode(row["managed"]),
    )


def to_grant(row: Row) -> Grant:
    return Grant(
        id=row["id"],
        holder_id=row["user_id"] or row["group_id"],
        target_id=row["target_id"],
        mode=AccessMode(row["mode"]),
        valid_until=from_text(row["valid_until"]),
        version=row["version"],
        options=frozenset(GrantOption(name) for name in orjson.loads(row["options"])),
        max_changed_rows=row["max_changed_rows"],
        valid_from=from_text(row["valid_from"]),
        windows=tuple(parse_window(text, known_zones_only=False) for text in orjson.loads(row["windows"])),
        limits=_limits(row),
        reading=_reading(row),
        request_id=row["request_id"],
        request_number=row["request_number"],
        backers=read_backers(row["backers"]),
        only=read_only(row["only_these"]),
        database_role=row["database_role"],
    )


def to_approval_policy(row: Row) -> ApprovalPolicy:
    modes: list[str] = orjson.loads(row["modes"])
    return read_policy(row["id"], row["name"], row["environment_id"], modes, row["document"], row["version"])


def _reading(row: Row) -> Reading:
    reading = Reading(
        max_rows=row["max_rows"],
        max_bytes=row["max_bytes"],
        max_bytes_per_day=row["max_bytes_per_day"],
        schemas=frozenset(orjson.loads(row["schemas"])),
        tables=frozenset((schema, name) for schema, name in orjson.loads(row["tables"])),
    )
    return ALL_READING if reading == ALL_READING else reading


def _limits(row: Row) -> SessionLimits:
    limits = SessionLimits(
        max_sessions=row["max_sessions"],
        statement_timeout_ms=row["statement_timeout_ms"],
        idle_timeout_seconds=row["idle_timeout_seconds"],
        idle_in_transaction_timeout_seconds=row["idle_in_transaction_timeout_seconds"],
    )
    return NO_LIMITS if limits == NO_LIMITS else limits


def to_entry(row: Row) -> AllowlistEntry:
    return AllowlistEntry(
        id=row["id"],
        network=parse_network(row["network"]),
        label=row["label"],
        valid_until=from_text(row["valid_until"]),
        target_id=row["target_id"],
        user_id=row["user_id"],
        version=row["version"],
    )


def to_token(row: Row) -> ApiToken:
    return ApiToken(
        id=row["id"],
        name=row["name"],
        token_hash=row["token_hash"],
        scope=TokenScope(row["scope"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        valid_until=datetime.fromisoformat(row["valid_until"]),
        created_by=row["created_by"],
        version=row["version"],
        user_id=row["user_id"],
        environments=None if row["environments"] is None else frozenset(orjson.loads(row["environments"])),
        permissions=None
        if row["permissions"] is None
        else frozenset(Permission(name) for name in orjson.loads(row["permissions"])),
        networks=tuple(parse_network(text) for text in orjson.loads(row["networks"])),
        kind=TokenKind(row["kind"]),
    )


def to_credential(row: Row) -> Credential:
    return Credential(
        id=row["id"],
        user_id=row["user_id"],
        target_id=row["target_id"],
        mode=AccessMode(row["mode"]),
        verifier=row["verifier"],
        created_at=datetime.fromisoformat(row["created_at"]),
        created_by=row["created_by"],
        valid_until=datetime.fromisoformat(row["valid_until"]),
        sessions_until=datetime.fromisoformat(row["sessions_until"]),
        credential_version=row["credential_version"],
        max_sessions=row["max_sessions"],
        network=None if row["network"] is None else parse_network(row["network"]),
        version=row["version"],
    )


def to_account(row: Row) -> Account:
    return Account(
        id=row["id"],
        password_hash=row["password_hash"],
        sealed_secret=row["sealed_secret"],
        last_step=row["last_step"],
        recovery_hashes=frozenset(orjson.loads(row["recovery_hashes"])),
        identity=None if row["issuer"] is None else Identity(row["issuer"], row["subject"]),
        managed=bool(row["managed"]),
        standing=Standing(row["standing"]),
        version=row["version"],
    )


def to_claim_mapping(row: Row) -> ClaimMapping:
    return ClaimMapping(row["id"], row["value"], row["group_id"], row["role_id"], row["version"])


def to_managed_login(row: Row) -> ManagedLogin:
    return ManagedLogin(
        id=row["id"],
        key=ManagedKey(row["target_id"], AccessMode(row["mode"]), row["user_id"], row["grant_id"]),
        user_name=row["user_name"],
        login=row["login"],
        member_of=row["member_of"],
        sealed_secret=row["sealed_secret"],
        valid_until=from_text(row["valid_until"]),
        state=ManagedState(row["state"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        finding=row["finding"],
        version=row["version"],
    )
