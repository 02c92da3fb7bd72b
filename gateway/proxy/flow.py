"""Back-pressure: who may not read now, and why. A transport reads again when no reason is left."""

import asyncio
import contextlib
import select
import socket
import struct
from enum import Flag, auto
from typing import Final

_GONE: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_FLUSH_SECONDS: Final = 0.5  # how long a farewell may take to leave before the socket is cut


class Reason(Flag):
    OTHER_SIDE_FULL = auto()
    ON_HOLD = auto()
    AUDIT_PENDING = auto()
    ITS_TURN = auto()


class ReadGate:
    """Idempotent pause and resume of one transport's reading."""

    __slots__ = ("_reasons", "_stays_open", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reasons = Reason(0)
        self._stays_open = False

    @property
    def closed(self) -> bool:
        return bool(self._reasons)

    def close(self, reason: Reason) -> None:
        if self._stays_open:
            return
        if not self._reasons and not self._transport.is_closing():
            self._transport.pause_reading()
        self._reasons |= reason

    def open(self, reason: Reason) -> None:
        if not self._reasons or reason not in self._reasons:
            return
        self._reasons &= ~reason
        if not self._reasons and not self._transport.is_closing():
            self._transport.resume_reading()

    def open_for_good(self) -> None:
        """What comes is discarded from now on: no reason to close counts any more."""
        self.open(self._reasons)
        self._stays_open = True


def cut(transport: asyncio.Transport) -> None:
    """End it now. What the peer has not read of our kernel's buffers is lost: nothing reaches it after this."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def leave_client(transport: asyncio.Transport, words: bytes, *, gone: bool) -> None:
    """The last words, a moment for them to leave, and the end."""
    if gone:
        transport.abort()
        return
    if words:
        transport.write(words)
    all_sent = not transport.get_write_buffer_size() and transport.get_extra_info("ssl_object") is None
    transport.close()
    if all_sent:  # the kernel has it, or there was nothing; inside TLS the peer has to answer, too
        return
    asyncio.get_running_loop().call_later(_FLUSH_SECONDS, cut, transport)


def peer_is_gone(transport: asyncio.Transport) -> bool:
    """A paused transport shows neither FIN nor RST: ask the kernel."""
    sock = transport.get_extra_info("socket")
    return sock is not None and sock.fileno() >= 0 and will_send_no_more(sock.fileno())


def will_send_no_more(fd: int) -> bool:
    """The peer closed its side, or reset the connection, although not all that it sent may be read yet."""
    poll = select.poll()
    poll.register(fd, _GONE)
    return bool(poll.poll(0))
