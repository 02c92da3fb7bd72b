"""Targets and their upstream logins. A login's password comes in as a Secret, leaves sealed, and is never given back."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from gateway.access.model import DEFAULT_ENVIRONMENT, DatabaseRole, ListMode, Target
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import DetailValue
from gateway.ports import Sealer, Store
from gateway.secret import Secret
from gateway.services.change import begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, find_environment, find_target
from gateway.services.managed_stay import check_managed_waits
from gateway.services.naming import (
    check_identifier,
    check_max_sessions,
    check_open_ahead,
    check_target_name,
    check_upstream_secret,
)
from gateway.services.target_facts import (
    Permitted,
    Place,
    check_logins_stay,
    check_permitted,
    check_place,
    moved,
    permitted,
    place_detail,
    place_of,
    with_permitted,
)

__all__ = [
    "Permitted",
    "Place",
    "create_target",
    "delete_target",
    "disable_target",
    "enable_target",
    "forbid",
    "move_target",
    "permit",
    "remove_login",
    "set_login",
    "set_max_sessions",
    "set_open_ahead",
    "sketch_target",
]


async def create_target(
    store: Store, *, name: str, place: Place, environment: str | None = None, actor: str, reason: str
) -> Target:
    """A new target; nobody can use it before it has a login and they have a grant, or a right in its environment.

    `environment`: its name; None: the one that every store has.
    """
    check_target_name(name)
    check_place(place)
    async with begin(store, actor, reason) as change:
        check_name_is_free("target", name, change.whole.targets)
        place_id = DEFAULT_ENVIRONMENT if environment is None else find_environment(change.snapshot, environment).id
        target = sketch_target(name, place, place_id)
        detail = place_detail(place) | ({} if environment is None else {"environment": environment})
        return await change.save(target, "target.created", name, detail)


def sketch_target(name: str, place: Place, environment_id: str) -> Target:
    """A new target, as nobody has stored it yet."""
    return Target(
        id=new_id(),
        name=name,
        host=place.host,
        port=place.port,
        dbname=place.dbname,
        tls=place.tls,
        ca_pem=place.ca_pem,
        allow_md5=place.allow_md5,
        enabled=True,
        allowlist=ListMode.INHERIT,
        roles={},
        revision=1,
        environment_id=environment_id,
    )


async def move_target(
    store: Store,
    sealer: Sealer,
    *,
    name: str,
    change: Callable[[Place], Place],
    passwords: Mapping[AccessMode, Secret] = MappingProxyType({}),
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> Target:
    """Another place or way to reach it. Live sessions end when host, port, database or TLS mode changed.

    `passwords`: those of its logins, given again for the new place, by access mode; see `check_logins_stay`.
    """
    for password in passwords.values():
        check_upstream_secret(password)
    async with begin(store, actor, reason) as work:
        old = find_target(work.snapshot, name, expected_version)
        before = place_of(old)
        place = change(before)
        if place == before:
            raise ServiceError("nothing-to-change", f'target "{name}" is like that already')
        check_place(place)
        if unknown := sorted(set(passwords) - set(old.roles)):
            raise ServiceError("login-unknown", f'target "{name}" has no login for {unknown[0]}')
        given = {mode: _resealed(old.roles[mode], password, sealer) for mode, password in passwords.items()}
        check_logins_stay(replace(old, roles={mode: role for mode, role in old.roles.items() if mode not in given}), place)
        target = moved(replace(old, roles={**old.roles, **given}), place)
        detail = place_detail(place) | {f"before_{key}": value for key, value in place_detail(before).items()}
        if given:
            detail["passwords_given"] = ", ".join(sorted(given))
        return await work.save(target, "target.changed", name, detail)


def _resealed(role: DatabaseRole, password: Secret, sealer: Sealer) -> DatabaseRole:
    """The same row: a new password must not look like another database role to live sessions."""
    return replace(role, sealed_secret=sealer.seal(role.id, password), pending_secret=None, reference=None)


async def set_login(
    store: Store,
    sealer: Sealer,
    *,
    name: str,
    mode: AccessMode,
    login: str,
    password: Secret,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> Target:
    """The database role that sessions in this access mode use upstream. A new password does not end live sessions."""
    check_identifier("database role's name", login)
    check_upstream_secret(password)
    async with begin(store, actor, reason) as change:
        old = find_target(change.snapshot, name, expected_version)
        known = old.roles.get(mode)
        # The same row for the same login: a new password must not look like another database role to live sessions.
        role_id = known.id if known is not None and known.login == login else new_id()
        role = DatabaseRole(role_id, login, sealer.seal(role_id, password))
        target = replace(old, roles={**old.roles, mode: role}, revision=old.revision + 1)
        detail: dict[str, DetailValue] = {"mode": mode.value, "login": login, "before": known.login if known else None}
        return await change.save(target, "target.login_changed", name, detail)


async def remove_login(
    store: Store, *, name: str, mode: AccessMode, actor: str, reason: str, expected_version: int | None = None
) -> Target:
    """Nobody can use the target in this access mode any more; live sessions in it end."""
    async with begin(store, actor, reason) as change:
        old = find_target(change.snapshot, name, expected_version)
        if mode not in old.roles:
            raise ServiceError("login-unknown", f'target "{name}" has no login for {mode}')
        roles = {key: role for key, role in old.roles.items() if key is not mode}
        target = replace(old, roles=roles, revision=old.revision + 1)
        detail = {"mode": mode.value, "login": old.roles[mode].login}
        return await change.save(target, "target.login_removed", name, detail)


async def set_max_sessions(
    store: Store,
    *,
    name: str,
    max_sessions: int | None,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> Target:
    """At most so many sessions at a time; None: only the gateway's own limits. Live sessions stay, however many they are."""
    check_max_sessions(max_sessions)
    async with begin(store, actor, reason) as change:
        old = find_target(change.snapshot, name, expected_version)
        change.require("targets.update", target=old)
        if old.max_sessions == max_sessions:
            raise ServiceError("nothing-to-change", f'target "{name}" is like that already')
        detail = {"max_sessions": max_sessions, "before": old.max_sessions}
        return await change.save(replace(old, max_sessions=max_sessions), "target.max_sessions_changed", name, detail)


async def set_open_ahead(
    store: Store, *, name: str, open_ahead: int, actor: str, reason: str, expected_version: int | None = None
) -> Target:
    """So many upstream sessions of each access mode wait for clients, over all workers; 0: none does. Live sessions stay."""
    check_open_ahead(open_ahead)
    async with begin(store, actor, reason) as change:
        old = find_target(change.snapshot, name, expected_version)
        change.require("targets.update", target=old)
        check_managed_waits(open_ahead, old.managed)
        if old.open_ahead == open_ahead:
            raise ServiceError("nothing-to-change", f'target "{name}" is like that already')
        detail = {"open_ahead": open_ahead, "before": old.open_ahead}
        return await change.save(replace(old, open_ahead=open_ahead), "target.open_ahead_changed", name, detail)


async def disable_target(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> Target:
    """Closed for everybody until enabled again; live sessions end."""
    async with begin(store, actor, reason) as change:
        old = find_target(change.snapshot, name, expected_version)
        change.require("targets.update", target=old)
        if not old.enabled:
            raise ServiceError("target-disabled-already", f'target "{name}" is disabled already')
        return await change.save(replace(old, enabled=False, revision=old.revision + 1), "target.disabled", name)


async def enable_target(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> Target:
    async with begin(store, actor, reason) as change:
        old = find_target(change.snapshot, name, expected_version)
        change.require("targets.update", target=old)
        if old.enabled:
            raise ServiceError("target-enabled-already", f'target "{name}" is enabled already')
        return await change.save(replace(old, enabled=True, revision=old.revision + 1), "target.enabled", name)


async def permit(
    store: Store,
    *,
    name: str,
    kind: Permitted,
    item: str,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> Target:
    """Let statements on this target use a function, a schema in search_path, or a custom setting."""
    check_permitted(kind, item)
    async with begin(store, actor, reason) as change:
        old = find_target(change.snapshot, name, expected_version)
        change.require("targets.permit", target=old)
        if item in permitted(old, kind):
            raise ServiceError(f"{kind}-allowed-already", f'target "{name}" allows {kind} {item} already')
        target = with_permitted(old, kind, permitted(old, kind) | {item})
        return await change.save(target, f"target.{kind}_allowed", name, {kind.value: item})


async def forbid(
    store: Store,
    *,
    name: str,
    kind: Permitted,
    item: str,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> Target:
    """Take it off the list again. A function is refused at its next use; for a schema or a setting, live sessions end."""
    async with begin(store, actor, reason) as change:
        old = find_target(change.snapshot, name, expected_version)
        change.require("targets.permit", target=old)
        if item not in permitted(old, kind):
            listed = ", ".join(sorted(permitted(old, kind))) or "none"
            raise ServiceError(f"{kind}-not-allowed", f'target "{name}" does not list {kind} {item}', f"Listed: {listed}.")
        target = with_permitted(old, kind, permitted(old, kind) - {item})
        return await change.save(target, f"target.{kind}_disallowed", name, {kind.value: item})


async def delete_target(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> Target:
    """Gone with logins, grants and allowlist; live sessions end."""
    async with begin(store, actor, reason) as change:
        target = find_target(change.snapshot, name, expected_version)
        grants = sum(grant.target_id == target.id for held in change.snapshot.grants.values() for grant in held)
        return await change.drop(target, "target.deleted", name, {"grants": grants})
