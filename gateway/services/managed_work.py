"""Managed logins, made and dropped: what the store says is to be, brought about on the servers, and written down again.

Every step may be the last one of this process. Whatever is left then is found by `attend`, here or in another process: a row that
is CREATING is made (again), one that is DROPPING is dropped (again), and both end where one run would have ended. Two processes of
one gateway may do so at once: the server has them take turns, and who drops asks, while the role is locked, whether it is wanted.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

import structlog

from gateway.access.managed import ManagedKey, ManagedLogin, ManagedState
from gateway.access.managed_rights import Behind, as_role
from gateway.access.model import Target
from gateway.custody.login_roles import Left, LoginRoleRefused, MarkedRole, Removal
from gateway.custody.login_sql import LoginSpec, Marker
from gateway.custody.upstream_admin import UpstreamAdminError, scram_verifier
from gateway.ports import Vault
from gateway.services.errors import ServiceError
from gateway.services.managed_rows import ManagedRows

_NAMES: Final = 3  # tried where one is taken
_SAID: Final = frozenset({"managed-right-ended", "managed-login-unavailable"})  # nothing is wrong, or it is written down
_log: Final = structlog.stdlib.get_logger("gateway.managed")


class Server(Protocol):
    """The login roles on a target's server: see custody.login_roles.LoginRoles, which is one."""

    async def check(self, member_of: Sequence[str]) -> None: ...

    async def make(self, spec: LoginSpec) -> list[str]: ...

    async def prolong(self, login: str, until: datetime | None) -> bool: ...

    async def remove(
        self, login: str, heirs: Sequence[str], go_ahead: Callable[[], Awaitable[bool]], *, end_sessions: bool
    ) -> Removal: ...

    async def marked(self) -> list[MarkedRole]: ...


Servers: TypeAlias = Callable[[Target], Awaitable[Server]]
"""Raises ServiceError when nobody gave the target's admin login."""


class Next(StrEnum):
    """What is left to do about a login: nothing, in a moment (its sessions are ending), or later (something is in the way)."""

    NOTHING = "nothing"
    SOON = "soon"
    LATER = "later"


class _Turn:
    __slots__ = ("lock", "wanted")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.wanted = 0


class ManagedWork:
    """`most`: at most so many connections of one login."""

    def __init__(self, rows: ManagedRows, vault: Vault, servers: Servers, most: Callable[[], int]) -> None:
        self._rows = rows
        self._vault = vault
        self._servers = servers
        self._most = most
        self._turns: dict[ManagedKey, _Turn] = {}

    async def server_of(self, target: Target) -> Server:
        """Raises ServiceError."""
        return await self._servers(target)

    async def ensure(self, key: ManagedKey, refused: bytes | None, reason: str) -> ManagedLogin:
        """The login of this key, there and open. `refused`: the sealed secret that the server did not take.

        Raises ServiceError: "managed-right-ended", or "managed-login-unavailable", whose cause the row's finding and the log tell.
        """
        async with self._alone(key):
            row, behind = await self._rows.begin(key, refused, reason)
            return row if row.state is ManagedState.ACTIVE else await self._make(row, behind, reason)

    async def attend(self, target: Target, row: ManagedLogin, behind: Behind | None, *, end_sessions: bool) -> Next:
        """Bring one step about that the row asks for. `behind`: what stands behind it now; None: it is to be dropped.

        Raises StoreError.
        """
        async with self._alone(row.key):
            try:
                if behind is None or row.state in (ManagedState.DROPPING, ManagedState.KEPT):
                    return await self._end(target, row, end_sessions=end_sessions)
                if row.state is ManagedState.CREATING:
                    await self._make(row, behind, "left half made")
                elif row.valid_until != behind.until:
                    await self._prolong(row, behind)
            except (LoginRoleRefused, UpstreamAdminError) as error:
                await self._failed(row, target, _words(error))
                return Next.LATER
            except ServiceError as refused:
                if refused.rule not in _SAID:
                    await self._failed(row, target, refused.message)
                return Next.LATER
            return Next.NOTHING

    # -- steps ---------------------------------------------------------------------------------------------------------

    async def _make(self, row: ManagedLogin, behind: Behind, reason: str) -> ManagedLogin:
        for attempt in range(1, _NAMES + 1):
            try:
                server = await self._servers(behind.target)
                notices = await server.make(self._spec(row, behind))
            except LoginRoleRefused as refused:
                if refused.rule == "managed-login-taken" and attempt < _NAMES:
                    row, behind = await self._rows.begin(row.key, None, reason, attempt)
                    continue
                raise await self._unavailable(row, behind.target, _words(refused), _for_the_person(refused)) from refused
            except UpstreamAdminError as error:
                raise await self._unavailable(row, behind.target, _words(error)) from None
            except ServiceError as error:
                raise await self._unavailable(row, behind.target, error.message) from error
            if notices:
                _log.info("a managed login is not quite like its database role", login=row.login, notices=notices)
            return await self._rows.made(row, behind.until)
        raise AssertionError("the last attempt raises or returns")

    def _spec(self, row: ManagedLogin, behind: Behind) -> LoginSpec:
        password = self._vault.open(as_role(row))
        whose = f"{row.user_name} on {behind.target.name} ({row.key.mode.value})"
        marker = Marker(self._rows.gateway_id, row.id)
        asked_for = row.key.mode if behind.asked_for else None
        verifier, most = scram_verifier(password), self._most()
        return LoginSpec(row.login, row.member_of, verifier, behind.until, most, marker, whose, asked_for, behind.like)

    async def _prolong(self, row: ManagedLogin, behind: Behind) -> None:
        """The server first: should the store not hear of it, it is done once more."""
        server = await self._servers(behind.target)
        if await server.prolong(row.login, behind.until):
            await self._rows.prolonged(row, behind.until)
        else:  # somebody dropped it
            row, behind = await self._rows.begin(row.key, row.sealed_secret, "it was gone from the server")
            await self._make(row, behind, "it was gone from the server")

    async def _end(self, target: Target, row: ManagedLogin, *, end_sessions: bool) -> Next:
        ending = await self._rows.ending(row)
        if ending is None:
            return Next.NOTHING
        server = await self._servers(target)

        async def still_ending() -> bool:
            return await self._rows.is_ending(ending)

        removal = await server.remove(ending.login, heirs_of(target, ending), still_ending, end_sessions=end_sessions)
        match removal.left:
            case Left.NOTHING:
                await self._rows.dropped(ending)
            case Left.IN_USE if removal.reason:
                await self._failed(ending, target, removal.reason)
                return Next.LATER
            case Left.IN_USE:
                return Next.SOON
            case Left.KEPT:
                _log.warning("a managed login cannot be dropped", login=ending.login, target=target.name, reason=removal.reason)
                await self._rows.kept(ending, removal.reason)
                return Next.LATER
            case Left.CHANGED:
                pass
        return Next.NOTHING

    async def _unavailable(self, row: ManagedLogin, target: Target, why: str, told: str = "") -> ServiceError:
        """`told`: what the person may know of it."""
        await self._failed(row, target, why)
        if told:
            return ServiceError("managed-login-unavailable", told, "Ask an approver of your request, or ask for another role.")
        return ServiceError(
            "managed-login-unavailable",
            f'the gateway could not prepare your own database role for target "{target.name}"',
            f"Tell your administrator: pgbastion targets managed-logins {target.name} says why.",
        )

    async def _failed(self, row: ManagedLogin, target: Target, why: str) -> None:
        _log.warning("a managed login is not as it should be", login=row.login, target=target.name, reason=why)
        await self._rows.failed(row, why)

    @asynccontextmanager
    async def _alone(self, key: ManagedKey) -> AsyncIterator[None]:
        """In this process; others wait for each other on the server."""
        turn = self._turns.setdefault(key, _Turn())
        turn.wanted += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[key]


def heirs_of(target: Target, row: ManagedLogin) -> list[str]:
    """Who gets what it owns: the database role that it is a member of; if that is gone, what the target has in its place."""
    now = [target.roles[mode].login for mode in (row.key.mode, *target.roles) if mode in target.roles]
    return list(dict.fromkeys([row.member_of, *now]))


def _for_the_person(refused: LoginRoleRefused) -> str:
    """About the role that their own request was for."""
    return refused.message if refused.rule in ("asked-role-missing", "asked-role-too-mighty") else ""


def _words(error: LoginRoleRefused | UpstreamAdminError) -> str:
    match error:
        case LoginRoleRefused():
            return f"{error}; {error.remedy}" if error.remedy else str(error)
        case UpstreamAdminError():
            return f"{error.kind}: {error}"
