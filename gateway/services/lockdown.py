"""The kill switch: nobody is let in, and all live sessions end within a second, until it is lifted. Rights stay as they are."""

from gateway.ports import Lockdown, Store
from gateway.services.change import begin
from gateway.services.errors import ServiceError


async def lock_down(store: Store, *, actor: str, reason: str) -> Lockdown:
    """Clients read the reason."""
    async with begin(store, actor, reason) as change:
        change.require("lockdown.change")
        if (before := change.snapshot.lockdown) is not None:
            raise ServiceError("lockdown-already", f"the gateway is closed already{_why(before)}", "Lift it to open again.")
        change.also_put(Lockdown(reason))
        change.note("gateway.locked_down", "gateway", "gateway")
        await change.commit()
    return Lockdown(reason)


async def lift_lockdown(store: Store, *, actor: str, reason: str) -> Lockdown:
    """Open again. Whoever was ended has to connect again."""
    async with begin(store, actor, reason) as change:
        change.require("lockdown.change")
        if (before := change.snapshot.lockdown) is None:
            raise ServiceError("lockdown-unknown", "the gateway is not closed: there is no lockdown to lift")
        change.also_put(Lockdown(None))
        change.note("gateway.lockdown_lifted", "gateway", "gateway", {"before": before})
        await change.commit()
    return Lockdown(None)


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""
