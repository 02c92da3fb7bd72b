"""Rows to model values and back. Pure; the directory runs `to_snapshot` in a thread."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import RowMapping

from gateway.access.model import AllowlistEntry, DatabaseRole, Grant, ListMode, Snapshot, Target, TlsMode, User
from gateway.access.networks import parse_network
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent, RecordedAdminEvent

Value = str | int | bytes | None
Row = RowMapping | sqlite3.Row
Rows = Sequence[Row]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RawStore:
    """Every table's rows, as read in one transaction."""

    revision: int
    users: Rows
    targets: Rows
    target_roles: Rows
    grants: Rows
    allowlist_entries: Rows
    session_terminations: Rows


def to_snapshot(raw: RawStore) -> Snapshot:
    """Raises ValueError, LookupError or TypeError for rows that no version of this program wrote."""
    roles: dict[str, dict[AccessMode, DatabaseRole]] = {}
    for row in raw.target_roles:
        mode = AccessMode(row["mode"])
        roles.setdefault(row["target_id"], {})[mode] = DatabaseRole(row["id"], row["login"], row["sealed_secret"])
    entries = [_entry(row) for row in raw.allowlist_entries]
    grants = [_grant(row) for row in raw.grants]
    return Snapshot(
        revision=raw.revision,
        users={row["name"]: _user(row) for row in raw.users},
        targets={row["name"]: _target(row, roles.get(row["id"], {})) for row in raw.targets},
        grants=_grouped((grant.holder_id, grant) for grant in grants),
        global_entries=tuple(entry for entry in entries if entry.target_id is None and entry.user_id is None),
        target_entries=_grouped((entry.target_id, entry) for entry in entries if entry.target_id is not None),
        user_entries=_grouped((entry.user_id, entry) for entry in entries if entry.user_id is not None),
        terminated={row["session_id"]: row["reason"] for row in raw.session_terminations},
    )


def user_row(user: User) -> dict[str, Value]:
    return {
        "id": user.id,
        "name": user.name,
        "verifier": user.verifier,
        "enabled": int(user.enabled),
        "valid_until": to_text(user.valid_until),
        "allowlist": user.allowlist.value,
        "credential_version": user.credential_version,
    }


def target_row(target: Target) -> dict[str, Value]:
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
    }


def role_row(target: Target, mode: AccessMode, role: DatabaseRole) -> dict[str, Value]:
    return {
        "id": role.id,
        "target_id": target.id,
        "mode": mode.value,
        "login": role.login,
        "sealed_secret": role.sealed_secret,
    }


def grant_row(grant: Grant) -> dict[str, Value]:
    return {
        "id": grant.id,
        "user_id": grant.holder_id,
        "target_id": grant.target_id,
        "mode": grant.mode.value,
        "valid_until": to_text(grant.valid_until),
    }


def entry_row(entry: AllowlistEntry) -> dict[str, Value]:
    return {
        "id": entry.id,
        "network": str(entry.network),
        "label": entry.label,
        "valid_until": to_text(entry.valid_until),
        "target_id": entry.target_id,
        "user_id": entry.user_id,
    }


def event_row(recorded: RecordedAdminEvent) -> dict[str, Value]:
    event = recorded.event
    return {
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


def to_event(row: Row) -> RecordedAdminEvent:
    detail = {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(row["detail"]).items()}
    event = AdminEvent(row["actor"], row["action"], row["object_id"], row["object_name"], row["reason"], detail)
    return RecordedAdminEvent(row["id"], datetime.fromisoformat(row["at"]), row["revision"], event)


def to_text(instant: datetime | None) -> str | None:
    """UTC with microseconds, so that texts sort as the instants do. Raises ValueError for an instant without a zone."""
    if instant is None:
        return None
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def _user(row: Row) -> User:
    return User(
        id=row["id"],
        name=row["name"],
        verifier=row["verifier"],
        enabled=bool(row["enabled"]),
        valid_until=_instant(row["valid_until"]),
        allowlist=ListMode(row["allowlist"]),
        credential_version=row["credential_version"],
    )


def _target(row: Row, roles: dict[AccessMode, DatabaseRole]) -> Target:
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
        allowed_functions=frozenset(json.loads(row["allowed_functions"])),
        allowed_schemas=frozenset(json.loads(row["allowed_schemas"])),
        allowed_settings=frozenset(json.loads(row["allowed_settings"])),
        revision=row["revision"],
    )


def _grant(row: Row) -> Grant:
    return Grant(row["id"], row["user_id"], row["target_id"], AccessMode(row["mode"]), _instant(row["valid_until"]))


def _entry(row: Row) -> AllowlistEntry:
    return AllowlistEntry(
        id=row["id"],
        network=parse_network(row["network"]),
        label=row["label"],
        valid_until=_instant(row["valid_until"]),
        target_id=row["target_id"],
        user_id=row["user_id"],
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _names(names: frozenset[str]) -> str:
    return json.dumps(sorted(names), ensure_ascii=False)


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, tuple[T, ...]]:
    groups: dict[str, list[T]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in groups.items()}
