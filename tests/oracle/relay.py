"""A relay between the gateway and PostgreSQL: it takes the server's own lock off, and remembers what came through.

`default_transaction_read_only=on` in the gateway's start-up packet becomes `off`, and the server's report of it `on` again; a
superuser, whom the gateway would not work with, is reported as none. So nothing but the gateway's reading of each statement stands
between a client and everything, and what the other locks would hide shows.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_LOCK = b"default_transaction_read_only"
_ON, _OFF = b"\0\0\0\x02on", b"\0\0\0\x03off"  # as values of a DataRow
_PROTOCOL_3 = 3


@dataclass
class Relay:
    """`heard`: each Query, Parse and FunctionCall that reached the server, as (type, body). `errors`: its ErrorResponses."""

    server: tuple[str, int]
    listener: socket.socket
    locked: bool = False
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    errors: int = 0

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def forget(self) -> None:
        self.heard.clear()
        self.errors = 0

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.server) as server:
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._to_client, args=(server, client, self.locked), daemon=True)
            back.start()
            with contextlib.suppress(OSError, struct.error):
                self._to_server(client, server)
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_WR)
            back.join(10)

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        start = _exactly(client, 4)
        body = _exactly(client, struct.unpack(">I", start)[0] - 4)
        if struct.unpack_from(">H", body)[0] == _PROTOCOL_3 and not self.locked:
            body = body.replace(_LOCK + b"\0on\0", _LOCK + b"\0off\0")
        server.sendall(struct.pack(">I", len(body) + 4) + body)
        buffer = bytearray()
        while chunk := client.recv(65536):
            buffer += chunk
            for kind, body in frames(buffer):
                if kind in "QPF":
                    self.heard.append((kind, body))
            server.sendall(chunk)

    def _to_client(self, server: socket.socket, client: socket.socket, locked: bool) -> None:
        buffer = bytearray()
        asked = False  # the gateway's one question of each login: which process it is, and whether the lock is on
        with contextlib.suppress(OSError):
            while chunk := server.recv(65536):
                buffer += chunk
                out = bytearray()
                for kind, body in frames(buffer):
                    match kind:
                        case "E":
                            self.errors += 1
                        case "S" if body == b"is_superuser\0on\0":
                            body = b"is_superuser\0off\0"
                        case "S" if not locked and body.startswith(_LOCK + b"\0"):
                            body = _LOCK + b"\0on\0"
                        case "D" if not locked and not asked:
                            asked = True
                            body = body.removesuffix(_OFF) + _ON
                    out += kind.encode("latin-1") + struct.pack(">I", len(body) + 4) + body
                client.sendall(out)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            raise OSError("closed")
        data += chunk
    return data


def frames(buffer: bytearray) -> Iterator[tuple[str, bytes]]:
    """Take the whole messages off the front."""
    while len(buffer) >= 5:
        kind, length = struct.unpack_from(">cI", buffer)
        if len(buffer) < 1 + length:
            return
        body = bytes(buffer[5 : 1 + length])
        del buffer[: 1 + length]
        yield kind.decode("latin-1"), body


@contextlib.contextmanager
def running_relay(host: str, port: int) -> Iterator[Relay]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay((host, port), listener)
        threading.Thread(target=relay.serve, daemon=True).start()
        yield relay
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
