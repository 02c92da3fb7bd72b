"""The admin API's application, asked in this process: no socket, no server, and streams that really stream."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlencode

from gateway.cli.client import Request, Response
from gateway.store.errors import StoreError

Message: TypeAlias = MutableMapping[str, Any]  # the ASGI specification's own type
Application: TypeAlias = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_HOST: Final = b"localhost"


class InProcess:
    """Implements client.Transport. `failures` holds what the store said, which the application keeps from the network."""

    def __init__(self, app: Application, failures: list[StoreError], close: Callable[[], Awaitable[None]]) -> None:
        self._app = app
        self.close = close
        self._failures = failures

    async def send(self, request: Request) -> Response:
        async with self.stream(request) as (response, pieces):
            body = b"".join([piece async for piece in pieces])
        if response.status >= 500 and self._failures:
            raise self._failures[-1]
        return Response(response.status, response.headers, body)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[tuple[Response, AsyncIterator[bytes]]]:
        exchange = _Exchange(request)
        task = asyncio.create_task(exchange.run(self._app))
        try:
            yield await exchange.started(), exchange.pieces()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class _Exchange:
    """One request and its response, as ASGI messages."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._asked = False
        self._answers: asyncio.Queue[Message | Exception] = asyncio.Queue()

    async def run(self, app: Application) -> None:
        try:
            await app(self._scope(), self._receive, self._answers.put)
        except Exception as error:  # is the command's, which stands at the other end of the queue
            await self._answers.put(error)
        await self._answers.put({"type": "http.response.body", "body": b"", "more_body": False})

    async def started(self) -> Response:
        message = await self._next()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]}
        return Response(message["status"], headers, b"")

    async def pieces(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._next()
            if body := message.get("body", b""):
                yield body
            if not message.get("more_body", False):
                return

    async def _next(self) -> Message:
        message = await self._answers.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def _receive(self) -> Message:
        if self._asked:
            await asyncio.Event().wait()  # nobody hangs up but by cancelling the task
        self._asked = True
        return {"type": "http.request", "body": self._request.body, "more_body": False}

    def _scope(self) -> Message:
        request = self._request
        headers = {"host": _HOST.decode(), "content-length": str(len(request.body)), **request.headers}
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote(request.path),
            "raw_path": request.path.encode("ascii"),
            "query_string": urlencode(request.query).encode("ascii"),
            "root_path": "",
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
            "client": None,
            "server": None,
        }
