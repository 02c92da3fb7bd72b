"""A stand-in for PostgreSQL with room for ten thousand sessions, as a process of its own: it is no PostgreSQL.

PostgreSQL has a process for each session; few machines carry ten thousand of them. To a proxy this looks the same: it asks for a
real SCRAM-SHA-256 proof and checks it against the verifier that PostgreSQL keeps, signs its own, reports what PostgreSQL reports,
and answers the few texts that it was taught with the bytes that PostgreSQL answered. It knows nothing else, and says so (0A000).
Sessions that ask more than that are the real server's from their first byte on, relayed: those of other logins, and those that
the gateway opens for itself (its application_name begins with its own name), to read the catalog, say.

It is used for what proxies keep and do for sessions that rest. What a query costs behind it is the stand-in's, not PostgreSQL's.

    python -m tests.bench.proxies.imitation < LESSON.json       # prints its port
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import struct
import sys
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import uvloop

_SSL_REQUEST, _GSS_REQUEST, _CANCEL_REQUEST = 80877103, 80877104, 80877102
_BACKLOG: Final = 4096
_READY: Final = b"Z\0\0\0\5I"
#: The one question of the gateway's login: is the process id the one that was announced?
_QUESTION: Final = b"/* pgbastion: is this PostgreSQL itself? */"
#: application_name of sessions that the gateway opens for itself.
_OF_THE_GATEWAY: Final = "pgbastion/"


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


@dataclass(frozen=True, slots=True)
class Role:
    """One login: its SCRAM verifier in parts, and what the server reports to it after a login."""

    iterations: int
    salt: str
    stored_key: bytes
    server_key: bytes
    statuses: Mapping[str, str]

    @classmethod
    def of(cls, verifier: str, statuses: Mapping[str, str]) -> "Role":
        """`verifier` as pg_authid has it. Raises ValueError."""
        _, head, keys = verifier.split("$")
        (iterations, salt), (stored, server) = head.split(":"), keys.split(":")
        return cls(int(iterations), salt, b64decode(stored), b64decode(server), statuses)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Where the real server is, whom to imitate it to, and the answers to whole Query messages."""

    host: str
    port: int
    roles: Mapping[str, Role]
    answers: Mapping[bytes, bytes]

    @classmethod
    def read(cls, text: str) -> "Lesson":
        """Raises ValueError, KeyError."""
        given = json.loads(text)
        roles = {name: Role.of(role["verifier"], role["statuses"]) for name, role in given["roles"].items()}
        answers = {bytes.fromhex(query): bytes.fromhex(answer) for query, answer in given["answers"].items()}
        return cls(given["host"], given["port"], roles, answers)


class Session(asyncio.Protocol):
    """One connection: imitated, or relayed."""

    _last_pid = 100_000

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson
        self._buffer = b""
        self._state = self._startup
        self._peer: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire: Any = transport

    def connection_lost(self, _error: Exception | None) -> None:
        if self._peer is not None:
            self._peer.close()

    def data_received(self, data: bytes) -> None:
        if self._peer is not None:
            self._peer.write(data)
            return
        self._buffer += data
        more = True
        while more and self._buffer:
            more = self._state()

    def _take(self, start: int) -> bytes | None:
        """The next message, whose length stands at `start`; what the length does not count is before it."""
        buffer = self._buffer
        if len(buffer) < start + 4:
            return None
        end = start + struct.unpack_from(">I", buffer, start)[0]
        if len(buffer) < end:
            return None
        self._buffer = buffer[end:]
        return buffer[:end]

    # -- login ---------------------------------------------------------------------------------------------------------

    def _startup(self) -> bool:
        packet = self._take(0)
        if packet is None:
            return False
        (code,) = struct.unpack_from(">I", packet, 4)
        if code in (_SSL_REQUEST, _GSS_REQUEST):
            self._wire.write(b"N")
            return True
        words = [word.decode() for word in packet[8:].split(b"\0")]
        wanted = dict(zip(words[::2], words[1::2], strict=False)) if code != _CANCEL_REQUEST else {}
        role = self._lesson.roles.get(wanted.get("user", ""))
        if role is None or wanted.get("application_name", "").startswith(_OF_THE_GATEWAY):
            self._relay(packet)
            return False
        self._role, self._wanted, self._state = role, wanted, self._proof_begins
        self._wire.write(message(b"R", struct.pack(">I", 10) + b"SCRAM-SHA-256\0\0"))
        return True

    def _proof_begins(self) -> bool:
        packet = self._take(1)
        if packet is None:
            return False
        first = packet[5:].split(b"\0", 1)[1][4:].decode()
        self._first = first.split(",", 2)[2]
        self._nonce = self._first.partition("r=")[2] + secrets.token_urlsafe(18)
        self._server_first = f"r={self._nonce},s={self._role.salt},i={self._role.iterations}"
        self._wire.write(message(b"R", struct.pack(">I", 11) + self._server_first.encode()))
        self._state = self._proof_ends
        return True

    def _proof_ends(self) -> bool:
        packet = self._take(1)
        if packet is None:
            return False
        without, _, proof = packet[5:].decode().rpartition(",p=")
        told = ",".join((self._first, self._server_first, without)).encode()
        signature = hmac.digest(self._role.stored_key, told, "sha256")
        key = bytes(a ^ b for a, b in zip(b64decode(proof), signature, strict=True))
        right = hmac.compare_digest(hashlib.sha256(key).digest(), self._role.stored_key)
        if not right or f"r={self._nonce}" not in without:
            self._wire.write(_error("FATAL", "28P01", "password authentication failed"))
            self._wire.close()
            return False
        ours = b64encode(hmac.digest(self._role.server_key, told, "sha256"))
        Session._last_pid = self._pid = Session._last_pid + 1
        statuses = {name: self._wanted.get(name, value) for name, value in self._role.statuses.items()}
        reports = b"".join(message(b"S", f"{name}\0{value}\0".encode()) for name, value in statuses.items())
        key_data = message(b"K", struct.pack(">I", self._pid) + secrets.token_bytes(4))
        self._wire.write(
            message(b"R", struct.pack(">I", 12) + b"v=" + ours) + message(b"R", bytes(4)) + reports + key_data + _READY
        )
        self._first = self._server_first = self._nonce = ""
        self._state = self._query
        return True

    # -- at rest -------------------------------------------------------------------------------------------------------

    def _query(self) -> bool:
        packet = self._take(1)
        if packet is None:
            return False
        if (known := self._lesson.answers.get(packet)) is not None:
            self._wire.write(known)
        elif packet.startswith(_QUESTION, 5):
            read_only = self._wanted.get("default_transaction_read_only", "off")
            self._wire.write(_rows(str(self._pid).encode(), read_only.encode()))
        elif packet[:1] == b"X":
            self._wire.close()
            return False
        else:
            self._wire.write(_error("ERROR", "0A000", "this is a stand-in for PostgreSQL: it was not taught that") + _READY)
        return True

    # -- relayed -------------------------------------------------------------------------------------------------------

    def _relay(self, packet: bytes) -> None:
        self._buffer = packet + self._buffer
        self._state = self._wait
        self._connecting = asyncio.ensure_future(self._connect())

    def _wait(self) -> bool:
        return False

    async def _connect(self) -> None:
        lesson = self._lesson
        try:
            peer, _ = await asyncio.get_running_loop().create_connection(lambda: Behind(self._wire), lesson.host, lesson.port)
        except OSError:
            self._wire.abort()
            return
        self._peer, said, self._buffer = peer, self._buffer, b""
        peer.write(said)
        if self._wire.is_closing():
            peer.close()


class Behind(asyncio.Protocol):
    """The real server's end of a relayed session."""

    def __init__(self, front: asyncio.Transport) -> None:
        self._front = front

    def data_received(self, data: bytes) -> None:
        self._front.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._front.close()


def _error(severity: str, sqlstate: str, said: str) -> bytes:
    fields = (("S", severity), ("V", severity), ("C", sqlstate), ("M", said))
    return message(b"E", b"".join(f"{name}{value}\0".encode() for name, value in fields) + b"\0")


def _rows(*values: bytes) -> bytes:
    """One row of texts, and ready."""
    columns = b"".join(b"?column?\0" + struct.pack(">IhIhih", 0, 0, 25, -1, -1, 0) for _ in values)
    cells = b"".join(struct.pack(">I", len(value)) + value for value in values)
    count = struct.pack(">H", len(values))
    return message(b"T", count + columns) + message(b"D", count + cells) + message(b"C", b"SELECT 1\0") + _READY


async def _serve(lesson: Lesson) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Session(lesson), "127.0.0.1", 0, backlog=_BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(Lesson.read(sys.stdin.read())))
