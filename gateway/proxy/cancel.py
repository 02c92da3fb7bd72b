"""Cancelling what runs upstream, PostgreSQL's own way: over a connection of its own to the very same server.

A cancel says nothing about which statement it means, and none when it comes too early: a backend that has not begun to read its
Query forgets it. So what a client cancels is cancelled again while the very same statement runs (`insist`), and when a client is
gone, `see_off` cancels until the backend is gone too.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from gateway.proxy.upstream import Place, connect
from gateway.wire.startup import build_cancel

_TIMEOUT_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_PAUSES_SECONDS: Final = (0.25, 0.5, 0.5, 0.5, 1.0, 1.0, 2.0, 5.0, 10.0)
_log: Final = structlog.stdlib.get_logger("gateway.cancel")


class _UntilClosed(asyncio.Protocol):
    def __init__(self) -> None:
        self.closed = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


class UpstreamCancel:
    """Of one session. At most one request is on its way; more while it is add nothing."""

    __slots__ = ("_departure", "_insisting", "_key", "_meant", "_place", "_process_id", "_stopping", "_task")

    def __init__(self, place: Place, process_id: int, key: bytes) -> None:
        self._place = place
        self._process_id = process_id
        self._key = key
        self._task: asyncio.Task[None] | None = None
        self._departure: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._insisting: asyncio.Task[None] | None = None
        self._meant: object | None = None  # the statement that is insisted on

    def see_off(self, upstream: asyncio.Transport, lost: asyncio.Event) -> None:
        """Nobody waits for what runs there: cancel it, and again, until upstream closed the connection (`lost` is set).

        The transport must be reading and its session discarding, so that the backend is not stuck in sending rows.
        """
        self._departure = asyncio.create_task(self._see_off(upstream, lost), name="upstream-departure")

    async def _see_off(self, upstream: asyncio.Transport, lost: asyncio.Event) -> None:
        try:
            for pause in _PAUSES_SECONDS:
                self.request()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(lost.wait(), pause)
                    return
        finally:
            upstream.abort()

    def stop(self, answered: asyncio.Event, then: Callable[[], None]) -> None:
        """Cancel what runs, and again, until it is `answered`; call `then` when no request is on its way any more.

        Its session must hold what comes next until then, which a cancel would hit as well.
        """
        self._stopping = asyncio.create_task(self._stop(answered, then), name="upstream-stop")

    async def _stop(self, answered: asyncio.Event, then: Callable[[], None]) -> None:
        while not answered.is_set():
            self.request()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), _AGAIN_SECONDS)
        if self._task is not None:
            await asyncio.wait([self._task])
        then()

    def request(self) -> None:
        if self._key and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._send(), name="upstream-cancel")

    def insist(self, statement: object | None, running: Callable[[], object | None]) -> None:
        """Cancel `statement`, and again, later each time, while it is what is `running`; of None (only definitions) once."""
        insisting = self._insisting is not None and not self._insisting.done()
        if statement is None or (insisting and self._meant is statement):
            self.request()
            return
        if self._insisting is not None:
            self._insisting.cancel()
        self._meant = statement
        self._insisting = asyncio.create_task(self._insist(statement, running), name="upstream-insist")

    async def _insist(self, statement: object, running: Callable[[], object | None]) -> None:
        if self._task is not None and not self._task.done():  # it may have hit what ran before, and this must not be forgotten
            await asyncio.wait([self._task])
        pause = _AGAIN_SECONDS
        while running() is statement:
            self.request()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _send(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                try:
                    transport, waiting = await connect(self._place, _UntilClosed)
                except OSError as error:
                    _log.warning("upstream cannot be reached for a cancel", error=str(error))
                    return
                try:
                    transport.write(build_cancel(self._process_id, self._key))
                    await waiting.closed  # the server closes once it has signalled the backend
                finally:
                    transport.abort()
