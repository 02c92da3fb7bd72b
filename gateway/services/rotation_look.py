"""A look at the whole with the eyes of an actor, without keeping anybody from changing it."""

from datetime import UTC, datetime
from typing import Protocol

from gateway.access.model import Snapshot, Target
from gateway.ports import Store, TargetAdmin
from gateway.services.actor import Actor, require, resolve_actor
from gateway.services.naming import check_actor, check_remark
from gateway.services.rotation_lease import Leases
from gateway.services.rotation_means import Signature
from gateway.services.visible import within_reach


class RotationStore(Store, Leases, Protocol):
    """A store that knows who is at a work, and by which logins targets are administered."""

    async def target_admin(self, target_id: str) -> TargetAdmin | None: ...


class Looking:
    """What `services.change.Change` shows, as of a moment ago."""

    def __init__(self, store: RotationStore, whole: Snapshot, who: Actor) -> None:
        self._store = store
        self.whole = whole
        self.who = who

    @property
    def snapshot(self) -> Snapshot:
        """What the actor can reach."""
        return within_reach(self.whole, self.who)

    def require(self, verb: str, *, target: Target) -> None:
        """Raises NotPermitted."""
        require(self.who, verb, self.whole, environment_id=target.environment_id)

    async def target_admin(self, target_id: str) -> TargetAdmin | None:
        return await self._store.target_admin(target_id)


async def look(store: RotationStore, by: Signature) -> Looking:
    """Raises ServiceError for an actor or a reason that cannot be written down, NotPermitted."""
    check_actor(by.actor)
    check_remark("reason", by.reason)
    whole = await store.read()
    return Looking(store, whole, resolve_actor(by.actor, whole, datetime.now(UTC)))
