"""Managed logins as admins see them: whether a target has them, which there are, and what is to be cleaned up."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from gateway.access.managed import ManagedLogin, ManagedMode, ManagedState
from gateway.access.managed_rights import Rights
from gateway.access.model import Snapshot, Target
from gateway.custody.login_roles import Left, LoginRoleRefused
from gateway.custody.upstream_admin import UpstreamAdminError
from gateway.ports import Sealer, SecretBox, Vault
from gateway.services.change import begin
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_target
from gateway.services.managed_rows import ManagedRows, MarkedStore
from gateway.services.managed_servers import servers_of
from gateway.services.managed_stay import check_possible
from gateway.services.managed_sweep import drop_orphans, orphans_on
from gateway.services.managed_work import ManagedWork
from gateway.services.target_admins import AdminBook

_ENDING: Final = (ManagedState.DROPPING, ManagedState.KEPT)


class ManagedStore(MarkedStore, AdminBook, Protocol):
    """The store, as far as managed logins need it."""


class Keyring(Sealer, Vault, SecretBox, Protocol):
    """Opens admin logins, and seals those of people."""


class Leftover(StrEnum):
    """What is to be cleaned up: a role that no row speaks of, or a login that should have been dropped."""

    ORPHAN = "orphan"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """`left`: what is left of it on the server; None: it was only looked at. `reason`: why it was kept."""

    login: str
    kind: Leftover
    left: Left | None
    reason: str = ""


async def set_managed(
    store: ManagedStore,
    box: SecretBox,
    *,
    name: str,
    mode: ManagedMode,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> Target:
    """Whose database role the target's sessions use from now on; live ones end.

    Unless it is switched off, the server is asked first whether the admin login can make such roles there. Raises ServiceError.
    """
    async with begin(store, actor, reason) as change:
        looked_at = find_target(change.snapshot, name, expected_version)
        change.require("targets.managed", target=looked_at)
        if looked_at.managed is mode:
            raise ServiceError("nothing-to-change", f'target "{name}" is like that already')
    if mode is not ManagedMode.OFF:
        check_possible(looked_at)
        await _check_server(store, box, looked_at)
    async with begin(store, actor, reason) as change:
        target = find_target(change.snapshot, name, expected_version)
        change.require("targets.managed", target=target)
        if target.version != looked_at.version:
            raise ServiceError("version-differs", f'target "{name}" was changed meanwhile', "Look at it, and try again.")
        detail = {"managed": mode.value, "before": target.managed.value}
        changed = replace(target, managed=mode, revision=target.revision + 1)
        return await change.save(changed, "target.managed_changed", name, detail)


async def _check_server(store: ManagedStore, box: SecretBox, target: Target) -> None:
    server = await servers_of(store, box, await store.gateway_id())(target)
    try:
        await server.check(sorted({role.login for role in target.roles.values()}))
    except LoginRoleRefused as refused:
        raise ServiceError(refused.rule, str(refused), refused.remedy) from refused
    except UpstreamAdminError as error:
        raise _unreachable(target, error) from error


async def clean(
    store: ManagedStore, keys: Keyring, *, name: str, only_look: bool, most: int, actor: str, reason: str
) -> Sequence[Cleaned]:
    """Drop what should not be on the target's server any more. Raises ServiceError."""
    async with begin(store, actor, reason) as change:
        target = find_target(change.snapshot, name)
        change.require("targets.clean", target=target)
        ended = _ended(change.whole, target, change.now)
    gateway_id = await store.gateway_id()
    servers = servers_of(store, keys, gateway_id)
    server = await servers(target)
    try:
        if only_look:
            orphans = [Cleaned(each.login, Leftover.ORPHAN, None) for each in await orphans_on(server, store)]
            return [*orphans, *(Cleaned(each.login, Leftover.ENDED, None, each.finding) for each in ended)]
        dropped = await drop_orphans(store, server, target, by=actor, reason=reason)
        found = [Cleaned(each.login, Leftover.ORPHAN, each.left, each.reason) for each in dropped]
        work = ManagedWork(ManagedRows(store, keys, gateway_id), keys, servers, lambda: most)
        for login in ended:
            await work.attend(target, login, None, end_sessions=True)
            found.append(await _after(store, login))
        return found
    except UpstreamAdminError as error:
        raise _unreachable(target, error) from error


def _ended(snapshot: Snapshot, target: Target, now: datetime) -> list[ManagedLogin]:
    rights = Rights(snapshot)
    mine = [login for login in snapshot.managed_logins if login.key.target_id == target.id]
    return [login for login in mine if login.state in _ENDING or rights.still(login, now) is None]


async def _after(store: ManagedStore, login: ManagedLogin) -> Cleaned:
    known = (await store.read()).managed.get(login.key)
    if known is None:
        return Cleaned(login.login, Leftover.ENDED, Left.NOTHING)
    if known.state not in _ENDING:
        return Cleaned(login.login, Leftover.ENDED, Left.CHANGED)
    left = Left.KEPT if known.finding else Left.IN_USE
    return Cleaned(login.login, Leftover.ENDED, left, known.finding)


def _unreachable(target: Target, error: UpstreamAdminError) -> ServiceError:
    return ServiceError(
        "admin-login-unusable",
        f'the server of target "{target.name}" cannot be asked: {error.kind}: {error}',
        f"pgbastion targets test {target.name} names the step that fails.",
    )
