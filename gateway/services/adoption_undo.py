"""Undoing an adoption: the target gets its former logins back, and the database loses the roles that were made for it.

What these roles own goes to the admin login, or to another that is named. Every step can be made again, so that a run that broke
off is finished by the next.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from gateway.access.managed import ManagedMode
from gateway.access.model import DatabaseRole, Target
from gateway.access_mode import AccessMode
from gateway.custody.upstream_admin import AdminConnection, UpstreamAdminError, admin_connection
from gateway.quoting import literal, quoted
from gateway.services.adoption import AdminLogin, Adopter, check_may_adopt, check_no_rotation, marked_roles, refused
from gateway.services.change import begin
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_target

_GRANTS_SINCE: Final = 16
_LEAVING_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Undone:
    """`dropped`: roles that are gone. `logins`: what the target uses now, by access mode. `script`: what was run, or would be.

    `admin_kept`: why the admin login was; "" if it is forgotten.
    """

    dropped: tuple[str, ...]
    logins: dict[AccessMode, str]
    script: str
    admin_kept: str = ""


async def undo_adoption(
    by: Adopter, target: Target, admin: AdminLogin, *, restore: bool, reassign_to: str | None, dry_run: bool
) -> Undone:
    """`restore`: its former logins, where there were any; else the target is left without. Raises ServiceError."""
    check_no_rotation(target)
    await check_may_adopt(by, target)
    if target.managed is not ManagedMode.OFF:
        text = f'people have database roles of their own on target "{target.name}", with the rights of those that would go'
        raise ServiceError("adopt-in-use", text, f"End that first: pgbastion targets managed {target.name} --mode off")
    try:
        async with admin_connection(target, admin.login, admin.password) as connection:
            ours = await marked_roles(connection, target)
            script = [] if not ours else _script(connection, ours, reassign_to or admin.login)
            if dry_run:
                return Undone(ours, {mode: role.login for mode, role in target.roles.items()}, _shown(script))
            now = await _switch_back(by, target, ours, restore=restore)
            if ours:
                await _sessions_ended(connection, ours)
                async with connection.transaction():
                    for statement in script:
                        await connection.run(statement)
    except UpstreamAdminError as error:
        raise refused(error, admin.login) from None
    kept = await _forget(by, now)
    return Undone(ours, {mode: role.login for mode, role in now.roles.items()}, _shown(script), kept)


def _shown(script: list[str]) -> str:
    return "\n".join(["BEGIN;", *script, "COMMIT;", ""]) if script else ""


def _script(connection: AdminConnection, roles: tuple[str, ...], heir: str) -> list[str]:
    """DROP OWNED takes the grants, and those on tables to come. It wants membership of who is no superuser."""
    found = []
    for role in map(quoted, roles):
        if not connection.is_superuser:
            options = " WITH INHERIT TRUE, SET TRUE" if connection.major >= _GRANTS_SINCE else ""
            found.append(f"GRANT {role} TO CURRENT_USER{options};")
        found += [f"REASSIGN OWNED BY {role} TO {quoted(heir)};", f"DROP OWNED BY {role};", f"DROP ROLE {role};"]
    return found


async def _switch_back(by: Adopter, target: Target, ours: tuple[str, ...], *, restore: bool) -> Target:
    """First of all: from here on nobody begins a session by a role that is about to go."""
    async with begin(by.store, by.actor, by.reason) as change:
        now = find_target(change.snapshot, target.name)
        change.require("targets.adopt", target=now)
        known = sorted(await change.former_logins(now.id), key=lambda each: each.replaced_at)
        former = {each.mode: each for each in known if restore and each.role.login not in ours}
        roles: dict[AccessMode, DatabaseRole] = {}
        for mode, role in now.roles.items():
            if role.login not in ours:
                roles[mode] = role
            elif mode in former:
                roles[mode] = former[mode].role
        if roles == now.roles:
            return now
        detail = {f"before_{mode}": role.login for mode, role in now.roles.items()}
        detail |= {mode.value: role.login for mode, role in roles.items()}
        back = replace(now, roles=roles, revision=now.revision + 1)
        return await change.save(back, "target.adoption_undone", now.name, detail)


async def _sessions_ended(connection: AdminConnection, roles: tuple[str, ...]) -> None:
    """The gateway ends them within a second. Raises ServiceError when somebody stays."""
    listed = ", ".join(map(literal, roles))
    question = f"SELECT usename, count(*) FROM pg_stat_activity WHERE usename IN ({listed}) GROUP BY 1"  # noqa: S608 - quoted
    waited = 0.0
    while rows := await connection.rows(question):
        if waited >= _LEAVING_SECONDS:
            who = ", ".join(f"{count} of {name}" for name, count in rows)
            text = f"there are still sessions: {who}"
            raise ServiceError("adopt-in-use", text, "Does the gateway run? End them (pg_terminate_backend), and undo again.")
        await asyncio.sleep(_PAUSE_SECONDS)
        waited += _PAUSE_SECONDS


async def _forget(by: Adopter, target: Target) -> str:
    """The former logins, and the admin login, unless nobody else knows it any more."""
    async with begin(by.store, by.actor, by.reason) as change:
        former = await change.former_logins(target.id)
        admin = await change.target_admin(target.id)
        rotated = admin is not None and (admin.rotated_at is not None or admin.pending_secret is not None)
        for each in former:
            change.also_remove(each)
        if admin is not None and not rotated:
            change.also_remove(admin)
        if former or (admin is not None and not rotated):
            detail = {"admin_forgotten": admin is not None and not rotated}
            change.note("target.adoption_forgotten", target.id, target.name, detail)
            await change.commit()
    if admin is None or not rotated:
        return ""
    return f'the admin login "{admin.login}" stays here, sealed: it was rotated, and nobody else knows its password'
