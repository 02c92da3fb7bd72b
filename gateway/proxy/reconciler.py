"""Every way in which a right ends is one path: ask `authorize` again for each session, and end those it denies.

Changes of the store come as new snapshots, within a bus message's time or a poll's; the ends of grants come by the clock. A right
is never lengthened by a clock that jumps: sessions keep a monotonic deadline beside the wall-clock one.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from gateway.access.model import Denial, Snapshot
from gateway.ports import Directory
from gateway.proxy.registry import Registry, Session
from gateway.settings import CurrentSettings

_TICK_SECONDS: Final = 0.2
_PROBE_TICKS: Final = 3
_ATTEND_TICKS: Final = 5
_SESSIONS_PER_TURN: Final = 100  # then others may use the event loop

_STALE: Final = Denial(
    "store-stale", "57P01", "the gateway cannot reach its store, so that it no longer knows your rights", "Try again later."
)
_UNDECIDED: Final = Denial("undecided", "57P01", "the gateway could not decide whether you may stay", "Connect again.")
_log: Final = structlog.stdlib.get_logger("gateway.reconciler")


class Reconciler:
    def __init__(self, registry: Registry, directory: Directory, current: CurrentSettings) -> None:
        self._registry = registry
        self._directory = directory
        self._current = current
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, failed: Callable[[], None]) -> None:
        """`failed` is called if this ever stops by itself: then rights would no longer end, and the worker has to."""
        self._directory.subscribe(self._hear)
        self._tasks = [
            asyncio.create_task(self._follow_changes(), name="reconcile-changes"),
            asyncio.create_task(self._follow_clock(), name="reconcile-clock"),
        ]
        for task in self._tasks:
            task.add_done_callback(lambda task: None if task.cancelled() else failed())

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def ask_again(self) -> None:
        """Something that rights or policies hang on has changed."""
        self._changed.set()

    def _hear(self, _snapshot: Snapshot) -> None:
        self._changed.set()

    def _too_stale(self) -> bool:
        """Nobody can tell any more who may stay, and it is set that then nobody does."""
        store = self._current.now.store
        return store.on_stale == "end" and self._directory.stale_for_seconds > store.end_after_seconds

    async def _follow_changes(self) -> None:
        """A change during a pass starts another one: who was asked before it must be asked again."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for number, session in enumerate(list(self._registry.sessions.values()), 1):
                _ask_again(session)
                if number % _SESSIONS_PER_TURN == 0:
                    await asyncio.sleep(0)

    async def _follow_clock(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            ticks += 1
            stale = self._too_stale()
            for number, session in enumerate(list(self._registry.sessions.values()), 1):
                if stale:
                    session.terminate(_STALE)
                elif session.is_due:
                    _ask_again(session)
                if ticks % _ATTEND_TICKS == 0:
                    _attend(session)
                if ticks % _PROBE_TICKS == 0:
                    session.probe()
                if number % _SESSIONS_PER_TURN == 0:
                    await asyncio.sleep(0)


def _attend(session: Session) -> None:
    try:
        session.attend()
    except Exception:
        _log.exception("a session's limits could not be looked after", session=session.session_id)
        session.terminate(_UNDECIDED)


def _ask_again(session: Session) -> None:
    """What cannot be decided is no: a fault in asking about one session ends that one, and the others are asked."""
    try:
        session.reconcile()
    except Exception:
        _log.exception("a session's rights could not be decided", session=session.session_id)
        session.terminate(_UNDECIDED)
