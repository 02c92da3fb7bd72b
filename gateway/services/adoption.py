"""Adopting a target: its database gets roles of its own for the gateway, and the target uses these from then on.

Each step looks at what is there already, so that a run which broke off at any point is finished by the next, and one that was
finished has nothing to do. Of two runs at once on a database the second is refused.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Protocol

from gateway.access.model import DatabaseRole, Target
from gateway.access.user_rules import UserRules, generate
from gateway.access_mode import AccessMode
from gateway.custody.inspection import inspect
from gateway.custody.proving import prove_login
from gateway.custody.upstream_admin import AdminConnection, UpstreamAdminError, admin_connection, scram_verifier
from gateway.ports import CheckStep, FormerLogin, Sealer, SecretBox, Store, Vault
from gateway.quoting import literal
from gateway.secret import Secret
from gateway.services.adoption_plan import Asked, Plan, Wishes, mark_of, plan_adoption, set_password, wishes_of
from gateway.services.change import begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.lookup import find_target
from gateway.services.target_admins import keep_admin

_LOCK: Final = "SELECT pg_try_advisory_lock(7809911, 7)"
"""Of this database, for as long as the connection lasts. Any numbers that nothing else uses."""


class Keys(Sealer, Vault, SecretBox, Protocol):
    """All that is sealed, and opened again."""


class Step(StrEnum):
    """Where a run is; in this order."""

    CONNECT = "log in as the admin"
    INSPECT = "look at the database"
    KEEP_ADMIN = "keep the admin login, sealed"
    MAKE_ROLES = "make the roles and their grants"
    PROVE = "try the new logins"
    SWITCH = "switch the target to them"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class AdminLogin:
    """By which the database is administered."""

    login: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Adopter:
    """Who adopts, and with what. `told`: of each step as it begins."""

    store: Store
    keys: Keys
    actor: str
    reason: str
    told: Callable[[Step], None] = lambda _step: None


@dataclass(frozen=True, slots=True)
class Adopted:
    """`switched`: the access modes that use another login, or password, now. `said`: what the server remarked.

    `steps`: how the logins did, when they were tried.
    """

    plan: Plan
    steps: tuple[tuple[AccessMode, CheckStep], ...]
    switched: tuple[AccessMode, ...]
    said: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return all(step.ok for _, step in self.steps)


async def preview_adoption(by: Adopter, target: Target, admin: AdminLogin, asked: Asked) -> Plan:
    """What adopting would do. Nothing is changed. Raises ServiceError."""
    async with _at_work(by, target, admin) as connection:
        by.told(Step.INSPECT)
        plan, _ = await _plan(by, connection, target, asked)
        return plan


async def adopt(by: Adopter, target: Target, admin: AdminLogin, asked: Asked, *, keep: bool) -> Adopted:
    """`keep`: the admin login is kept, sealed, for rotating passwords. Raises ServiceError; then the next run goes on."""
    async with _at_work(by, target, admin) as connection:
        by.told(Step.INSPECT)
        plan, wishes = await _plan(by, connection, target, asked)
        if keep:
            by.told(Step.KEEP_ADMIN)
            await keep_admin(
                by.store,
                by.keys,
                name=target.name,
                login=admin.login,
                password=admin.password,
                actor=by.actor,
                reason=by.reason,
            )
        by.told(Step.MAKE_ROLES)
        made = {role: Secret(generate(UserRules(), secrets.choice)) for role in plan.passwords}
        if plan.todo:
            await _run(connection, plan, made)
        by.told(Step.PROVE)
        steps = [
            (mode, step)
            for mode, role in wishes.roles.items()
            if (password := _password(by, target, mode, made.get(role))) is not None
            for step in await prove_login(target, role, password, mode)
        ]
        switched: tuple[AccessMode, ...] = ()
        if all(step.ok for _, step in steps):
            by.told(Step.SWITCH)
            switched = await _switch(by, target, wishes, made)
            by.told(Step.DONE)
        return Adopted(plan, tuple(steps), switched, tuple(dict.fromkeys(connection.notices)))


@asynccontextmanager
async def _at_work(by: Adopter, target: Target, admin: AdminLogin) -> AsyncIterator[AdminConnection]:
    """Connected, and alone. What the server says comes as ServiceError."""
    check_no_rotation(target)
    await check_may_adopt(by, target)
    by.told(Step.CONNECT)
    try:
        async with admin_connection(target, admin.login, admin.password) as connection:
            if await connection.rows(_LOCK) != [("t",)]:
                text = f'somebody is adopting the database of target "{target.name}" at this moment'
                raise ServiceError("adopt-under-way", text, "Try again when they are done.")
            yield connection
    except UpstreamAdminError as error:
        raise refused(error, admin.login) from None


async def check_may_adopt(by: Adopter, target: Target) -> None:
    """Before anything is done on the server. Raises NotPermitted."""
    async with begin(by.store, by.actor, by.reason) as change:
        change.require("targets.adopt", target=target)


def check_no_rotation(target: Target) -> None:
    """Raises ServiceError."""
    if any(role.pending_secret is not None for role in target.roles.values()):
        raise ServiceError(
            "rotation-under-way",
            f'a password of target "{target.name}" is being rotated',
            f"Finish that first: pgbastion targets rotate-credential {target.name}",
        )


def refused(error: UpstreamAdminError, login: str) -> ServiceError:
    """In words for whoever adopts."""
    match error.kind, error.sqlstate:
        case "statement", "55P03":
            hint = "Somebody holds a lock there: look at pg_stat_activity, and try again."
            return ServiceError("upstream-statement", f"the server waits for others: {error}", hint)
        case "statement", sqlstate:
            text = f'the server refused a statement of "{login}": {error} ({sqlstate}); nothing was changed there'
            return ServiceError("upstream-statement", text, "See what would be run: --dry-run")
        case "refused", _:
            return ServiceError("upstream-login", f'the server does not let "{login}" in: {error}', "Does psql get in with it?")
        case kind, _:
            return ServiceError("upstream-unreachable", f"the server cannot be used: {kind}: {error}", "Does psql get there?")


async def marked_roles(connection: AdminConnection, target: Target) -> tuple[str, ...]:
    """Those that were made for this target: by their comments, so that none is taken for ours that was there before."""
    mark = mark_of(target)
    rows = await connection.rows(
        "SELECT r.rolname FROM pg_roles r WHERE NOT r.rolsuper "  # noqa: S608 - quoted
        f"AND left(shobj_description(r.oid, 'pg_authid'), {len(mark)}) = {literal(mark)} ORDER BY 1"
    )
    return tuple(row[0] or "" for row in rows)


async def _plan(by: Adopter, connection: AdminConnection, target: Target, asked: Asked) -> tuple[Plan, Wishes]:
    wishes = wishes_of(asked, target, frozenset(await marked_roles(connection, target)))
    found = await inspect(connection, wishes.reader, wishes.writer)
    unusable = set()
    for mode, role in wishes.roles.items():
        if found.role(role) is not None and not await _works(by, target, mode, role):
            unusable.add(role)
    return plan_adoption(found, target, wishes, frozenset(unusable)), wishes


async def _works(by: Adopter, target: Target, mode: AccessMode, login: str) -> bool:
    """The target logs in like that already. Raises UpstreamAdminError where that cannot be told."""
    known = target.roles.get(mode)
    if known is None or known.login != login:
        return False
    if known.reference is not None:
        return True  # whoever keeps it looks after it
    try:
        async with admin_connection(target, login, by.keys.open(known)):
            return True
    except UpstreamAdminError as error:
        if error.sqlstate == "28P01":
            return False
        raise


async def _run(connection: AdminConnection, plan: Plan, made: Mapping[str, Secret]) -> None:
    async with connection.transaction():
        for statement in plan.statements:
            await connection.run(statement)
        for role, password in made.items():
            await connection.run(set_password(role, scram_verifier(password)))


def _password(by: Adopter, target: Target, mode: AccessMode, made: Secret | None) -> Secret | None:
    """None: it is kept elsewhere."""
    if made is not None:
        return made
    known = target.roles[mode]
    return None if known.reference is not None else by.keys.open(known)


async def _switch(by: Adopter, target: Target, wishes: Wishes, made: Mapping[str, Secret]) -> tuple[AccessMode, ...]:
    """Its former logins can be had back (`undo`)."""
    modes = tuple(mode for mode, role in wishes.roles.items() if role in made)
    if not modes:
        return ()
    async with begin(by.store, by.actor, by.reason) as change:
        now = find_target(change.snapshot, target.name)
        check_no_rotation(now)
        if (now.host, now.port, now.dbname) != (target.host, target.port, target.dbname):
            text = f'target "{target.name}" was given another place meanwhile'
            raise ServiceError("changed-meanwhile", text, "Adopt it there.")
        change.require("targets.adopt", target=now)
        roles = dict(now.roles)
        detail: dict[str, str | None] = {}
        for mode in modes:
            login, known = wishes.roles[mode], now.roles.get(mode)
            role_id = known.id if known is not None and known.login == login else new_id()
            roles[mode] = DatabaseRole(role_id, login, by.keys.seal(role_id, made[login]))
            detail |= {mode.value: login, f"before_{mode}": None if known is None else known.login}
            if known is not None and known.login != login:
                change.also_put(FormerLogin(now.id, mode, known, change.now))
        await change.save(replace(now, roles=roles, revision=now.revision + 1), "target.adopted", now.name, detail)
    return modes
