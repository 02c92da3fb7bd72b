"""Words of ours for the client while upstream is in the middle of a message: the rest of that message goes first.

Until then this stands in for the session as the upstream connection's protocol: nobody else has to look where messages end.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from gateway.proxy.flow import leave_client

LONGEST_REST: Final = 1024 * 1024
"""Of a message that a client whose session is over still gets the rest of."""

_REST_SECONDS: Final = 0.3  # for that rest to come


class _StandIn(asyncio.Protocol):
    """Passes everything on; `data_received` is the heirs'."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._session = cast(asyncio.Protocol, transport.get_protocol())
        transport.set_protocol(self)

    def pause_writing(self) -> None:
        self._session.pause_writing()

    def resume_writing(self) -> None:
        self._session.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._session.connection_lost(exc)


class Interposed(_StandIn):
    """`say` is called between this message and the next, when the session has its place again. One at a time."""

    def __init__(self, transport: asyncio.Transport, left: int, say: Callable[[], None]) -> None:
        super().__init__(transport)
        self._left = left
        self._say = say

    def data_received(self, data: bytes) -> None:
        head, rest = data[: self._left], data[self._left :]
        self._left -= len(head)
        self._session.data_received(head)
        if self._left:
            return
        self._transport.set_protocol(self._session)
        self._say()
        if rest:
            self._session.data_received(rest)


class Asides:
    """Words of ours for the client of a session that goes on. `left`: so many bytes are to come of the message it has part of."""

    __slots__ = ("_client", "_closed", "_left", "_unsaid", "_upstream")

    def __init__(self, client: asyncio.Transport, upstream: asyncio.Transport, left: Callable[[], int]) -> None:
        self._client = client
        self._upstream = upstream
        self._left = left
        self._unsaid: list[bytes] = []  # while upstream is in the middle of a message
        self._closed = False

    def say(self, words: bytes) -> None:
        """Now, or behind that message."""
        if self._closed:
            return
        if not (left := self._left()):
            self._client.write(words)
            return
        self._unsaid.append(words)
        if len(self._unsaid) == 1:
            Interposed(self._upstream, left, self._say_unsaid)

    def _say_unsaid(self) -> None:
        words, self._unsaid = b"".join(self._unsaid), []
        self.say(words)

    def close(self) -> None:
        """The session is over."""
        self._closed = True


class LastWords(_StandIn):
    """The session is over: the client gets the rest of the message, `words`, and no more; only that rest, if it comes too late."""

    def __init__(self, transport: asyncio.Transport, left: int, client: asyncio.Transport, words: bytes) -> None:
        super().__init__(transport)
        self._left = left
        self._client = client
        self._words = words
        self._over = False
        self._timer = asyncio.get_running_loop().call_later(_REST_SECONDS, self._leave, b"")

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        head = data[: self._left]
        self._left -= len(head)
        self._client.write(head)
        if not self._left:
            self._leave(self._words)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave(b"")
        super().connection_lost(exc)

    def _leave(self, words: bytes) -> None:
        if not self._over:
            self._over = True
            self._timer.cancel()
            leave_client(self._client, words, gone=self._client.is_closing())
