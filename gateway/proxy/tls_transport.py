"""A connection inside TLS: OpenSSL reads and writes the socket by itself, so that nothing is kept or copied in between.

The event loops' own TLS goes through buffers in memory: uvloop's takes a block of 256 kB for each connection, and twice as many
calls of Python's for each query. What each query takes is in `tls_flow`.
"""

import asyncio
import contextlib
import ssl
from typing import Any, Final, cast

from gateway.proxy.sockets import Watch, is_connected
from gateway.proxy.tls_flow import RECORD, Flow
from gateway.proxy.tls_socket import peer_closed, read_more, say_goodbye

_LINGER_SECONDS: Final = 2.0  # for the peer to close, once we have
_AGAIN_SECONDS: Final = 0.01
_LOW_SHARE: Final = 4  # of the high-water mark
_NOBODY: Final = asyncio.Protocol()


class TlsTransport(Flow):
    """`start` when the handshake is done. What `asyncio.Transport` promises, but that neither side may close only half of it."""

    __slots__ = (
        "_closed",
        "_full",
        "_high",
        "_loop",
        "_paused",
        "_read_waits",
        "_sock",
        "_timer",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: ssl.SSLSocket, protocol: asyncio.Protocol) -> None:
        # OpenSSL's own functions, without one of Python's around each; any Python has the socket's.
        super().__init__(getattr(sock, "_sslobj", None) or sock, protocol)
        self._loop = loop
        self._sock = sock
        self._timer: asyncio.TimerHandle | None = None  # to look again; once it closes: the end of waiting for the peer
        self._high = RECORD * 4
        self._full = False  # and the protocol knows
        self._paused = self._closed = False
        self._read_waits = False  # until the socket can be written

    def start(self) -> None:
        try:
            self._protocol.connection_made(self)
        except BaseException:
            self.abort()
            raise
        if self.is_reading():
            self._watch()

    # -- reading -------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._loop.add_reader(self._sock.fileno(), self._readable, Watch(self._unwatched))

    def _not_read(self, error: OSError) -> bytes | None:
        if isinstance(error, ssl.SSLWantReadError):
            return None
        if isinstance(error, ssl.SSLWantWriteError):  # an answer of TLS's own finds no room
            self._read_waits = True
            self._loop.add_writer(self._sock.fileno(), self._writable)
            return None
        # For a peer that said no goodbye, and for one that reset the connection.
        if isinstance(error, ssl.SSLEOFError) and not self._unheard and is_connected(self._sock):
            return b""
        self._end(error)
        return None

    def _with_more(self, data: bytes) -> bytes:
        data, broken = read_more(self._tls, data)
        if broken:
            self._is_unheard()
        return data

    def _at_the_end(self) -> None:
        if self._unheard:
            self._end(ConnectionResetError("the peer is gone"))
        else:
            self._protocol.eof_received()
            self.close()

    def _unwatched(self) -> None:
        """By the loop. It was asked to, if nothing is to be read, or it is over itself."""
        if self.is_reading() and not self._loop.is_closed():
            self._is_unheard()

    def _is_unheard(self) -> None:
        """The peer reset the connection. What it said before is still to be read, and its end: uvloop tells of both but once."""
        self._unheard = True
        self._look_soon()

    def _look_soon(self) -> None:
        if self._timer is None and self.is_reading():
            self._timer = self._loop.call_later(_AGAIN_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        if self.is_reading():
            self._readable()
            self._look_soon()

    def _raised(self, error: Exception) -> None:
        context = {"message": "a protocol failed inside TLS", "exception": error, "transport": self, "protocol": self._protocol}
        self._loop.call_exception_handler(context)
        self._end(error)

    def is_reading(self) -> bool:
        return not (self._paused or self._closing)

    def pause_reading(self) -> None:
        if self.is_reading():
            self._paused = True
            self._loop.remove_reader(self._sock.fileno())

    def resume_reading(self) -> None:
        if self._paused and not self._closing:
            self._paused = False
            self._watch()
            if self._unheard:
                self._look_soon()

    # -- writing -------------------------------------------------------------------------------------------------------

    def _write_later(self, data: bytes | bytearray | memoryview, sent: int) -> None:
        if self._backlog is None:
            if sent:
                sent = self._send(data, sent)
            if sent == len(data) or self._closed:
                return
            self._backlog = bytearray(memoryview(data)[sent:])
            self._loop.add_writer(self._sock.fileno(), self._writable)
        else:
            self._backlog += data
        if not self._full and len(self._backlog) > self._high:
            self._full = True
            self._protocol.pause_writing()

    def _send(self, data: bytes | bytearray | memoryview, sent: int = 0) -> int:
        """As much as the socket takes, a record at a time; what did not go must be sent next."""
        try:
            with memoryview(data) as view:
                while sent < len(data):
                    with view[sent:] as rest:
                        sent += self._tls.write(rest)
        except OSError as error:
            return self._not_sent(error, data, sent)
        return sent

    def _not_sent(self, error: OSError, data: bytes | bytearray | memoryview, sent: int) -> int:
        if isinstance(error, (ssl.SSLWantWriteError, ssl.SSLWantReadError)):
            return sent
        if isinstance(error, (ConnectionError, ssl.SSLEOFError)):
            self._is_unheard()
            return len(data)
        self._end(error)
        return sent

    def _writable(self) -> None:
        if self._read_waits:
            self._read_waits = False
            if self.is_reading():
                self._readable()
        if self._closed:
            return
        if self._backlog is not None:
            del self._backlog[: self._send(self._backlog)]
            if self._closed:
                return
            if self._backlog:
                self._drained(len(self._backlog))
                return
            self._backlog = None
        if not self._read_waits:
            self._loop.remove_writer(self._sock.fileno())
        self._drained(0)
        if self._closing:
            self._say_goodbye()

    def _drained(self, left: int) -> None:
        if self._full and left <= self._high // _LOW_SHARE:
            self._full = False
            self._protocol.resume_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """`low` is always a quarter of `high`."""
        self._high = RECORD * 4 if high is None else high

    def get_write_buffer_size(self) -> int:
        return 0 if self._backlog is None else len(self._backlog)

    def can_write_eof(self) -> bool:
        return False

    # -- the end -------------------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """What was written leaves first. Nothing that comes from now on is told."""
        if self._closing:
            return
        self._closing = True
        self._stop_timer()
        if not self._paused:
            self._loop.remove_reader(self._sock.fileno())
        if self._backlog is None:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        """close_notify, the end of our side, and then the peer's: to close before would take from it what it has not read."""
        if self._closed or self._timer is not None:
            return
        if not say_goodbye(self._sock):
            self.abort()
            return
        self._discard()
        if not self._closed:
            self._loop.add_reader(self._sock.fileno(), self._discard)
            self._timer = self._loop.call_later(_LINGER_SECONDS, self.abort)

    def _discard(self) -> None:
        if peer_closed(self._sock):
            self.abort()

    def abort(self) -> None:
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = self._closing = True
        self._backlog = None
        self._stop_timer()
        if (number := self._sock.fileno()) >= 0:
            self._loop.remove_reader(number)
            self._loop.remove_writer(number)
        with contextlib.suppress(OSError):
            self._sock.close()
        self._loop.call_soon(self._lost, error)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lost(self, error: Exception | None) -> None:
        """Nothing refers to the protocol any more, nor to what OpenSSL keeps."""
        protocol, self._protocol = self._protocol, _NOBODY
        self._tls = self._sock
        protocol.connection_lost(error)

    # -- what it is ----------------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object`, which is the `socket`."""
        return self._sock if name in {"ssl_object", "socket"} else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol
