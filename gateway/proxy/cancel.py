"""Cancelling what runs upstream: PostgreSQL's own way, over a connection of its own to the very same server."""

import asyncio
import contextlib
from typing import Final

import structlog

from gateway.proxy.upstream import Place, connect
from gateway.wire.startup import build_cancel

_TIMEOUT_SECONDS: Final = 5.0
_log: Final = structlog.stdlib.get_logger("gateway.cancel")


class _UntilClosed(asyncio.Protocol):
    def __init__(self) -> None:
        self.closed = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


class UpstreamCancel:
    """Of one session. At most one request is on its way; more while it is add nothing."""

    __slots__ = ("_key", "_place", "_process_id", "_task")

    def __init__(self, place: Place, process_id: int, key: bytes) -> None:
        self._place = place
        self._process_id = process_id
        self._key = key
        self._task: asyncio.Task[None] | None = None

    def request(self) -> None:
        if self._key and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._send(), name="upstream-cancel")

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
