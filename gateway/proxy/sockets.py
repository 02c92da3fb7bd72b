"""The sockets that the gateway listens on, and what every connection's socket is told.

The supervisor makes the listening ones and hands them to its children, so that a child's successor accepts from the very same
queue.
"""

import asyncio
import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

_Watch: TypeAlias = Callable[..., object]
_PATIENCE_SECONDS: Final = 1.0  # workers of a supervisor that was killed need a moment to notice

_KEPT_ALIVE: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 60_000))
        if hasattr(socket, name)
    ),
)


#: What a listening socket was told holds for those that it accepts.
ACCEPTED_INHERIT: Final = sys.platform == "linux"


class PortError(Exception):
    """The gateway cannot listen there; one line for the operator."""


@dataclass(frozen=True, slots=True)
class _Place:
    family: int
    address: str


@dataclass(frozen=True, slots=True)
class Doors:
    """Listening sockets on one port: for each of those who share it, one for each address."""

    port: int
    shares: tuple[tuple[socket.socket, ...], ...]

    def close(self) -> None:
        for share in self.shares:
            for sock in share:
                sock.close()


def open_doors(host: str, port: int, backlog: int, shares: int, *, setting: str = "listen.host") -> Doors:
    """Listen on the port (0: a free one) on all addresses of `host`, `shares` times, each with a queue of its own.

    Raises PortError, with the name of the setting when it is the host that is wrong.
    """
    made: list[list[socket.socket]] = []
    try:
        places = _resolve(host, setting)
        if port:
            for place in places:
                _probe(place, port)
        for _ in range(shares):
            made.append([])
            for place in places:
                sock = _bind(place, port, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
                made[-1].append(sock)
                sock.setblocking(False)
                sock.listen(backlog)
                keep_alive(sock)
                port = sock.getsockname()[1]
    except BaseException:
        for share in made:
            for sock in share:
                sock.close()
        raise
    return Doors(port, tuple(tuple(share) for share in made))


def chosen(shares: Sequence[Sequence[int]], place: int) -> list[socket.socket]:
    """In a child that inherited all of them: the share of its place; the others are closed. Raises OSError."""
    for number, fds in enumerate(shares):
        if number != place:
            for fd in fds:
                os.close(fd)
    found: list[socket.socket] = [PlainSocket(fileno=fd) for fd in shares[place]]
    for sock in found:
        sock.set_inheritable(False)
        sock.setblocking(False)
    return found


class PlainSocket(socket.socket):
    """Tells its family and type as bare numbers: the event loop asks several times, and each making of an enum's member costs."""

    family = socket.SocketType.family  # type: ignore[assignment]
    type = socket.SocketType.type  # type: ignore[assignment]


def accept(listening: socket.socket) -> tuple[PlainSocket, str]:
    """The next connection, and its peer's address. Raises OSError."""
    fd, peer = listening._accept()  # type: ignore[attr-defined]  # what socket.accept() calls, to make a socket of its own class
    return PlainSocket(listening.family, socket.SOCK_STREAM, 0, fd), peer[0]


class Descriptor(int):
    """A connected TCP socket that is uvloop's, which keeps what it was handed for as long as the connection is there.

    A number takes half of what a socket takes, and each session has two.
    """

    __slots__ = ()

    type = socket.SOCK_STREAM
    family = socket.AF_INET  # of AF_INET6, too: to uvloop they are the same

    def fileno(self) -> int:
        return int(self)

    def setblocking(self, _blocking: bool) -> None:
        """It is non-blocking already."""

    def detach(self) -> None:
        """uvloop closes it: nothing here could do so a second time."""

    close = detach


def handed_to(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> socket.socket:
    """A connected TCP socket for the loop's argument `sock`. Under uvloop this closes `sock`: the connection is the loop's."""
    if type(loop).__module__ != "uvloop":
        return sock
    return cast(socket.socket, Descriptor(sock.detach()))


def keep_alive(sock: socket.socket) -> None:
    """No delay for small messages, and a peer that is gone without a word is noticed within a minute."""
    try:
        for level, option, value in _KEPT_ALIVE:
            sock.setsockopt(level, option, value)
    except OSError:  # of a peer that is gone already: reading will tell
        return


def _resolve(host: str, setting: str) -> list[_Place]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise PortError(f"{setting}: {host!r} is no address of this machine ({error.strerror})") from error
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


def is_connected(sock: socket.socket) -> bool:
    """Not yet, or not any more since it was reset: False. A peer that closed its side is still there."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


class Watch:
    """The loop is given it with the callback of `add_reader`, and keeps it for as long as it watches the socket.

    uvloop lets go by itself at a socket's first error, after one more call, which it tells from no other. Asking the socket would
    be a system call for each read. `over` is called whoever ended the watch.
    """

    __slots__ = ("_over",)

    def __init__(self, over: Callable[[], None]) -> None:
        self._over = over

    def __del__(self) -> None:
        self._over()


async def until_able(sock: socket.socket, watch: _Watch, unwatch: _Watch) -> None:
    """To be read, or written: the loop's `add_reader` and `remove_reader`, or the other pair. An error counts as able, too."""
    able = asyncio.get_running_loop().create_future()
    watch(sock.fileno(), _settle, able)
    try:
        await able
    finally:
        unwatch(sock.fileno())


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
