"""What a request may bring: how much, in which time, of which kind. The whole body is read here, before any route runs."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_api.admission import ACTOR_KEY
from admin_api.problems import problem

READ_SECONDS: Final = 20.0
"""For the whole body: an administrator's is small."""

_CLOSE: Final = {"Connection": "close"}
_JSON: Final = b"application/json"
_FORM: Final = b"application/x-www-form-urlencoded"


class Bodies:
    """`forms`: paths where a body may be a form, too."""

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: Callable[[], int],
        read_seconds: float = READ_SECONDS,
        forms: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._forms = forms
        self._max_bytes = max_bytes
        self._read_seconds = read_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or ACTOR_KEY in scope:
            # A command's own body does not come from anywhere.
            await self._app(scope, receive, send)
            return
        body = await self._read(scope, receive)
        if isinstance(body, Response):
            await body(scope, receive, send)
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | Response:
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > self._max_bytes()):
            return self._too_large()
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            return problem(415, "body-type-unsupported", "compressed bodies are not accepted", headers=_CLOSE)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._read_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return problem(400, "request-unreadable", "the request ended early", headers=_CLOSE)
                    part = message.get("body", b"")
                    size += len(part)
                    if size > self._max_bytes():
                        return self._too_large()
                    parts.append(part)
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            return problem(408, "body-too-slow", f"the body did not arrive within {self._read_seconds:g} s", headers=_CLOSE)
        kinds = {_JSON, _FORM} if scope["path"] in self._forms else {_JSON}
        if size and headers.get(b"content-type", b"").split(b";")[0].strip().lower() not in kinds:
            return problem(415, "body-type-unsupported", "a body must be application/json", headers=_CLOSE)
        return b"".join(parts)

    def _too_large(self) -> Response:
        return problem(413, "body-too-large", f"a body has at most {self._max_bytes()} bytes", headers=_CLOSE)
