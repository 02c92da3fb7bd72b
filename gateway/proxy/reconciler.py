"""Every way in which a right ends is one path: ask `authorize` again for each session, and end those it denies.

Changes of the store come as new snapshots, within a bus message's time or a poll's; the ends of grants come by the clock. A right
is never lengthened by a clock that jumps: sessions keep a monotonic deadline beside the wall-clock one.
"""

import asyncio
from typing import Final

from gateway.access.model import Denial, Snapshot
from gateway.ports import Directory
from gateway.proxy.registry import Registry

_TICK_SECONDS: Final = 0.2
_PROBE_TICKS: Final = 3
_STALE_FACTOR: Final = 3

_STALE: Final = Denial(
    "store-stale", "57P01", "the gateway cannot reach its store, so that it no longer knows your rights", "Try again later."
)


class Reconciler:
    def __init__(self, registry: Registry, directory: Directory, stale_after_seconds: float) -> None:
        self._registry = registry
        self._directory = directory
        self._stale_after = stale_after_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._directory.subscribe(self._changed)
        self._task = asyncio.create_task(self._run(), name="reconciler")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _changed(self, _snapshot: Snapshot) -> None:
        for session in list(self._registry.sessions.values()):
            session.reconcile()

    async def _run(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            ticks += 1
            stale = self._directory.stale_for_seconds > _STALE_FACTOR * self._stale_after
            for session in list(self._registry.sessions.values()):
                if stale:
                    session.terminate(_STALE)
                elif (lease := session.lease) is not None and lease.valid_until is not None:
                    session.reconcile()
                if ticks % _PROBE_TICKS == 0:
                    session.probe()
