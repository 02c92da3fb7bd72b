"""By which login a target's database is administered: kept sealed, used by this program alone, never given back, and forgotten.

Whoever adopted the target gave it. It makes the roles that sessions use, rotates passwords, its own among them, and sees who else
is in the database. No worker has it.
"""

from typing import Protocol

from gateway.access.model import Target
from gateway.ports import SealedUse, SecretBox, Store, TargetAdmin
from gateway.secret import Secret
from gateway.services.change import begin
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_target
from gateway.services.naming import check_identifier, check_upstream_secret


class AdminBook(Protocol):
    """Where those logins are read."""

    async def target_admin(self, target_id: str) -> TargetAdmin | None: ...


async def admin_of(book: AdminBook, target: Target) -> TargetAdmin:
    """Raises ServiceError when nobody has given it."""
    found = await book.target_admin(target.id)
    if found is None:
        raise no_admin(target)
    return found


def no_admin(target: Target) -> ServiceError:
    return ServiceError(
        "admin-login-missing",
        f'target "{target.name}" has no admin login: nobody gave one, or it was forgotten',
        f"Give it: pgbastion targets adopt {target.name}",
    )


def admin_secret(box: SecretBox, admin: TargetAdmin) -> Secret:
    """Its password. Raises the box's error when the key does not fit."""
    return box.open_for(SealedUse.TARGET_ADMIN, admin.target_id, admin.sealed_secret)


def sealed_for_admin(box: SecretBox, target_id: str, password: Secret) -> bytes:
    """As `sealed_secret` or `pending_secret` of this target's admin login, and of no other."""
    return box.seal_for(SealedUse.TARGET_ADMIN, target_id, password)


async def keep_admin(
    store: Store, box: SecretBox, *, name: str, login: str, password: Secret, actor: str, reason: str
) -> TargetAdmin:
    """From now on the target's database is administered by this login."""
    check_identifier("database role's name", login)
    check_upstream_secret(password)
    async with begin(store, actor, reason) as change:
        target = find_target(change.snapshot, name)
        change.require("targets.adopt", target=target)
        known = await change.target_admin(target.id)
        if known is not None and known.pending_secret is not None:
            raise ServiceError(
                "rotation-under-way",
                f'the admin login of target "{name}" is being rotated',
                f"Finish that first: pgbastion targets rotate-credential {name} --role admin",
            )
        sealed = sealed_for_admin(box, target.id, password)
        adopted_at = change.now if known is None else known.adopted_at
        admin = TargetAdmin(target.id, login, sealed, adopted_at)
        change.also_put(admin)
        before = None if known is None else known.login
        change.note("target.admin_kept", target.id, name, {"login": login, "before": before})
        await change.commit()
    return admin


async def forget_admin(store: Store, *, name: str, actor: str, reason: str) -> None:
    """Nothing is administered there any more. The login itself stays as it is on the server."""
    async with begin(store, actor, reason) as change:
        target = find_target(change.snapshot, name)
        change.require("targets.adopt", target=target)
        known = await change.target_admin(target.id)
        if known is None:
            raise no_admin(target)
        if known.pending_secret is not None:
            raise ServiceError(
                "rotation-under-way",
                f'the admin login of target "{name}" is being rotated: forgotten now, nobody might know its password',
                f"Finish that first: pgbastion targets rotate-credential {name} --role admin",
            )
        if known.rotated_at is not None:
            raise ServiceError(
                "admin-rotated",
                f'nobody but this gateway knows the password of "{known.login}" any more: forgotten, it would be lost',
                "Set another one on the server first, and give it with: pgbastion targets adopt",
            )
        change.also_remove(known)
        change.note("target.admin_forgotten", target.id, name, {"login": known.login})
        await change.commit()
