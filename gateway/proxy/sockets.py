"""The port that the workers share, and what every connection's socket is told."""

import contextlib
import errno
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_PATIENCE_SECONDS: Final = 1.0  # workers of a supervisor that was killed need a moment to notice


class PortError(Exception):
    """The gateway cannot listen there; one line for the operator."""


@dataclass(frozen=True, slots=True)
class _Place:
    family: int
    address: str


@contextlib.contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Hold the port (0: a free one) on all addresses of `host`; the workers bind it too, with SO_REUSEPORT."""
    places = _resolve(host)
    held: list[socket.socket] = []
    try:
        for place in places:
            if port:
                _probe(place, port)
            # Without SO_REUSEADDR: else the probe of another supervisor would pass while nobody listens yet.
            held.append(_bind(place, port, socket.SO_REUSEPORT))
            port = held[-1].getsockname()[1]
        yield port
    finally:
        for one in held:
            one.close()


def listen_on(host: str, port: int, backlog: int) -> list[socket.socket]:
    """A worker's own non-blocking sockets on the reserved port, one for each address of `host`. Raises PortError."""
    listening = []
    for place in _resolve(host):
        sock = _bind(place, port, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
        sock.setblocking(False)
        sock.listen(backlog)
        listening.append(sock)
    return listening


def keep_alive(sock: socket.socket) -> None:
    """No delay for small messages, and a peer that is gone without a word is noticed within a minute."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 60_000)):
        with contextlib.suppress(AttributeError, OSError):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _resolve(host: str) -> list[_Place]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise PortError(f"listen.host: {host!r} is no address of this machine ({error.strerror})") from error
    return list(dict.fromkeys(_Place(family, str(address[0])) for family, _, _, _, address in found))


def _probe(place: _Place, port: int) -> None:
    """SO_REUSEPORT would let us share the port of another program of the same user, unnoticed."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            _bind(place, port, socket.SO_REUSEADDR).close()
        except PortError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _bind(place: _Place, port: int, *options: int) -> socket.socket:
    bound = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        if place.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((place.address, port))
    except OSError as error:
        bound.close()
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise PortError(f"cannot listen on {place.address} port {port}: {reason}") from error
    return bound
