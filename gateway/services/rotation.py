"""`targets rotate-credential`: an upstream login gets a new password, which nobody sees, while sessions use it."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import Final

from gateway.custody.rotation import Step
from gateway.services.actor import NotPermitted
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_target
from gateway.services.rotation_lease import only_rotation
from gateway.services.rotation_look import Looking, RotationStore, look
from gateway.services.rotation_means import Means, Signature, workers_of
from gateway.services.rotation_rows import Shared, Slot, Which, find_shared, find_slot
from gateway.services.rotation_run import Run
from gateway.services.rotation_words import Rotated

__all__ = ["Choice", "Means", "Rotated", "RotationStore", "Step", "Which", "rotate_credentials", "workers_of"]


class Choice(StrEnum):
    """SESSIONS: of both access modes, as far as there are any. The admin login is rotated only where it is asked for."""

    SESSIONS = "sessions"
    READ_ONLY = "read_only"
    READ_WRITE = "read_write"
    ADMIN = "admin"
    ALL = "all"


_LOGINS: Final = {
    Choice.SESSIONS: (Which.READ_ONLY, Which.READ_WRITE),
    Choice.READ_ONLY: (Which.READ_ONLY,),
    Choice.READ_WRITE: (Which.READ_WRITE,),
    Choice.ADMIN: (Which.ADMIN,),
    Choice.ALL: (Which.READ_ONLY, Which.READ_WRITE, Which.ADMIN),
}


async def _always(_row_id: str) -> bool:
    return True


async def rotate_credentials(
    store: RotationStore,
    means: Means,
    *,
    name: str,
    choice: Choice = Choice.SESSIONS,
    end_sessions: bool = False,
    still_wanted: Callable[[str], Awaitable[bool]] = _always,
    actor: str,
    reason: str,
) -> list[Rotated]:
    """One after another; what fails on a server's side is in the answer. Raises ServiceError.

    `end_sessions`: of the admin login, of those who logged in with the former password. `still_wanted`: asked with the row's id
    when it is this one's turn.
    """
    wanted = _LOGINS[choice]
    if end_sessions and Which.ADMIN not in wanted:
        text = "sessions are ended with the admin login only: those of the others are the gateway's own"
        raise ServiceError("end-sessions-of-admin", text, "See: pgbastion sessions terminate")
    by = Signature(actor, reason)
    wanted = await _present(store, name, wanted, by)
    done: list[Rotated] = []
    for which in wanted:
        if any(which in each.also for each in done):
            continue  # it is the same login
        async with only_rotation(store) as lease, AsyncExitStack() as held:
            found = await _look(store, means, name, which, by)
            if not await still_wanted(found.main.row_id):
                continue
            run = Run(store, means, by, lease, held, found)
            done.append(await run.to_the_end(end_sessions=end_sessions and which is Which.ADMIN))
    return done


async def _present(store: RotationStore, name: str, wanted: tuple[Which, ...], by: Signature) -> tuple[Which, ...]:
    """Those that the target has; one that was named must be there."""
    seen = await look(store, by)
    target = find_target(seen.snapshot, name)
    seen.require("targets.rotate", target=target)
    if len(wanted) == 1:
        await find_slot(seen, target, wanted[0])
        return wanted
    admin = await seen.target_admin(target.id)
    found = tuple(each for each in wanted if (admin is not None if each.mode is None else each.mode in target.roles))
    if not found:
        await find_slot(seen, target, wanted[0])
    return found


async def _look(store: RotationStore, means: Means, name: str, which: Which, by: Signature) -> Shared:
    seen = await look(store, by)
    target = find_target(seen.snapshot, name)
    seen.require("targets.rotate", target=target)
    main = await find_slot(seen, target, which)
    _check(seen, main)
    found = await find_shared(seen, means.keys, main)
    for slot in found.all:
        _check(seen, slot)
    return found


def _check(seen: Looking, slot: Slot) -> None:
    if not seen.who.may("targets.rotate", environment_id=slot.target.environment_id):
        text = f'the login "{slot.login}" is used by other targets, too, which you may not change'
        raise NotPermitted(text, "Ask an owner, or give this target a login of its own.")
    if slot.referenced:
        where = f'target "{slot.target.name}", {slot.which.value}'
        raise ServiceError(
            "secret-elsewhere",
            f'the password of "{slot.login}" ({where}) is kept elsewhere, and cannot be changed from here',
            "Change it where it is kept: the gateway takes the new one from there. Or give the login a password of its own: "
            f"pgbastion targets login {slot.target.name}",
        )
