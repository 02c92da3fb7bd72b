"""One place at which a process is always at work: started again when it crashes, replaced without a gap when it is asked for.

A successor is started beside the one it replaces and takes its place when it is ready; then the former one retires. So a program
that does not start any more (a broken upgrade) changes nothing.
"""

import asyncio
import contextlib
import math
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import structlog

from gateway.supervision.child import Child

_RESTART_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_LONGEST_AFTER_WORK_SECONDS: Final = 0.5  # of one that was ready: clients wait in its queue
_STEADY_SECONDS: Final = 10.0  # one that lived as long is restarted at once
_START_SECONDS: Final = 120.0  # of a successor: the one before it serves, and one that is broken ends
_log: Final = structlog.stdlib.get_logger("gateway.supervision")


Start: TypeAlias = Callable[[Child | None], Awaitable[Child]]


class Post:
    """`start` makes a child: as the one before it (after a crash), or beside it (as its successor).

    `gone` is called with each child when its process has ended.
    """

    def __init__(
        self,
        name: str,
        start: Start,
        gone: Callable[[Child], None],
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self.current: Child | None = None
        self.quick_deaths = 0
        self.last_status = 0
        self._start = start
        self._gone = gone
        self._changed = changed
        self._switched = asyncio.Event()
        self._coming: Child | None = None
        self._leaving: dict[Child, asyncio.Task[None]] = {}
        self._filling = asyncio.Lock()  # by one at a time: a crash may come in the middle of a replacement
        self._stopping = False

    @property
    def ready(self) -> bool:
        return self.current is not None and self.current.ready.is_set() and self.current.alive

    @property
    def children(self) -> list[Child]:
        """All that are alive, those that are coming or leaving too."""
        return [child for child in (self.current, self._coming, *self._leaving) if child is not None and child.alive]

    async def keep(self) -> None:
        """Until `stop`. Someone is always at work here, or about to be."""
        former: Child | None = None
        while not self._stopping:
            started_at = time.monotonic()
            if self.current is None and not await self._begin(former):
                continue
            child = self.current
            if child is None or not await self._watch(child):
                continue
            if self._stopping:
                return
            self.last_status = child.ended.result()
            _log.error("process ended", name=child.name, status=self.last_status)
            self.current, former = None, child
            self.quick_deaths = 0 if time.monotonic() - started_at > _STEADY_SECONDS else self.quick_deaths + 1
            self._changed()
            await self._pause(_LONGEST_AFTER_WORK_SECONDS if child.ready.is_set() else math.inf)

    async def replace(self, patience_seconds: float) -> bool:
        """A successor now; False: it did not get ready, and the former one goes on. `patience_seconds`: to retire in."""
        async with self._filling:
            successor = await self._successor()
            if successor is None:
                return False
            former, self.current = self.current, successor
        self._switched.set()
        self._changed()
        if former is not None and former.alive:
            former.retire()
            self._leaving[former] = asyncio.create_task(self._see_off(former, patience_seconds), name=f"{former.name} leaves")
        return True

    async def _successor(self) -> Child | None:
        try:
            successor = self._coming = await self._start(None)
        except OSError as error:
            _log.error("process not started", name=self.name, reason=error.strerror)
            return None
        try:
            ready = await successor.until_ready(_START_SECONDS, unless=self.current)
        except asyncio.CancelledError:  # the gateway ends
            self._dismiss(successor)
            raise
        finally:
            self._coming = None
        needed = self.current is None or not self.current.alive  # at once, then: no other would be there sooner
        if not self._stopping and successor.alive and (ready or needed):
            return successor
        _log.error("the successor does not get ready: the former one stays", name=self.name, successor=successor.name)
        await self._dismiss(successor)
        return None

    def _dismiss(self, successor: Child) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._see_off(successor, 0.0), name=f"{successor.name} is dismissed")
        self._leaving[successor] = task
        return task

    def stop(self) -> None:
        self._stopping = True
        self._switched.set()

    async def ended(self) -> None:
        """All of this post's processes are gone."""
        await asyncio.gather(*(child.ended for child in self.children), *self._leaving.values(), return_exceptions=True)

    async def _begin(self, former: Child | None) -> bool:
        async with self._filling:
            if self.current is not None or self._stopping:  # it was replaced while it died
                return self.current is not None
            try:
                self.current = await self._start(former)
            except OSError as error:  # no memory or no process left: later
                _log.error("process not started", name=self.name, reason=error.strerror)
        if self.current is None:
            self.quick_deaths += 1
            await self._pause()
            return False
        if self._stopping:  # while it was being started
            self.current.signal(signal.SIGTERM)
        return True

    async def _watch(self, child: Child) -> bool:
        """Whether it ended; False: another took its place."""
        getting_ready = asyncio.create_task(child.ready.wait())
        getting_ready.add_done_callback(lambda task: None if task.cancelled() else self._changed())
        while True:
            self._switched.clear()
            switched = asyncio.create_task(self._switched.wait())
            await asyncio.wait([child.ended, switched], return_when=asyncio.FIRST_COMPLETED)
            switched.cancel()
            if child.ended.done():
                getting_ready.cancel()
                if child not in self._leaving:
                    self._end(child)
                return self.current is child
            if self.current is not child:
                return False

    async def _see_off(self, former: Child, patience_seconds: float) -> None:
        await asyncio.wait([former.ended], timeout=patience_seconds)
        if former.alive:
            if patience_seconds:
                _log.warning("killed: it did not retire in time", name=former.name)
            former.signal(signal.SIGKILL)
        await former.ended
        self._end(former)
        del self._leaving[former]

    def _end(self, child: Child) -> None:
        child.close()
        self._gone(child)

    async def _pause(self, longest: float = math.inf) -> None:
        if not self._stopping:
            self._switched.clear()
            seconds = min(_RESTART_SECONDS[min(self.quick_deaths, len(_RESTART_SECONDS) - 1)], longest)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._switched.wait(), seconds)
