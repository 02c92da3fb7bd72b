"""Where the browser comes back to after a sign-in at the identity provider: a port of this program's own on 127.0.0.1 (RFC 8252).

It answers one path and waits for one answer: that which brings the `state` of this sign-in. What else comes is turned away.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from gateway.cli.errors import CommandError
from gateway.secret import Secret

_HOST: Final = "127.0.0.1"
_PATH: Final = "/callback"
_HEAD_BYTES: Final = 16 * 1024
_HEAD_SECONDS: Final = 10.0
_HEADERS: Final = (
    "Content-Type: text/plain; charset=utf-8",
    "Cache-Control: no-store",
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options: nosniff",
    "Referrer-Policy: no-referrer",
    "Connection: close",
)
_DONE: Final = "You are signed in as far as the browser is concerned. Close this window and go back to the terminal.\n"
_FAILED: Final = "The sign-in did not succeed. The terminal says more; close this window.\n"
_NOT_HERE: Final = "There is nothing here.\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the browser brought: a code, or the provider's word for why there is none. `issuer`: where it says who answered."""

    code: Secret | None
    error: str = ""
    issuer: str | None = None


class Loopback:
    """Made by `listening`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._state = ""
        self._answer: asyncio.Future[Answer] | None = None

    @property
    def redirect_uri(self) -> str:
        return f"http://{_HOST}:{self.port}{_PATH}"

    async def answer(self, state: str, patience_seconds: float) -> Answer:
        """Raises CommandError when none comes in time."""
        self._state = state
        self._answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(patience_seconds):
                return await self._answer
        except TimeoutError:
            raise CommandError("the browser did not come back in time", "Begin again: pgbastion login --oidc") from None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                status, text = self._heard(head.decode("latin-1").split("\r\n"))
                writer.write("\r\n".join([f"HTTP/1.1 {status}", *_HEADERS, f"Content-Length: {len(text)}", "", text]).encode())
                await writer.drain()
        writer.close()

    def _heard(self, lines: list[str]) -> tuple[str, str]:
        method, _, rest = lines[0].partition(" ")
        target = urlsplit(rest.partition(" ")[0])
        hosts = [line.partition(":")[2].strip() for line in lines[1:] if line.lower().startswith("host:")]
        if method != "GET" or target.path != _PATH or hosts != [f"{_HOST}:{self.port}"]:
            return "404 Not Found", _NOT_HERE
        query = parse_qs(target.query, keep_blank_values=True, max_num_fields=20)
        given = {name: values[0] for name, values in query.items() if len(values) == 1}
        waiting = self._answer
        if (
            waiting is None
            or waiting.done()
            or not secrets.compare_digest(given.get("state", "").encode(), self._state.encode())
        ):
            return "400 Bad Request", _NOT_HERE
        code, issuer = given.get("code"), given.get("iss")
        if code:
            waiting.set_result(Answer(Secret(code), issuer=issuer))
            return "200 OK", _DONE
        waiting.set_result(Answer(None, given.get("error", "no code")[:100], issuer))
        return "200 OK", _FAILED


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[Loopback]:
    """`port` 0: any that is free. Raises CommandError."""
    loopback = Loopback(port)
    try:
        server = await asyncio.start_server(loopback.serve, _HOST, port, limit=_HEAD_BYTES)
    except OSError as error:
        raise CommandError(
            f"port {port} on {_HOST} cannot be used: {error.strerror}", "Name another one with --port."
        ) from error
    async with server:
        loopback.port = server.sockets[0].getsockname()[1]
        yield loopback
