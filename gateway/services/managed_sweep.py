"""Login roles on a server that say they are this gateway's, and that its store knows nothing of: found, and dropped.

There are none as long as the store lives; who puts back a store of an earlier day may leave some behind.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.access.model import Snapshot, Target
from gateway.custody.login_roles import Left, MarkedRole, Removal
from gateway.ports import Store
from gateway.services.change import begin
from gateway.services.managed_work import Server

_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = 0.3  # until sessions that were ended are gone


class Reads(Protocol):
    async def read(self) -> Snapshot: ...


@dataclass(frozen=True, slots=True)
class Orphan:
    """`left`: None when it was only looked for. `reason`: why it was kept."""

    login: str
    left: Left | None
    reason: str = ""


async def orphans_on(server: Server, store: Reads) -> list[MarkedRole]:
    """The server is asked first: what is made meanwhile has a row before it has a role. Raises UpstreamAdminError, StoreError."""
    marked = await server.marked()
    return [each for each in marked if not await _is_known(store, each.login)] if marked else []


async def drop_orphans(store: Store, server: Server, target: Target, *, by: str, reason: str) -> list[Orphan]:
    """`by`: the actor. Sessions that they have are ended: nobody has a right to them. Raises UpstreamAdminError, StoreError."""
    found = []
    for role in await orphans_on(server, store):
        removal = await _remove(store, server, target, role)
        if removal.left is Left.NOTHING:
            async with begin(store, by, reason) as change:
                change.require("targets.clean", target=target)
                change.note("managed_login.orphan_dropped", target.id, target.name, {"login": role.login})
                await change.commit()
        found.append(Orphan(role.login, removal.left, removal.reason))
    return found


async def _remove(store: Reads, server: Server, target: Target, role: MarkedRole) -> Removal:
    async def still_unknown() -> bool:
        return not await _is_known(store, role.login)

    heirs = list(dict.fromkeys([*role.member_of, *(each.login for _, each in sorted(target.roles.items(), reverse=True))]))
    for _ in range(_ATTEMPTS):
        removal = await server.remove(role.login, heirs, still_unknown, end_sessions=True)
        if removal.left is not Left.IN_USE:
            return removal
        await asyncio.sleep(_PAUSE_SECONDS)
    return Removal(Left.KEPT, "its sessions do not end")


async def _is_known(store: Reads, login: str) -> bool:
    return any(each.login == login for each in (await store.read()).managed_logins)
