"""The clerk: writes into the store what workers are asked for by people in their sessions, who logged in last, and what was
sent on a day.

A peer on the supervisor's own bus, so that workers change nothing by themselves: what a person may change of their own goes
through the services like everything else, in the supervisor's process.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, Protocol

import structlog

from gateway.bus.lines import ALL, CLERK, DENIED_STATEMENT, WORKER, Handler, Message, Payload
from gateway.bus.peer import BusPeer
from gateway.ports import Store
from gateway.secret import Secret
from gateway.services.errors import ServiceError
from gateway.services.users import set_own_verifier
from gateway.settings import Settings
from gateway.store import open_store
from gateway.store.errors import StoreError
from gateway.supervision.day_ledger import DayLedger, SentStore
from gateway.supervision.request_desk import RequestDesk

_WRITE_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 1.0
_FIND_SECONDS: Final = 2.0
_CHANGES: Final = 5  # of one person's password ...
_CHANGES_SECONDS: Final = 60.0  # ... within this time: each has every process load all rights anew
_MOST_PEOPLE: Final = 10_000
_log: Final = structlog.stdlib.get_logger("gateway.clerk")


class LoginStore(Store, SentStore, Protocol):
    """A store that keeps who logged in last, and what was sent on a day."""

    async def record_logins(self, logins: Mapping[str, datetime]) -> None: ...


class Clerk:
    """`handlers` are those of its peer."""

    def __init__(self, store: LoginStore) -> None:
        self._store = store
        self._logins: dict[str, datetime] = {}
        self._days = DayLedger(store)
        self._changes: dict[str, list[float]] = {}

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {"own-password": self._own_password, "logged-in": self._logged_in, "sent": self._days.sent}

    async def keep_writing(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """What has come since the last time. What the store does not take now, it is given again."""
        await self._days.write()
        logins, self._logins = self._logins, {}
        if not logins:
            return
        try:
            await self._store.record_logins(logins)
        except StoreError as error:
            self._logins = {**logins, **self._logins}
            _log.warning("last logins not written: later", reason=str(error))

    def _logged_in(self, message: Message) -> None:
        for user_id, at in message.payload.items() if message.sender.startswith(WORKER) else ():
            self._logins[user_id] = datetime.fromisoformat(str(at))

    async def _own_password(self, message: Message) -> Payload:
        match message.payload:
            case {
                "session": str(session),
                "user_id": str(user_id),
                "user": str(name),
                "credential_version": int(version),
                "verifier": str(verifier),
            } if message.sender.startswith(WORKER):
                pass
            case _:
                return _refusal("malformed", "the gateway does not understand itself")
        if self._too_often(user_id, time.monotonic()):
            return _refusal("own-password-too-often", "your password was changed too often", "Try again in a minute.")
        try:
            await set_own_verifier(
                self._store,
                user_id=user_id,
                credential_version=version,
                verifier=Secret(verifier),
                actor=f"user:{name}",
                reason=f"in session {session}",
            )
        except ServiceError as refused:
            return _refusal(refused.rule, refused.message, refused.hint)
        except StoreError as error:
            _log.error("a person's own password could not be changed", user=name, reason=str(error))
            return _refusal("store-unavailable", "the gateway cannot change your password now", "Try again in a moment.")
        return {}

    def _too_often(self, user_id: str, now: float) -> bool:
        if len(self._changes) >= _MOST_PEOPLE:
            self._changes.clear()
        recent = [at for at in self._changes.get(user_id, ()) if now - at < _CHANGES_SECONDS]
        self._changes[user_id] = recent
        if len(recent) >= _CHANGES:
            return True
        recent.append(now)
        return False


@asynccontextmanager
async def clerk_at_work(settings: Settings) -> AsyncIterator[None]:
    """On the bus, until the block is left. It comes when the hub does."""

    def wake(_revision: int) -> None:
        peer.send(ALL, "wake", {})

    async def find_denied(code: str, user_id: str) -> Payload | None:
        found = await peer.gather(DENIED_STATEMENT, {"code": code, "user_id": user_id}, _FIND_SECONDS)
        return found[0] if found else None

    store = open_store(settings, on_commit=wake)
    clerk = Clerk(store)
    peer = BusPeer(settings.bus_socket, CLERK, {**clerk.handlers, **RequestDesk(store, find_denied).handlers})
    await peer.start()
    writing = asyncio.create_task(clerk.keep_writing(), name="clerk")
    try:
        yield
    finally:
        writing.cancel()
        await peer.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(clerk.write(), _LAST_SECONDS)


def _refusal(rule: str, message: str, hint: str = "") -> Payload:
    return {"rule": rule, "message": message, "hint": hint}
