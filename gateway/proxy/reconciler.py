"""Every way in which a right ends is one path: ask `authorize` again for each session, and end those it denies.

Changes of the store come as new snapshots, within a bus message's time or a poll's; the ends of grants come by the clock. A right
is never lengthened by a clock that jumps: `rights_clock` does not go back, and sessions keep a monotonic deadline, too.

Thousands are asked a millisecond at a time. Meanwhile nothing passes of those that were not asked yet: see `Registry.unasked`.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.access.model import Denial, Snapshot
from gateway.ports import Directory
from gateway.proxy import rights_clock
from gateway.proxy.registry import Registry
from gateway.proxy.turns import in_turns
from gateway.settings import CurrentSettings

_TICK_SECONDS: Final = 0.2
_PROBE_TICKS: Final = 3
_ATTEND_TICKS: Final = 5

_STALE: Final = Denial(
    "store-stale", "57P01", "the gateway cannot reach its store, so that it no longer knows your rights", "Try again later."
)


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
        self._registry.suspect_all()
        self._changed.set()

    def _hear(self, _snapshot: Snapshot) -> None:
        self.ask_again()

    def _too_stale(self) -> bool:
        """Nobody can tell any more who may stay, and it is set that then nobody does."""
        store = self._current.now.store
        return store.on_stale == "end" and self._directory.stale_for_seconds > store.end_after_seconds

    async def _follow_changes(self) -> None:
        """A change during a round starts another one: who was asked before it must be asked again."""
        registry = self._registry
        while True:
            await self._changed.wait()
            self._changed.clear()
            async for session in in_turns(list(registry.unasked.values())):
                if session.session_id in registry.unasked:  # else it had something to say, and was asked then
                    registry.ask(session)

    async def _follow_clock(self) -> None:
        registry, ticks = self._registry, 0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            ticks += 1
            more = True
            while more:
                more = registry.suspect_due(rights_clock.now())
                if registry.unasked:
                    self._changed.set()
                if more:
                    await asyncio.sleep(0)
            if self._too_stale():
                async for session in in_turns(list(registry.sessions.values())):
                    session.terminate(_STALE)
            if ticks % _ATTEND_TICKS == 0:
                async for session in in_turns(list(registry.attended.values())):
                    registry.attend(session)
            if ticks % _PROBE_TICKS == 0:
                async for session in in_turns(list(registry.gated.values())):
                    session.probe()
