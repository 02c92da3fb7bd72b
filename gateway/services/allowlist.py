"""Allowlists: from where. Three levels, all of which an address must pass: everybody's, the user's, the target's."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from gateway.access.model import AllowlistEntry, ListMode, Snapshot, Target, User
from gateway.access.networks import NetworkError, parse_network
from gateway.audit.admin_event import AdminEvent
from gateway.ports import Store
from gateway.services.errors import ServiceError
from gateway.services.lookup import all_entries, find_target, find_user
from gateway.services.naming import check_expiry, check_remark


@dataclass(frozen=True, slots=True)
class Everybody:
    """The global list."""


@dataclass(frozen=True, slots=True)
class OfUser:
    name: str


@dataclass(frozen=True, slots=True)
class OfTarget:
    name: str


Level = Everybody | OfUser | OfTarget


@dataclass(frozen=True, slots=True)
class NamedEntry:
    """An entry with its level by name."""

    entry: AllowlistEntry
    level: Level


async def create_entry(
    store: Store,
    *,
    level: Level,
    network: str,
    label: str = "",
    valid_until: datetime | None = None,
    actor: str,
    reason: str,
) -> NamedEntry:
    """Admit a network. On a user's or target's list it only counts once that list is in restrict mode."""
    check_remark("reason", reason)
    check_remark("label", label)
    try:
        parsed = parse_network(network)
    except NetworkError as error:
        raise ServiceError("network-invalid", str(error), "Examples: 10.1.0.0/16, 192.0.2.7, 2001:db8::/32") from error
    async with store.begin() as work:
        check_expiry(valid_until, work.now)
        target, user = _owner(work.snapshot, level)
        old = next((e for e in _entries(work.snapshot, level) if e.network == parsed), None)
        if old is not None:
            if old.valid_until is None or work.now < old.valid_until:
                raise ServiceError("network-listed", f"{parsed} is on this list already", "Delete that entry first.")
            work.remove(old)
        entry = AllowlistEntry(
            str(uuid.uuid4()), parsed, label, valid_until, target.id if target else None, user.id if user else None
        )
        work.put(entry)
        detail = {
            "level": level_text(level),
            "label": label,
            "valid_until": valid_until.isoformat() if valid_until else None,
        }
        await work.commit(AdminEvent(actor, "allowlist.entry_created", entry.id, str(parsed), reason, detail))
    return NamedEntry(entry, level)


async def delete_entry(store: Store, *, entry_id: str, actor: str, reason: str) -> NamedEntry:
    """By id. Live sessions from addresses that are no longer admitted end."""
    check_remark("reason", reason)
    async with store.begin() as work:
        found = next((named for named in name_entries(work.snapshot) if named.entry.id == entry_id), None)
        if found is None:
            raise ServiceError("entry-unknown", f'there is no allowlist entry "{entry_id}"', "See: pgbastion allowlist list")
        work.remove(found.entry)
        await work.commit(_deleted(found, actor, reason))
    return found


async def delete_network(store: Store, *, level: Level, network: str, actor: str, reason: str) -> NamedEntry:
    """By network and level."""
    check_remark("reason", reason)
    async with store.begin() as work:
        _owner(work.snapshot, level)
        entry = next((e for e in _entries(work.snapshot, level) if str(e.network) == _normal(network)), None)
        if entry is None:
            raise ServiceError(
                "entry-unknown", f"{network} is not on this list ({level_text(level)})", "See: pgbastion allowlist list"
            )
        found = NamedEntry(entry, level)
        work.remove(entry)
        await work.commit(_deleted(found, actor, reason))
    return found


async def set_list_mode(store: Store, *, level: Level, mode: ListMode, actor: str, reason: str) -> Target | User:
    """inherit: the list is ignored. restrict: only its live entries are admitted, and without any nobody is."""
    check_remark("reason", reason)
    async with store.begin() as work:
        target, user = _owner(work.snapshot, level)
        old: Target | User | None = target or user
        if old is None:
            raise ServiceError("list-mode-global", "the global list always restricts", "Choose a list with --target or --user.")
        if old.allowlist is mode:
            raise ServiceError("list-mode-unchanged", f"the list of {level_text(level)} is in mode {mode} already")
        changed = replace(old, allowlist=mode)
        work.put(changed)
        detail = {"level": level_text(level), "mode": mode.value, "entries": len(_entries(work.snapshot, level))}
        await work.commit(AdminEvent(actor, "allowlist.mode_changed", changed.id, changed.name, reason, detail))
    return changed


def level_text(level: Level) -> str:
    """As listings and the audit show it."""
    match level:
        case Everybody():
            return "global"
        case OfUser(name):
            return f"user {name}"
        case OfTarget(name):
            return f"target {name}"
    assert_never(level)


def name_entries(snapshot: Snapshot) -> list[NamedEntry]:
    """All entries: the global list first, then users and targets by name."""
    users = {user.id: user.name for user in snapshot.users.values()}
    targets = {target.id: target.name for target in snapshot.targets.values()}

    def level(entry: AllowlistEntry) -> Level:
        if entry.user_id is not None:
            return OfUser(users[entry.user_id])
        return OfTarget(targets[entry.target_id]) if entry.target_id is not None else Everybody()

    named = [NamedEntry(entry, level(entry)) for entry in all_entries(snapshot)]
    return sorted(named, key=lambda each: (each.level != Everybody(), level_text(each.level), str(each.entry.network)))


def _owner(snapshot: Snapshot, level: Level) -> tuple[Target | None, User | None]:
    match level:
        case Everybody():
            return None, None
        case OfUser(name):
            return None, find_user(snapshot, name)
        case OfTarget(name):
            return find_target(snapshot, name), None
    assert_never(level)


def _entries(snapshot: Snapshot, level: Level) -> tuple[AllowlistEntry, ...]:
    target, user = _owner(snapshot, level)
    if target is not None:
        return snapshot.target_entries.get(target.id, ())
    return snapshot.user_entries.get(user.id, ()) if user is not None else snapshot.global_entries


def _normal(network: str) -> str:
    try:
        return str(parse_network(network))
    except NetworkError as error:
        raise ServiceError("network-invalid", str(error), "See: pgbastion allowlist list") from error


def _deleted(found: NamedEntry, actor: str, reason: str) -> AdminEvent:
    detail = {"level": level_text(found.level), "label": found.entry.label}
    return AdminEvent(actor, "allowlist.entry_deleted", found.entry.id, str(found.entry.network), reason, detail)
