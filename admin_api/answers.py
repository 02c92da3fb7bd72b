"""The outermost layer: security headers on every answer, and an answer for what nobody foresaw."""

import asyncio
import contextlib
import secrets
import traceback
from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.counts import ApiCounts
from admin_api.problems import problem

_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_LINGER_SECONDS: Final = 2.0
_HSTS: Final = ("Strict-Transport-Security", "max-age=31536000")

_log: Final = structlog.stdlib.get_logger("admin_api")


def security_headers(*, secure: bool) -> tuple[tuple[str, str], ...]:
    """Of every answer. `secure`: it goes over TLS."""
    return (*_HEADERS, _HSTS) if secure else _HEADERS


class Answers:
    """An exception is logged under an incident number; whoever asked gets the number and nothing else."""

    def __init__(self, app: ASGIApp, counts: ApiCounts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # There are no WebSockets here. Lifespan events go on.
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1003})
                return
            await self._app(scope, receive, send)
            return
        started = False
        unread = _Unread(scope, receive)

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in security_headers(secure=scope["scheme"] == "https"):
                    headers[name] = value
                self._counts.answered(scope["method"], message["status"])
            elif unread.waiting and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await unread.drain()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        try:
            await self._app(scope, unread.receive, guarded)
        except Exception as error:
            incident = secrets.token_hex(8)
            # As text: renderers of exceptions like to show local variables, and those hold tokens and passwords.
            trace = "".join(traceback.format_exception(error))
            _log.error("a request failed", incident=incident, method=scope["method"], started=started, traceback=trace)
            if started:
                raise
            hint = "Give this incident's id to the operator."
            answer = problem(500, "internal-error", "something went wrong here", hint, incident=incident)
            await answer(scope, unread.receive, guarded)


class _Unread:
    """What of a request's body nobody has read. To close over it would reset the connection, and the answer might never arrive."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        names = {name for name, _ in scope["headers"]}
        self.waiting = b"content-length" in names or b"transfer-encoding" in names
        self._receive = receive

    async def receive(self) -> Message:
        message = await self._receive()
        self.waiting = self.waiting and message["type"] == "http.request" and bool(message.get("more_body", False))
        return message

    async def drain(self) -> None:
        """Read on for a moment and keep nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while self.waiting:
                    await self.receive()
