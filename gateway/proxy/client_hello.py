"""Waits on the bare socket for a client's first TLS record, without taking it, and says whether it may go on.

A browser that somebody leads to this port must not be able to speak its own protocol inside our TLS (ALPACA): a client that offers
application protocols offers `postgresql`, or is sent away. One that offers none is let on, as PostgreSQL does after an SSLRequest.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from gateway.proxy.flow import will_send_no_more
from gateway.proxy.tls import ALPN
from gateway.wire.client_hello import HEADER_BYTES, LARGEST_RECORD, NO_APPLICATION_PROTOCOL, offered_protocols, record_size
from gateway.wire.errors import SilentClose

_AGAIN_SECONDS: Final = 0.05


class HelloWatch:
    """Calls `go_on` or `close`, once, unless `stop` came first. The kernel wakes it when as much is there as it needs."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, go_on: Callable[[], None], close: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._go_on = go_on
        self._close = close
        self._needed = HEADER_BYTES
        self._pause: asyncio.TimerHandle | None = None
        self._wait_for(HEADER_BYTES)
        loop.add_reader(sock.fileno(), self._readable)

    def stop(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock.fileno())

    def _wait_for(self, size: int) -> None:
        self._needed = size
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def _readable(self) -> None:
        try:
            seen = self._sock.recv(LARGEST_RECORD, socket.MSG_PEEK)
            if seen:
                if len(seen) < self._needed:
                    if will_send_no_more(self._sock.fileno()):
                        raise SilentClose("the first record will not come whole")
                    self._rest()
                    return
                size = record_size(seen)
                if size is not None and len(seen) < size:
                    self._wait_for(size)
                    return
                self._wait_for(1)
                if size is None or self._may_go_on(seen[:size]):  # what is no handshake is for the TLS library to refuse
                    self.stop()
                    self._go_on()
                    return
        except BlockingIOError:
            return
        except (OSError, SilentClose):
            pass
        self.stop()
        self._close()

    def _may_go_on(self, record: bytes) -> bool:
        offered = offered_protocols(record)
        if not offered or ALPN.encode("ascii") in offered:
            return True
        self._sock.recv(len(record))  # else closing resets the connection, and the alert is lost
        self._sock.send(NO_APPLICATION_PROTOCOL)
        return False

    def _rest(self) -> None:
        """Woken too early: the kernel is short of memory. The deadline of the login bounds it."""
        self._loop.remove_reader(self._sock.fileno())
        self._pause = self._loop.call_later(_AGAIN_SECONDS, self._again)

    def _again(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock.fileno(), self._readable)
