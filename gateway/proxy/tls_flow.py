"""What each query takes of a connection inside TLS: one read, one write. The rest of the connection is `tls_transport`'s.

(The documentation of `ssl`: "Notes on non-blocking sockets".)
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from gateway.compiled import twin_of

RECORD: Final = 16 * 1024  # bytes of the longest record's text: no read leaves anything behind inside OpenSSL
LARGE: Final = 8 * 1024  # who sends such records sends many: the next one is there already


class Flow(asyncio.Transport):
    """What is not usual is for the class that inherits this. The compiled twin inherits nothing."""

    __slots__ = ("_backlog", "_closing", "_protocol", "_tls", "_unheard")

    def __init__(self, tls: ssl.SSLSocket, protocol: asyncio.Protocol) -> None:
        self._tls = tls
        self._protocol = protocol
        self._backlog: bytearray | None = None  # what the socket did not take, while there is some
        self._closing = False
        self._unheard = False  # whatever is written: the peer has closed

    def _readable(self, _kept: object = None) -> None:
        """By the event loop: something has come."""
        try:
            data: bytes | None = self._tls.read(RECORD)
        except OSError as error:
            data = self._not_read(error)
        if data is None:
            return
        if len(data) >= LARGE:
            data = self._with_more(data)
        try:
            if data:
                self._protocol.data_received(data)
            else:
                self._at_the_end()
        except Exception as error:
            self._raised(error)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._unheard or not data:
            return
        sent = 0
        if self._backlog is None:
            try:
                sent = self._tls.write(data)
            except OSError as error:
                sent = self._not_sent(error, data, 0)
            if sent == len(data):
                return
        self._write_later(data, sent)

    def _not_read(self, error: OSError) -> bytes | None:
        """Empty: it is the end. None: there is nothing to tell."""
        raise NotImplementedError

    def _with_more(self, data: bytes) -> bytes:
        """What comes behind as much as this."""
        raise NotImplementedError

    def _at_the_end(self) -> None:
        raise NotImplementedError

    def _raised(self, error: Exception) -> None:
        """By the protocol."""
        raise NotImplementedError

    def _not_sent(self, error: OSError, data: bytes | bytearray | memoryview, sent: int) -> int:
        """How many bytes of it count as sent."""
        raise NotImplementedError

    def _write_later(self, data: bytes | bytearray | memoryview, sent: int) -> None:
        """What is left of it."""
        raise NotImplementedError


if not TYPE_CHECKING and (_twin := twin_of(__name__)) is not None:
    Flow = _twin.Flow
