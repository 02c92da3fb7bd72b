"""What a connection inside TLS does with its socket but now and then: large reads, and the end. Nothing waits here."""

import contextlib
import socket
import ssl
from typing import Final

from gateway.proxy.tls_flow import LARGE, RECORD

_AT_ONCE: Final = 64 * 1024  # so much is read in one turn of the event loop
_DISCARDED_AT_ONCE: Final = 1024 * 1024


def read_more(tls: ssl.SSLSocket, first: bytes) -> tuple[bytes, bool]:
    """Other large ones behind it; and whether the connection broke behind them."""
    parts, size, broken = [first], len(first), False
    try:
        while size < _AT_ONCE and len(parts[-1]) >= LARGE:
            parts.append(tls.read(RECORD))
            size += len(parts[-1])
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        pass
    except OSError:
        broken = True
    return b"".join(parts), broken


def say_goodbye(sock: ssl.SSLSocket) -> bool:
    """close_notify, and the end of our side; from here on the socket reads as it is. False: there is nobody to hear it."""
    with contextlib.suppress(OSError, ValueError):
        sock.unwrap()
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True


def peer_closed(sock: ssl.SSLSocket) -> bool:
    """Behind our goodbye: what has come is thrown away. True for a connection that broke, too."""
    left = _DISCARDED_AT_ONCE
    try:
        while left > 0 and (data := sock.recv(_AT_ONCE)):
            left -= len(data)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return left > 0
