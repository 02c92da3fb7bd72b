"""The login roles of people on one target's server, seen and changed through its admin login.

Each change is one transaction, and may be made again: whoever broke off between the server and the store does it once more. Two
processes of a gateway take turns by what PostgreSQL locks when a role is altered (advisory locks may be closed to this admin, see
services/data/harden.sql): who comes second waits, fails, and tries once more. Only roles whose comment names this gateway are ever
changed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

from gateway.custody import login_sql
from gateway.custody.asked_roles import check_asked
from gateway.custody.login_emptying import borrowed, empty, what_is_left
from gateway.custody.login_means import LoginRoleRefused, check_means
from gateway.custody.login_sql import LoginSpec, Marker, marker_of
from gateway.custody.upstream_admin import AdminConnection, UpstreamAdminError
from gateway.quoting import quoted

__all__ = ["Connect", "Left", "LoginRoleRefused", "LoginRoles", "MarkedRole", "Removal"]

T = TypeVar("T")
Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[AdminConnection]]
"""The admin's connection to the database of this name on the target's server. Raises UpstreamAdminError."""

_ATTEMPTS: Final = 4
_MAINTENANCE: Final = "postgres"
_DEPENDENCIES: Final = "2BP01"
_RACES: Final = frozenset({"42710", "42704", "23505", "40001", "40P01"})  # somebody made, dropped or changed the same meanwhile


class _WantedAgain(Exception):
    """Nothing is to be changed."""


class Left(StrEnum):
    """What is left of a role that was to be removed.

    IN_USE: its sessions; a reason says why they were not ended. CHANGED: it is wanted again. KEPT: see the reason.
    """

    NOTHING = "nothing"
    IN_USE = "in-use"
    CHANGED = "changed"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Removal:
    left: Left
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MarkedRole:
    """A role of this gateway's. `member_of`: roles that it is a member of."""

    login: str
    marker: Marker
    enabled: bool
    member_of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Role:
    marker: Marker | None
    more: str
    most: int


class LoginRoles:
    def __init__(self, gateway_id: str, dbname: str, connect: Connect) -> None:
        self._gateway_id = gateway_id
        self._dbname = dbname
        self._connect = connect

    async def check(self, member_of: Sequence[str]) -> None:
        """Whether logins that are members of these can be made there. Raises LoginRoleRefused, UpstreamAdminError."""
        async with self._connect(self._dbname) as admin:
            await check_means(admin, member_of)

    async def make(self, spec: LoginSpec) -> list[str]:
        """Have the role be like this, whether it is there or not; what it could not be given. See `check` for what it raises."""
        async with self._connect(self._dbname) as admin:
            if spec.asked_for is not None:
                await check_asked(admin, spec.member_of, spec.asked_for)
            await check_means(admin, [spec.member_of])
            await self._again(lambda: self._make(admin, spec))
            return [each for each in admin.notices if each.startswith(login_sql.NOT_GIVEN)]

    async def prolong(self, login: str, until: datetime | None) -> bool:
        """Or shorten. False: there is no such role. Raises LoginRoleRefused, UpstreamAdminError."""

        async def alter() -> bool:
            async with self._changing(admin):
                if await self._role(admin, login) is None:
                    return False
                await admin.run(login_sql.prolong(login, until))
                return True

        async with self._connect(self._dbname) as admin:
            return await self._again(alter)

    async def remove(
        self, login: str, heirs: Sequence[str], go_ahead: Callable[[], Awaitable[bool]], *, end_sessions: bool
    ) -> Removal:
        """Nobody can log in as it from now on; when its sessions are gone, it is dropped.

        What it owns is given to the first of `heirs` that is there, in every database where there is something. `go_ahead` is
        asked while the role is locked: False when it is wanted again. `end_sessions`: those that are left. Raises
        UpstreamAdminError when the server cannot be reached; what the server refuses is a reason to keep the role.
        """
        async with self._connect(self._dbname) as admin:
            try:
                return await self._again(lambda: self._remove(admin, login, heirs, go_ahead, end_sessions=end_sessions))
            except LoginRoleRefused as refused:
                return Removal(Left.KEPT, str(refused))
            except _WantedAgain:
                return Removal(Left.CHANGED)
            except UpstreamAdminError as error:
                if error.kind != "statement":
                    raise
                left = await what_is_left(admin, login) if error.sqlstate == _DEPENDENCIES else ""
                return Removal(Left.KEPT, left or f'in database "{self._dbname}": {error}')

    async def marked(self) -> list[MarkedRole]:
        """All roles that this gateway has on the server, also those of its other targets there."""
        async with self._connect(self._dbname) as admin:
            found = []
            for name, remark, enabled in await admin.rows(login_sql.ask_marked(self._gateway_id)):
                if name is not None and (marker := marker_of(remark)) is not None:
                    member_of = tuple(str(each) for (each,) in await admin.rows(login_sql.ask_memberships(name)))
                    found.append(MarkedRole(name, marker, enabled == "t", member_of))
            return found

    # -- one transaction -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _changing(self, admin: AdminConnection) -> AsyncIterator[None]:
        async with admin.transaction():
            await admin.run(login_sql.BOUNDS)
            yield

    async def _again(self, work: Callable[[], Awaitable[T]]) -> T:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await work()
            except UpstreamAdminError as error:
                if error.sqlstate not in _RACES and "concurrently" not in str(error):
                    raise
        return await work()

    async def _make(self, admin: AdminConnection, spec: LoginSpec) -> None:
        async with self._changing(admin):
            known = await self._role(admin, spec.login)
            if known is not None and known.more:
                text = f'the role "{spec.login}" has {known.more}: somebody gave it more than a person\'s login has'
                raise LoginRoleRefused("managed-login-altered", text, f"ALTER ROLE {quoted(spec.login)} NO...;")
            await admin.run(";\n".join(login_sql.make(spec, admin.major, exists=known is not None)))
            for (former,) in await admin.rows(login_sql.ask_memberships(spec.login)):
                if former is not None and former != spec.member_of:
                    await admin.run(login_sql.leave(spec.login, former))
            await admin.run(login_sql.like_its_role(spec.login, spec.like or spec.member_of))

    async def _role(self, admin: AdminConnection, login: str) -> _Role | None:
        """Raises LoginRoleRefused when somebody else's role has this name."""
        for _, remark, _, more, most in await admin.rows(login_sql.ask_role(login)):
            marker = marker_of(remark)
            if marker is None or marker.gateway_id != self._gateway_id:
                text = f'the role "{login}" is there, and its comment does not say that this gateway made it'
                raise LoginRoleRefused("managed-login-taken", text, "Rename that role, or put its comment back.")
            return _Role(marker, more or "", int(most or -1))
        return None

    # -- the end of a role ---------------------------------------------------------------------------------------------

    async def _remove(
        self,
        admin: AdminConnection,
        login: str,
        heirs: Sequence[str],
        go_ahead: Callable[[], Awaitable[bool]],
        *,
        end_sessions: bool,
    ) -> Removal:
        """Raises _WantedAgain."""
        async with self._changing(admin):
            if not await self._disable(admin, login, go_ahead):
                return Removal(Left.NOTHING)
        if await admin.rows(login_sql.ask_sessions(login)):
            return Removal(Left.IN_USE, await self._end_sessions(admin, login) if end_sessions else "")
        for name, allowed in await admin.rows(login_sql.ask_databases(login)):
            if name is not None and name != self._dbname and (kept := await self._empty_other(name, allowed, login, heirs)):
                return Removal(Left.KEPT, kept)
        async with self._changing(admin):
            if await self._disable(admin, login, go_ahead):
                await empty(admin, login, heirs)
                await admin.run(login_sql.drop(login))
        return Removal(Left.NOTHING)

    async def _disable(self, admin: AdminConnection, login: str, go_ahead: Callable[[], Awaitable[bool]]) -> bool:
        """Whoever wants to make it again has said so in the store before, or waits for the end of this transaction.

        False: there is no such role. Raises _WantedAgain.
        """
        if await self._role(admin, login) is None:
            return False
        await admin.run(login_sql.disable(login))
        if not await go_ahead():
            raise _WantedAgain
        return True

    async def _empty_other(self, dbname: str, allowed: str | None, login: str, heirs: Sequence[str]) -> str:
        """Why it could not be done; "": it was."""
        if allowed != "t":
            return f'something of it is in database "{dbname}", which nobody may connect to'
        try:
            async with self._connect(dbname) as admin, self._changing(admin):
                await empty(admin, login, heirs)
        except UpstreamAdminError as error:
            return f'something of it is in database "{dbname}": {error}'
        return ""

    async def _end_sessions(self, admin: AdminConnection, login: str) -> str:
        """Why not; "": they are told to end."""
        try:
            await self._end_from(admin, login)
        except UpstreamAdminError as error:
            if error.kind != "statement":
                raise
            try:  # the function may be closed in one database, and open in another
                async with self._connect(_MAINTENANCE) as elsewhere:
                    await self._end_from(elsewhere, login)
            except UpstreamAdminError:
                return f"sessions of it are left, and cannot be ended: {error}"
        return ""

    async def _end_from(self, admin: AdminConnection, login: str) -> None:
        async with self._changing(admin), borrowed(admin, [login]):
            await admin.run(login_sql.end_sessions(login))
