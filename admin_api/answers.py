"""The outermost layer: security headers on every answer, and an answer for what nobody foresaw."""

import secrets
import traceback
from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.metrics import ApiCounts
from admin_api.problems import problem

_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_HSTS: Final = ("Strict-Transport-Security", "max-age=31536000")

_log: Final = structlog.stdlib.get_logger("admin_api")


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

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS:
                    headers[name] = value
                if scope["scheme"] == "https":
                    headers[_HSTS[0]] = _HSTS[1]
                self._counts.answered(scope["method"], message["status"])
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except Exception as error:
            incident = secrets.token_hex(8)
            # As text: renderers of exceptions like to show local variables, and those hold tokens and passwords.
            trace = "".join(traceback.format_exception(error))
            _log.error("a request failed", incident=incident, method=scope["method"], started=started, traceback=trace)
            if started:
                raise
            hint = "Give this incident's id to the operator."
            answer = problem(500, "internal-error", "something went wrong here", hint, incident=incident)
            await answer(scope, receive, guarded)
