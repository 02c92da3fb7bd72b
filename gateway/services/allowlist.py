"""Allowlists: from where. Three levels, all of which an address must pass: everybody's, the user's, the target's."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import assert_never

from gateway.access.model import AllowlistEntry, ListMode, Snapshot, Target, User
from gateway.access.networks import NetworkError, parse_network
from gateway.audit.admin_event import DetailValue
from gateway.ports import Store
from gateway.services.change import begin, new_id, shown
from gateway.services.errors import ServiceError
from gateway.services.lookup import all_entries, check_version, find_entry, find_target, find_user, is_live
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
    """Admit a network. On a user's or target's list it only counts once that list is in restrict mode.

    An expired entry for the same network gives way.
    """
    check_remark("label", label)
    parsed = read_network(network, "Examples: 10.1.0.0/16, 192.0.2.7, 2001:db8::/32")
    async with begin(store, actor, reason) as change:
        check_expiry(valid_until, change.now)
        target, user = _owner(change.snapshot, level)
        old = next((e for e in _entries(change.snapshot, level) if e.network == parsed), None)
        if old is not None:
            if is_live(old.valid_until, change.now):
                raise ServiceError("network-listed", f"{parsed} is on this list already", "Delete that entry first.")
            change.also_remove(old)
        entry = AllowlistEntry(new_id(), parsed, label, valid_until, target.id if target else None, user.id if user else None)
        detail = _detail(NamedEntry(entry, level)) | {"valid_until": shown(valid_until)}
        return NamedEntry(await change.save(entry, "allowlist.entry_created", str(parsed), detail), level)


async def delete_entry(
    store: Store, *, entry_id: str, actor: str, reason: str, expected_version: int | None = None
) -> NamedEntry:
    """By id. Live sessions from addresses that are no longer admitted end."""
    async with begin(store, actor, reason) as change:
        entry = find_entry(change.snapshot, entry_id, expected_version)
        (found,) = _name(change.snapshot, [entry])
        await change.drop(entry, "allowlist.entry_deleted", str(entry.network), _detail(found))
        return found


async def delete_network(
    store: Store, *, level: Level, network: str, actor: str, reason: str, expected_version: int | None = None
) -> NamedEntry:
    """By network and level."""
    parsed = read_network(network, "See: pgbastion allowlist list")
    async with begin(store, actor, reason) as change:
        entry = next((e for e in _entries(change.snapshot, level) if e.network == parsed), None)
        if entry is None:
            raise ServiceError(
                "entry-unknown", f"{parsed} is not on this list ({level_text(level)})", "See: pgbastion allowlist list"
            )
        check_version(f"allowlist entry {parsed}", entry.version, expected_version)
        found = NamedEntry(entry, level)
        await change.drop(entry, "allowlist.entry_deleted", str(parsed), _detail(found))
        return found


async def set_list_mode(
    store: Store, *, level: Level, mode: ListMode, actor: str, reason: str, expected_version: int | None = None
) -> Target | User:
    """inherit: the list is ignored. restrict: only its live entries are admitted, and without any nobody is.

    `expected_version`: the user's or target's.
    """
    async with begin(store, actor, reason) as change:
        target, user = _owner(change.snapshot, level)
        old: Target | User | None = target or user
        if old is None:
            raise ServiceError("list-mode-global", "the global list always restricts", "Choose a list with --target or --user.")
        check_version(f"the list of {level_text(level)}", old.version, expected_version)
        if old.allowlist is mode:
            raise ServiceError("list-mode-unchanged", f"the list of {level_text(level)} is in mode {mode} already")
        detail: dict[str, DetailValue] = {
            "level": level_text(level),
            "mode": mode.value,
            "entries": len(_entries(change.snapshot, level)),
        }
        return await change.save(replace(old, allowlist=mode), "allowlist.mode_changed", old.name, detail)


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
    named = _name(snapshot, all_entries(snapshot))
    return sorted(named, key=lambda each: (each.level != Everybody(), level_text(each.level), str(each.entry.network)))


def _name(snapshot: Snapshot, found: Iterable[AllowlistEntry]) -> list[NamedEntry]:
    users = {user.id: user.name for user in snapshot.users.values()}
    targets = {target.id: target.name for target in snapshot.targets.values()}

    def level(entry: AllowlistEntry) -> Level:
        if entry.user_id is not None:
            return OfUser(users[entry.user_id])
        return OfTarget(targets[entry.target_id]) if entry.target_id is not None else Everybody()

    return [NamedEntry(entry, level(entry)) for entry in found]


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


def read_network(network: str, hint: str = "Examples: 10.1.0.0/16, 192.0.2.7, 2001:db8::/32") -> IPv4Network | IPv6Network:
    try:
        return parse_network(network)
    except NetworkError as error:
        raise ServiceError("network-invalid", str(error), hint) from error


def _detail(named: NamedEntry) -> dict[str, DetailValue]:
    return {"level": level_text(named.level), "label": named.entry.label}
