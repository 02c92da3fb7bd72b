"""Looking after managed logins: whenever the store changes, and whenever a right ends by the clock, each that asks for it."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Final

import structlog

from gateway.access.managed import ManagedLogin, ManagedMode, ManagedState
from gateway.access.managed_rights import Behind, Rights
from gateway.access.model import Snapshot, Target
from gateway.custody.upstream_admin import UpstreamAdminError
from gateway.ports import Directory
from gateway.services.errors import ServiceError
from gateway.services.managed_rows import SYSTEM
from gateway.services.managed_sweep import drop_orphans
from gateway.services.managed_work import ManagedWork, Next
from gateway.store.errors import StoreError
from gateway.store.sql_store import SqlStore

_IDLE_SECONDS: Final = 60.0
_DONE_SECONDS: Final = 0.2  # until the snapshot shows it
_SOON_SECONDS: Final = 0.3
_LATER_SECONDS: Final = 5.0  # then twice as long, and so on
_LONGEST_SECONDS: Final = 300.0
_MOST_DOUBLINGS: Final = 10
_PATIENCE_SECONDS: Final = 5.0  # sessions have so long to end by themselves
_HALF_MADE_SECONDS: Final = 20.0  # whoever makes one is done by then, or gone
_ORPHANS_SECONDS: Final = 3600.0
_AT_ONCE: Final = 2  # on one target
_log: Final = structlog.stdlib.get_logger("gateway.custodian")


class ManagedRounds:
    """`keep` is for good. All times but rights' ends are of the monotonic clock."""

    def __init__(self, directory: Directory, store: SqlStore, work: ManagedWork) -> None:
        self._directory = directory
        self._store = store
        self._work = work
        self._changed = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}  # by id of a login, or of a target whose orphans are looked for
        self._not_before: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._since: dict[tuple[str, ManagedState], float] = {}  # seen in this state
        self._turns: dict[str, asyncio.Semaphore] = {}

    async def keep(self) -> None:
        self._directory.subscribe(self._hear)
        try:
            while True:
                self._changed.clear()
                seconds = self._look(self._directory.snapshot)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), max(seconds, 0.01))
        finally:
            for task in self._running.values():
                task.cancel()

    def _hear(self, _snapshot: Snapshot) -> None:
        self._changed.set()

    def _look(self, snapshot: Snapshot) -> float:
        """Begin what there is to do now. How long until there may be more, in seconds."""
        now, clock = datetime.now(UTC), time.monotonic()
        rights, wait = Rights(snapshot), _IDLE_SECONDS
        for login in snapshot.managed_logins:
            target, behind = rights.target(login), rights.still(login, now)
            if target is None:
                continue
            if behind is not None and behind.until is not None:
                wait = min(wait, (behind.until - now).total_seconds())
            due = self._due_at(login, behind, clock)
            if due is not None and due <= clock:
                self._begin(login.id, target, self._attend(target, login, behind))
            elif due is not None:
                wait = min(wait, due - clock)
        for target in _managed(snapshot):
            if self._not_before.get(target.id, 0.0) <= clock:
                self._begin(target.id, target, self._drop_orphans(target))
        self._forget({login.id for login in snapshot.managed_logins})
        return wait

    def _due_at(self, login: ManagedLogin, behind: Behind | None, clock: float) -> float | None:
        """None: it is as it should be."""
        since = self._since.setdefault((login.id, login.state), clock)
        ending = behind is None or login.state in (ManagedState.DROPPING, ManagedState.KEPT)
        if login.state is ManagedState.CREATING and not ending:
            return max(self._not_before.get(login.id, 0.0), since + _HALF_MADE_SECONDS)
        if ending or (behind is not None and login.valid_until != behind.until):
            return self._not_before.get(login.id, 0.0)
        return None

    def _begin(self, key: str, target: Target, work: Coroutine[object, object, float]) -> None:
        if key in self._running:
            work.close()
            return
        self._running[key] = asyncio.create_task(self._do(key, target, work), name=f"managed {key}")

    async def _do(self, key: str, target: Target, work: Coroutine[object, object, float]) -> None:
        turns = self._turns.setdefault(target.id, asyncio.Semaphore(_AT_ONCE))
        try:
            async with turns:
                pause = await work
        except (StoreError, UpstreamAdminError, ServiceError) as error:
            _log.warning("managed logins could not be looked after", target=target.name, reason=str(error))
            pause = self._later(key)
        except Exception:
            _log.exception("managed logins could not be looked after", target=target.name)
            pause = self._later(key)
        finally:
            work.close()
            self._running.pop(key, None)
        self._not_before[key] = time.monotonic() + pause
        self._directory.wake()
        self._changed.set()

    async def _attend(self, target: Target, login: ManagedLogin, behind: Behind | None) -> float:
        ending_since = self._since.get((login.id, ManagedState.DROPPING), time.monotonic())
        patient = time.monotonic() - ending_since < _PATIENCE_SECONDS
        match await self._work.attend(target, login, behind, end_sessions=not patient):
            case Next.NOTHING:
                self._failures.pop(login.id, None)
                return _DONE_SECONDS
            case Next.SOON:
                return _SOON_SECONDS
            case Next.LATER:
                return self._later(login.id)

    async def _drop_orphans(self, target: Target) -> float:
        server = await self._work.server_of(target)
        for orphan in await drop_orphans(self._store, server, target, by=SYSTEM, reason="no row of the store"):
            _log.warning(
                "an orphaned login role", target=target.name, login=orphan.login, left=orphan.left, reason=orphan.reason
            )
        return _ORPHANS_SECONDS

    def _later(self, key: str) -> float:
        failures = self._failures[key] = min(self._failures.get(key, 0) + 1, _MOST_DOUBLINGS)
        return min(_LATER_SECONDS * 2.0 ** (failures - 1), _LONGEST_SECONDS)

    def _forget(self, known: set[str]) -> None:
        """Logins that are gone. (Targets are few.)"""
        for key in [key for key in self._since if key[0] not in known]:
            del self._since[key]
            self._not_before.pop(key[0], None)
            self._failures.pop(key[0], None)


def _managed(snapshot: Snapshot) -> list[Target]:
    holding = {login.key.target_id for login in snapshot.managed_logins}
    return [each for each in snapshot.targets.values() if each.managed is not ManagedMode.OFF or each.id in holding]
