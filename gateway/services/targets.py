"""Targets and their upstream logins. A login's password comes in as a Secret, leaves sealed, and is never given back."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from cryptography.x509 import load_pem_x509_certificates

from gateway.access.model import DatabaseRole, ListMode, Target, TlsMode
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent, DetailValue
from gateway.ports import Sealer, Store
from gateway.secret import Secret
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, find_target
from gateway.services.naming import (
    check_function,
    check_host,
    check_identifier,
    check_port,
    check_remark,
    check_schema,
    check_setting,
    check_target_name,
    check_upstream_secret,
)


class Permitted(StrEnum):
    """What a target can permit beyond the policy's own lists."""

    FUNCTION = "function"
    SCHEMA = "schema"
    SETTING = "setting"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target is and how it is reached. `ca_pem`: the CA certificates to trust; None: the system's."""

    host: str
    port: int
    dbname: str
    tls: TlsMode = TlsMode.VERIFY_FULL
    ca_pem: str | None = None
    allow_md5: bool = False


async def create_target(store: Store, *, name: str, place: Place, actor: str, reason: str) -> Target:
    """A new target; nobody can use it before it has a login and they have a grant."""
    check_target_name(name)
    check_remark("reason", reason)
    _check_place(place)
    async with store.begin() as work:
        check_name_is_free("target", name, work.snapshot.targets)
        target = Target(
            id=str(uuid.uuid4()),
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
        )
        work.put(target)
        await work.commit(AdminEvent(actor, "target.created", target.id, name, reason, _place_detail(place)))
    return target


async def move_target(store: Store, *, name: str, change: Callable[[Place], Place], actor: str, reason: str) -> Target:
    """Another place or way to reach it. Live sessions end when host, port, database or TLS mode changed."""
    check_remark("reason", reason)
    async with store.begin() as work:
        old = find_target(work.snapshot, name)
        before = Place(old.host, old.port, old.dbname, old.tls, old.ca_pem, old.allow_md5)
        place = change(before)
        if place == before:
            raise ServiceError("nothing-to-change", f'target "{name}" is like that already')
        _check_place(place)
        target = replace(
            old,
            host=place.host,
            port=place.port,
            dbname=place.dbname,
            tls=place.tls,
            ca_pem=place.ca_pem,
            allow_md5=place.allow_md5,
            revision=old.revision + 1,
        )
        work.put(target)
        detail = _place_detail(place) | {f"before_{key}": value for key, value in _place_detail(before).items()}
        await work.commit(AdminEvent(actor, "target.changed", target.id, name, reason, detail))
    return target


async def set_login(
    store: Store, sealer: Sealer, *, name: str, mode: AccessMode, login: str, password: Secret, actor: str, reason: str
) -> Target:
    """The database role that sessions in this access mode use upstream. A new password does not end live sessions."""
    check_remark("reason", reason)
    check_identifier("database role's name", login)
    check_upstream_secret(password)
    async with store.begin() as work:
        old = find_target(work.snapshot, name)
        known = old.roles.get(mode)
        # The same row for the same login: a new password must not look like another database role to live sessions.
        role_id = known.id if known is not None and known.login == login else str(uuid.uuid4())
        role = DatabaseRole(role_id, login, sealer.seal(role_id, password))
        target = replace(old, roles={**old.roles, mode: role}, revision=old.revision + 1)
        work.put(target)
        detail: dict[str, DetailValue] = {"mode": mode.value, "login": login, "before": known.login if known else None}
        await work.commit(AdminEvent(actor, "target.login_changed", target.id, name, reason, detail))
    return target


async def remove_login(store: Store, *, name: str, mode: AccessMode, actor: str, reason: str) -> Target:
    """Nobody can use the target in this access mode any more; live sessions in it end."""
    check_remark("reason", reason)
    async with store.begin() as work:
        old = find_target(work.snapshot, name)
        if mode not in old.roles:
            raise ServiceError("login-unknown", f'target "{name}" has no login for {mode}')
        roles = {key: role for key, role in old.roles.items() if key is not mode}
        target = replace(old, roles=roles, revision=old.revision + 1)
        work.put(target)
        detail = {"mode": mode.value, "login": old.roles[mode].login}
        await work.commit(AdminEvent(actor, "target.login_removed", target.id, name, reason, detail))
    return target


async def disable_target(store: Store, *, name: str, actor: str, reason: str) -> Target:
    """Closed for everybody until enabled again; live sessions end."""
    check_remark("reason", reason)
    async with store.begin() as work:
        old = find_target(work.snapshot, name)
        if not old.enabled:
            raise ServiceError("target-disabled-already", f'target "{name}" is disabled already')
        target = replace(old, enabled=False, revision=old.revision + 1)
        work.put(target)
        await work.commit(AdminEvent(actor, "target.disabled", target.id, name, reason))
    return target


async def enable_target(store: Store, *, name: str, actor: str, reason: str) -> Target:
    check_remark("reason", reason)
    async with store.begin() as work:
        old = find_target(work.snapshot, name)
        if old.enabled:
            raise ServiceError("target-enabled-already", f'target "{name}" is enabled already')
        target = replace(old, enabled=True, revision=old.revision + 1)
        work.put(target)
        await work.commit(AdminEvent(actor, "target.enabled", target.id, name, reason))
    return target


async def permit(store: Store, *, name: str, kind: Permitted, item: str, actor: str, reason: str) -> Target:
    """Let statements on this target use a function, a schema in search_path, or a custom setting."""
    check_remark("reason", reason)
    _CHECKS[kind](item)
    async with store.begin() as work:
        old = find_target(work.snapshot, name)
        if item in _permitted(old, kind):
            raise ServiceError(f"{kind}-allowed-already", f'target "{name}" allows {kind} {item} already')
        target = _with_permitted(old, kind, _permitted(old, kind) | {item})
        work.put(target)
        detail = {kind.value: item}
        await work.commit(AdminEvent(actor, f"target.{kind}_allowed", target.id, name, reason, detail))
    return target


async def forbid(store: Store, *, name: str, kind: Permitted, item: str, actor: str, reason: str) -> Target:
    """Take it off the list again. A function is refused at its next use; for a schema or a setting, live sessions end."""
    check_remark("reason", reason)
    async with store.begin() as work:
        old = find_target(work.snapshot, name)
        if item not in _permitted(old, kind):
            listed = ", ".join(sorted(_permitted(old, kind))) or "none"
            raise ServiceError(f"{kind}-not-allowed", f'target "{name}" does not list {kind} {item}', f"Listed: {listed}.")
        target = _with_permitted(old, kind, _permitted(old, kind) - {item})
        work.put(target)
        detail = {kind.value: item}
        await work.commit(AdminEvent(actor, f"target.{kind}_disallowed", target.id, name, reason, detail))
    return target


async def delete_target(store: Store, *, name: str, actor: str, reason: str) -> Target:
    """Gone with logins, grants and allowlist; live sessions end."""
    check_remark("reason", reason)
    async with store.begin() as work:
        target = find_target(work.snapshot, name)
        grants = sum(grant.target_id == target.id for held in work.snapshot.grants.values() for grant in held)
        work.remove(target)
        await work.commit(AdminEvent(actor, "target.deleted", target.id, name, reason, {"grants": grants}))
    return target


_CHECKS: Mapping[Permitted, Callable[[str], None]] = {
    Permitted.FUNCTION: check_function,
    Permitted.SCHEMA: check_schema,
    Permitted.SETTING: check_setting,
}


def _permitted(target: Target, kind: Permitted) -> frozenset[str]:
    match kind:
        case Permitted.FUNCTION:
            return target.allowed_functions
        case Permitted.SCHEMA:
            return target.allowed_schemas
        case Permitted.SETTING:
            return target.allowed_settings


def _with_permitted(target: Target, kind: Permitted, items: frozenset[str]) -> Target:
    revision = target.revision + 1
    match kind:
        case Permitted.FUNCTION:
            return replace(target, allowed_functions=items, revision=revision)
        case Permitted.SCHEMA:
            return replace(target, allowed_schemas=items, revision=revision)
        case Permitted.SETTING:
            return replace(target, allowed_settings=items, revision=revision)


def _check_place(place: Place) -> None:
    check_host(place.host)
    check_port(place.port)
    check_identifier("database's name", place.dbname)
    if place.ca_pem is not None:
        try:
            load_pem_x509_certificates(place.ca_pem.encode("utf-8"))
        except ValueError:
            raise ServiceError(
                "ca-invalid", "the CA file holds no certificate", "Give a PEM file: -----BEGIN CERTIFICATE-----"
            ) from None


def _place_detail(place: Place) -> dict[str, DetailValue]:
    """Weaker TLS and md5 stand in the audit like everything else about the place."""
    return {
        "host": place.host,
        "port": place.port,
        "dbname": place.dbname,
        "tls": place.tls.value,
        "own_ca": place.ca_pem is not None,
        "allow_md5": place.allow_md5,
    }
