"""How often the passwords of a target's logins are changed by themselves."""

from dataclasses import replace
from typing import Final

from gateway.access.model import Target
from gateway.ports import Store
from gateway.services.change import begin
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_target

_MAX_DAYS: Final = 3650


def check_rotate_every(days: int | None) -> None:
    if days is not None and not 1 <= days <= _MAX_DAYS:
        text = f"passwords cannot be changed every {days} days"
        raise ServiceError("rotate-every-invalid", text, f"Give 1 to {_MAX_DAYS} days, or nothing for never.")


async def set_rotate_every(
    store: Store, *, name: str, days: int | None, actor: str, reason: str, expected_version: int | None = None
) -> Target:
    """The passwords of its logins get no older than that; None: they are changed by hand. No session ends."""
    check_rotate_every(days)
    async with begin(store, actor, reason) as change:
        old = find_target(change.snapshot, name, expected_version)
        change.require("targets.update", target=old)
        if old.rotate_every_days == days:
            raise ServiceError("nothing-to-change", f'target "{name}" is like that already')
        detail = {"rotate_every_days": days, "before": old.rotate_every_days}
        return await change.save(replace(old, rotate_every_days=days), "target.rotate_every_changed", name, detail)
