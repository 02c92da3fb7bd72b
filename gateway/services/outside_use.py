"""Who else is in a target's database: sessions that do not come through the gateway, now and over time.

Which sessions are the gateway's, its workers say, by the server's process numbers; what a client calls itself proves nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from gateway.access.model import Snapshot, Target
from gateway.custody.presence import Present, who_is_there
from gateway.custody.upstream_admin import UpstreamAdminError, admin_connection
from gateway.ports import GatewayUnavailable, LiveGateway, OutsideLook, OutsideUse, SecretBox, Store, TargetObservation
from gateway.services.adoption import refused
from gateway.services.change import begin
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_target
from gateway.services.target_admins import AdminBook, admin_of, admin_secret

#: A session of ours that has just begun, or ended, is told by one side alone; a moment later by both, or by none.
_MOMENT_SECONDS: Final = 0.4
_SHORTEST_SECONDS: Final = 10
_LONGEST_SECONDS: Final = 86_400
_MOST_DAYS: Final = 400
_LONGEST_NAME: Final = 63


class Observer(Protocol):
    """Where looks are kept."""

    async def target_observation(self, target_id: str) -> TargetObservation | None: ...

    async def outside_looks(self, target_id: str, since: datetime) -> list[OutsideLook]: ...


@dataclass(frozen=True, slots=True)
class Now:
    """`ours`: how many sessions there are the gateway's. `gateway_known`: it could be asked; else none there is known as its own.

    `hidden`: the `admin` login may not see where others come from.
    """

    at: datetime
    others: tuple[Present, ...]
    ours: int
    gateway_known: bool
    hidden: bool
    admin: str


async def look_now(
    book: AdminBook, box: SecretBox, gateway: LiveGateway, snapshot: Snapshot, target: Target, at: datetime
) -> Now:
    """Raises ServiceError: nobody gave the admin login, or the server cannot be asked."""
    admin = await admin_of(book, target)
    places = {each.id for each in snapshot.targets.values() if (each.host, each.port) == (target.host, target.port)}
    try:
        async with admin_connection(target, admin.login, admin_secret(box, admin)) as connection:
            there = await who_is_there(connection)
            own, known = await _own(gateway, places)
            others = [each for each in there if each.process_id not in own]
            if others:
                await asyncio.sleep(_MOMENT_SECONDS)
                later = {(each.process_id, each.started_at): each for each in await who_is_there(connection)}
                again, known = await _own(gateway, places)
                others = [
                    later[key]
                    for each in others
                    if (key := (each.process_id, each.started_at)) in later and each.process_id not in again
                ]
    except UpstreamAdminError as error:
        raise refused(error, admin.login) from None
    hidden = any(not each.address for each in others)
    ours = sum(each.process_id in own for each in there)
    return Now(at, tuple(others), ours, known, hidden, admin.login)


async def _own(gateway: LiveGateway, target_ids: set[str]) -> tuple[set[int], bool]:
    """Processes of this server that our sessions have, on whichever target."""
    try:
        return {each.process_id for each in await gateway.upstream_processes() if each.target_id in target_ids}, True
    except GatewayUnavailable:
        return set(), False


def uses_of(present: Sequence[Present]) -> tuple[OutsideUse, ...]:
    """The same, counted."""
    found = Counter(OutsideUse(each.role, each.database, each.address, each.application[:_LONGEST_NAME], 0) for each in present)
    return tuple(replace(use, sessions=count) for use, count in sorted(found.items(), key=lambda item: _key(item[0])))


def _key(use: OutsideUse) -> tuple[str, str, str, str]:
    return use.role, use.address, use.application, use.database


async def observe(store: Store, *, name: str, every_seconds: int, keep_days: int, actor: str, reason: str) -> None:
    """From now on the target's database is looked at so often, by itself."""
    if not _SHORTEST_SECONDS <= every_seconds <= _LONGEST_SECONDS or not 1 <= keep_days <= _MOST_DAYS:
        text = f"every {every_seconds} s, kept for {keep_days} days: that cannot be"
        raise ServiceError("observation-invalid", text, f"Every 10 s to 24 h, kept for 1 to {_MOST_DAYS} days.")
    async with begin(store, actor, reason) as change:
        target = find_target(change.snapshot, name)
        change.require("targets.observe", target=target)
        if await change.target_admin(target.id) is None:
            hint = f"Give it: pgbastion targets adopt {name}"
            raise ServiceError("admin-login-missing", f'target "{name}" has no admin login to look with', hint)
        change.also_put(TargetObservation(target.id, every_seconds, keep_days))
        change.note("target.observed", target.id, name, {"every_seconds": every_seconds, "keep_days": keep_days})
        await change.commit()


async def stop_observing(store: Store, *, name: str, actor: str, reason: str) -> None:
    """What was seen stays until it is too old."""
    async with begin(store, actor, reason) as change:
        target = find_target(change.snapshot, name)
        change.require("targets.observe", target=target)
        change.also_remove(TargetObservation(target.id, 0, 0))
        change.note("target.observation_ended", target.id, name, {})
        await change.commit()
