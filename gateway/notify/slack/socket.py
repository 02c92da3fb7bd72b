"""Socket Mode: a WebSocket that we open, over which Slack sends what people do. It comes back by itself."""

import asyncio
import contextlib
from typing import Final

import structlog
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp

from gateway.notify.slack.quiet import quiet_logger
from gateway.secret import Secret

PING_SECONDS: Final = 10.0
_MOST_AWAY: Final = 3  # looks in a row
_log: Final = structlog.stdlib.get_logger("slack")


class SocketMode:
    """`start` begins to connect and returns; while Slack cannot be reached, it is tried again and again.

    The library reconnects by itself, but holds on to an address that Slack has given it, although that is good for a moment only.
    So a connection that stays away is begun anew.
    """

    def __init__(self, app: AsyncApp, token: Secret, ping_seconds: float = PING_SECONDS) -> None:
        self._app = app
        self._token = token
        self._ping_seconds = ping_seconds
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._running = asyncio.create_task(self._keep(), name="slack socket")

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running

    async def _keep(self) -> None:
        while True:
            handler = AsyncSocketModeHandler(
                self._app, self._token.reveal(), logger=quiet_logger("socket"), ping_interval=self._ping_seconds
            )
            try:
                await self._watch(handler)
            finally:
                await handler.client.close()  # type: ignore[no-untyped-call]

    async def _watch(self, handler: AsyncSocketModeHandler) -> None:
        """Until the connection has been away for too long."""
        connecting = asyncio.create_task(handler.client.connect())  # type: ignore[no-untyped-call]
        connected, away = False, 0
        try:
            while away < _MOST_AWAY:
                await asyncio.sleep(self._ping_seconds)
                is_connected = await handler.client.is_connected()
                away = 0 if is_connected else away + 1
                if is_connected != connected:
                    connected = is_connected
                    _log.info("connected to Slack" if connected else "not connected to Slack")
        finally:
            connecting.cancel()
