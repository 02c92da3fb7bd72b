"""HTTP/1.1 connections with limits of their own: from where, how many, and how long a request's head may take.

What is refused here was never a request; the answer is written by hand, with the same headers as any other.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from admin_api.admission import Allowed, canonical_peer
from admin_api.answers import security_headers
from admin_api.problems import PROBLEM_TYPE, problem

MAX_CONNECTIONS: Final = 512
HEAD_SECONDS: Final = 10.0
_LINGER_SECONDS: Final = 0.5


def guarded(allowed: Allowed, max_connections: int = MAX_CONNECTIONS, head_seconds: float = HEAD_SECONDS) -> type[H11Protocol]:
    """The protocol class to give to uvicorn."""

    class Guarded(H11Protocol):
        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],  # uvicorn's own signature
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            self._deadline: asyncio.TimerHandle | None = None
            self._refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            address = canonical_peer(self.client)
            if address is None or not allowed(address, datetime.now(UTC)):
                self._refuse(403, "address-not-admitted", "this address may not use the admin API")
            elif len(self.connections) > max_connections:
                self._refuse(503, "too-many-connections", "there are too many connections")
            else:
                self._arm()

        def data_received(self, data: bytes) -> None:
            if self._refused or self.transport.is_closing():
                return
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._disarm()
            elif self._deadline is None:
                self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, "request-unreadable", "this is no HTTP/1.1 request")

        def _arm(self) -> None:
            self._deadline = self.loop.call_later(head_seconds, self._too_slow)

        def _disarm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_slow(self) -> None:
            self._deadline = None
            if not self.transport.is_closing():
                self._refuse(408, "request-too-slow", f"the request's head did not arrive within {head_seconds:g} s")

        def _refuse(self, status: int, rule: str, text: str) -> None:
            """What still comes is not looked at; but to close over it would reset the connection under our answer."""
            self._refused = True
            self._disarm()
            self.transport.write(_written(status, rule, text, secure=self.scheme == "https"))
            self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    return Guarded


def _written(status: int, rule: str, text: str, *, secure: bool) -> bytes:
    answer = problem(status, rule, text)
    headers = [*security_headers(secure=secure), ("Content-Type", PROBLEM_TYPE), ("Connection", "close")]
    headers.append(("Content-Length", str(len(answer.body))))
    lines = [f"HTTP/1.1 {status} Refused", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + bytes(answer.body)
