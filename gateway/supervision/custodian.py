"""The custodian: has database roles of people's own made when workers ask for them, and dropped when their rights end.

A peer on the supervisor's own bus. It sleeps, without following the store, as long as no target has managed logins; a question
wakes it, and so does a look once a minute, since another gateway on the same store may have made some.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from gateway.access.managed import ManagedKey, ManagedLogin
from gateway.access_mode import AccessMode
from gateway.bus.lines import ALL, CUSTODIAN, Handler, Message, Payload
from gateway.bus.peer import BusPeer
from gateway.services.errors import ServiceError
from gateway.services.managed_rows import ManagedRows
from gateway.services.managed_servers import servers_of
from gateway.services.managed_work import ManagedWork
from gateway.settings import CurrentSettings
from gateway.store import open_directory, open_store
from gateway.store.errors import StoreError
from gateway.store.sql_store import SqlStore
from gateway.store.vault import SealedVault
from gateway.supervision.managed_rounds import ManagedRounds

_WORKER: Final = "worker:"
_LOOK_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 5.0
_REMADE_SECONDS: Final = 30.0  # a login that the server does not take is not made again and again
_LINGERING: Final = 10  # connections of one login beyond its sessions: those that are ending
_MOST_REMADE: Final = 10_000
_log: Final = structlog.stdlib.get_logger("gateway.custodian")


class Custodian:
    """`handlers` are those of its peer. `run` is for good."""

    def __init__(self, current: CurrentSettings, store: SqlStore) -> None:
        self._current = current
        self._store = store
        self._vault: SealedVault | None = None
        self._work: ManagedWork | None = None
        self._beginning = asyncio.Lock()
        self._woken = asyncio.Event()
        self._remade: dict[ManagedKey, float] = {}

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {"managed-login": self._asked}

    async def run(self) -> None:
        """Until cancelled: sleep, then follow the store."""
        while True:
            try:
                if self._woken.is_set() or await self._store.has_managed():
                    await self._follow()
            except StoreError as error:
                _log.warning("the store cannot be asked about managed logins", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:
                _log.exception("managed logins could not be looked after")
                await asyncio.sleep(_RETRY_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), _LOOK_SECONDS)

    async def _follow(self) -> None:
        """From now on: what was managed once may be so again."""
        work = await self._parts()
        directory = open_directory(self._current.now, self._vault)
        await directory.start()
        try:
            await ManagedRounds(directory, self._store, work).keep()
        finally:
            await directory.close()

    async def _parts(self) -> ManagedWork:
        """Raises StoreError, VaultError."""
        async with self._beginning:
            if self._work is None:
                self._vault = vault = SealedVault.load(self._current.now.key_file)
                gateway_id = await self._store.gateway_id()
                rows = ManagedRows(self._store, vault, gateway_id)
                self._work = ManagedWork(rows, vault, servers_of(self._store, vault, gateway_id), self._most)
        return self._work

    def _most(self) -> int:
        return self._current.now.limits.max_sessions_per_user + _LINGERING

    # -- what workers ask ----------------------------------------------------------------------------------------------

    async def _asked(self, message: Message) -> Payload:
        match message.payload:
            case {
                "session": str(session),
                "target_id": str(target_id),
                "mode": str(mode),
                "user_id": str(user_id),
                "grant_id": str() | None as grant_id,
                "refused": str() | None as refused,
            } if message.sender.startswith(_WORKER):
                key = ManagedKey(target_id, AccessMode(mode), user_id, grant_id)
            case _:
                return _refusal("malformed", "the gateway does not understand itself")
        self._woken.set()
        if refused is not None and self._remade_lately(key):
            text = "the database server does not take your own database role, although it was made anew"
            return _refusal("managed-login-unavailable", text, "Tell your administrator.")
        try:
            work = await self._parts()
            login = await work.ensure(key, None if refused is None else bytes.fromhex(refused), f"session {session}")
        except ServiceError as error:
            return _refusal(error.rule, error.message, error.hint)
        except StoreError as error:
            _log.error("a managed login could not be made", reason=str(error))
            return _refusal(
                "store-unavailable", "the gateway cannot prepare your own database role now", "Try again in a moment."
            )
        return _answer(login)

    def _remade_lately(self, key: ManagedKey) -> bool:
        now = time.monotonic()
        if now - self._remade.get(key, -_REMADE_SECONDS) < _REMADE_SECONDS:
            return True
        if len(self._remade) >= _MOST_REMADE:
            self._remade.clear()
        self._remade[key] = now
        return False


@asynccontextmanager
async def custodian_at_work(current: CurrentSettings) -> AsyncIterator[None]:
    """On the bus, until the block is left. It comes when the hub does."""

    def wake(_revision: int) -> None:
        peer.send(ALL, "wake", {})

    custodian = Custodian(current, open_store(current.now, on_commit=wake))
    peer = BusPeer(current.now.bus_socket, CUSTODIAN, custodian.handlers)
    await peer.start()
    running = asyncio.create_task(custodian.run(), name="custodian")
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running], timeout=1.0)
        await peer.close()


def _answer(login: ManagedLogin) -> Payload:
    return {
        "id": login.id,
        "login": login.login,
        "member_of": login.member_of,
        "sealed": login.sealed_secret.hex(),
        "version": login.version,
    }


def _refusal(rule: str, message: str, hint: str = "") -> Payload:
    return {"rule": rule, "message": message, "hint": hint}
