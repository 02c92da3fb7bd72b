"""The bus's hub, in the supervisor: routes lines between the peers."""

import asyncio
import contextlib
import socket
import stat
from collections.abc import Coroutine, Mapping
from pathlib import Path

from gateway.bus.lines import ALL, ANY, HELLO, HUB, BusError, Envelope, Handler, LineProtocol, Payload, address_of, handle


class BusHub:
    """Routes lines between peers. `handlers` answer what is sent to "hub"."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler] | None = None) -> None:
        self._path = path
        self._handlers = handlers or {}
        self._peers: dict[str, LineProtocol] = {}
        self._server: asyncio.AbstractServer | None = None
        self._inode = 0
        self._anonymous = 0

    async def start(self) -> None:
        """Raises BusError when another hub lives at this path, or OSError."""
        loop = asyncio.get_running_loop()
        with address_of(self._path) as address:
            _remove_stale(self._path, address)
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(address)
            self._path.chmod(0o600)
        self._inode = self._path.stat().st_ino
        self._server = await loop.create_unix_server(self._connection, sock=listening)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._peers.values()):
            connection.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def send(self, to: str, kind: str, payload: Payload) -> None:
        """From the hub's own process."""
        self._route(Envelope(to, kind, HUB, payload))

    def _connection(self) -> LineProtocol:
        connection = LineProtocol(self._received, self._closed, check=True)
        self._anonymous += 1
        connection.name = f"anonymous:{self._anonymous}"
        self._peers[connection.name] = connection
        return connection

    def _closed(self, connection: LineProtocol) -> None:
        if self._peers.get(connection.name) is connection:
            del self._peers[connection.name]

    def _received(self, connection: LineProtocol, envelope: Envelope) -> None:
        if envelope.kind == HELLO:
            self._closed(connection)
            connection.name = envelope.sender or connection.name
            if (former := self._peers.get(connection.name)) is not None:
                former.abort()
            self._peers[connection.name] = connection
            return
        # Whatever the line says, it comes from the connection that sent it.
        self._route(
            Envelope(envelope.to, envelope.kind, connection.name, envelope.body, envelope.id, envelope.re), asker=connection
        )

    def _route(self, envelope: Envelope, asker: LineProtocol | None = None) -> None:
        if envelope.to == HUB:
            reply = handle(self._handlers, envelope)
            if isinstance(reply, Coroutine):  # the supervisor never waits for anybody
                reply.close()
                reply = None
            if envelope.id and asker is not None:
                expected = Envelope(asker.name, "expected", HUB, None, re=envelope.id, expected=1)
                asker.write(expected.encode() + Envelope(asker.name, "reply", HUB, reply, re=envelope.id).encode())
            return
        if envelope.to == ALL:
            receivers = [peer for name, peer in self._peers.items() if name.startswith("worker:") and peer is not asker]
        elif envelope.to == ANY:
            receivers = [peer for name, peer in self._peers.items() if name.startswith("worker:")][-1:]  # the newest
        else:
            receivers = [peer for name, peer in self._peers.items() if name == envelope.to]
        if envelope.id and asker is not None:
            expected = Envelope(asker.name, "expected", HUB, None, re=envelope.id, expected=len(receivers))
            asker.write(expected.encode())
        line = envelope.encode()
        for receiver in receivers:
            receiver.write(line)


def _remove_stale(path: Path, address: str) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise BusError(f"{path} is in the way: it is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
        else:
            raise BusError(f"another gateway is running with this state directory ({path})")
