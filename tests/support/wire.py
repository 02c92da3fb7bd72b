"""A raw PostgreSQL client for tests: it sends any bytes, in any pieces, and keeps everything that came back.

Nothing here comes from the gateway: framing is written anew, and SCRAM is scramp's, so that both ends never share a mistake.
"""

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from scramp import ScramClient

SSL_REQUEST = struct.pack(">II", 8, 80877103)
GSS_REQUEST = struct.pack(">II", 8, 80877104)
PATIENCE_SECONDS = 10.0


def packet(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack(">I", len(body) + 4) + body


def text(value: str | bytes) -> bytes:
    """A NUL-terminated string."""
    return (value.encode() if isinstance(value, str) else value) + b"\0"


def startup(user: str, database: str = "", *, minor: int = 0, major: int = 3, **parameters: str) -> bytes:
    named = {"user": user, **({"database": database} if database else {}), **parameters}
    return startup_of([(name.encode(), value.encode()) for name, value in named.items()], minor=minor, major=major)


def startup_of(pairs: Iterable[tuple[bytes, bytes]], *, minor: int = 0, major: int = 3) -> bytes:
    body = struct.pack(">HH", major, minor) + b"".join(text(n) + text(v) for n, v in pairs) + b"\0"
    return struct.pack(">I", len(body) + 4) + body


def cancel_request(process_id: int, key: bytes) -> bytes:
    return struct.pack(">III", 12 + len(key), 80877102, process_id) + key


def query(sql: str | bytes) -> bytes:
    return packet("Q", text(sql))


def parse(sql: str | bytes, name: str = "", types: Sequence[int] = ()) -> bytes:
    return packet("P", text(name) + text(sql) + struct.pack(f">H{len(types)}I", len(types), *types))


def bind(statement: str = "", portal: str = "", values: Sequence[bytes | None] = ()) -> bytes:
    """All in text format."""
    parts = [text(portal), text(statement), struct.pack(">HH", 0, len(values))]
    parts += [struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value for value in values]
    return packet("B", b"".join(parts) + struct.pack(">H", 0))


def describe(kind: str, name: str = "") -> bytes:
    return packet("D", kind.encode() + text(name))


def execute(portal: str = "", rows: int = 0) -> bytes:
    return packet("E", text(portal) + struct.pack(">I", rows))


def close(kind: str, name: str = "") -> bytes:
    return packet("C", kind.encode() + text(name))


def copy_data(data: bytes) -> bytes:
    return packet("d", data)


SYNC = packet("S")
FLUSH = packet("H")
TERMINATE = packet("X")
COPY_DONE = packet("c")


def copy_fail(why: str = "enough") -> bytes:
    return packet("f", text(why))


def extended(sql: str, *values: bytes | None) -> bytes:
    """Parse, Bind, Execute under empty names; no Sync."""
    return parse(sql) + bind(values=values) + execute()


@dataclass(frozen=True, slots=True)
class Message:
    """One whole backend message."""

    kind: str
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        """Of an ErrorResponse or NoticeResponse."""
        return {chr(part[0]): part[1:].decode() for part in self.body.split(b"\0") if part}

    @property
    def sqlstate(self) -> str:
        return self.fields.get("C", "")

    @property
    def severity(self) -> str:
        return self.fields.get("V", "")

    @property
    def said(self) -> str:
        return self.fields.get("M", "")

    @property
    def setting(self) -> tuple[str, str]:
        """Of a ParameterStatus."""
        name, value, _ = self.body.split(b"\0")
        return name.decode(), value.decode()

    @property
    def values(self) -> list[bytes | None]:
        """Of a DataRow."""
        (count,) = struct.unpack_from(">H", self.body)
        at, found = 2, list[bytes | None]()
        for _ in range(count):
            (size,) = struct.unpack_from(">i", self.body, at)
            at += 4
            found.append(None if size < 0 else self.body[at : at + size])
            at += max(size, 0)
        return found

    def __repr__(self) -> str:
        if self.kind in "EN":
            return f"{self.kind}({self.severity} {self.sqlstate} {self.said!r})"
        return f"{self.kind}({self.body[:60]!r})"


def shape(messages: Iterable[Message]) -> str:
    """The types, in order: "12CZ". Parameter and backend-key messages are left out."""
    return "".join(message.kind for message in messages if message.kind not in "SK")


class Closed(Exception):
    """The peer closed while a message was awaited."""


@dataclass
class RawClient:
    """`transcript` holds every message read so far, `received` counts bytes. `eof` once the peer has closed."""

    sock: socket.socket
    transcript: list[Message] = field(default_factory=list)
    received: int = 0
    eof: bool = False
    process_id: int = 0
    key: bytes = b""
    _buffer: bytearray = field(default_factory=bytearray)

    def send(self, *data: bytes) -> None:
        self.sock.sendall(b"".join(data))

    def send_split(self, data: bytes, *cuts: int, pause: float = 0.002) -> None:
        """In pieces that reach the peer as such: cut before each of these offsets."""
        edges = [0, *sorted(cuts), len(data)]
        for start, end in pairwise(edges):
            if end > start:
                self.sock.sendall(data[start:end])
                time.sleep(pause)

    def _fill(self, deadline: float) -> bool:
        """More bytes in the buffer? False: the deadline came first. Raises Closed."""
        if self.eof:
            raise Closed
        pending = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
        if not pending:
            looking = select.poll()  # select() knows the first 1,024 files alone
            looking.register(self.sock, select.POLLIN)
            if not looking.poll(max(deadline - time.monotonic(), 0) * 1000):
                return False
        try:
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = self.sock.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            chunk = b""
        finally:
            with contextlib.suppress(OSError):
                self.sock.settimeout(PATIENCE_SECONDS)
        if not chunk:
            self.eof = True
            raise Closed
        self.received += len(chunk)
        self._buffer += chunk
        return True

    def read_raw(self, count: int, seconds: float = PATIENCE_SECONDS) -> bytes:
        """Exactly so many bytes, before any message."""
        deadline = time.monotonic() + seconds
        while len(self._buffer) < count:
            if not self._fill(deadline):
                raise TimeoutError(f"only {bytes(self._buffer)!r} came")
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _next(self) -> Message | None:
        if len(self._buffer) < 5:
            return None
        kind, length = struct.unpack_from(">cI", self._buffer)
        if len(self._buffer) < 1 + length:
            return None
        message = Message(kind.decode("latin-1"), bytes(self._buffer[5 : 1 + length]))
        del self._buffer[: 1 + length]
        self.transcript.append(message)
        return message

    def read(self, seconds: float = PATIENCE_SECONDS) -> Message:
        """The next message. Raises Closed or TimeoutError."""
        deadline = time.monotonic() + seconds
        while (message := self._next()) is None:
            if not self._fill(deadline):
                raise TimeoutError(f"no message in {seconds} s, after {self.transcript[-5:]}")
        return message

    def until(self, kinds: str = "Z", seconds: float = PATIENCE_SECONDS) -> list[Message]:
        """Everything up to the first message of these types."""
        found = [self.read(seconds)]
        while found[-1].kind not in kinds:
            found.append(self.read(seconds))
        return found

    def until_eof(self, seconds: float = PATIENCE_SECONDS) -> list[Message]:
        """Everything until the peer closes. Raises TimeoutError if it does not."""
        found: list[Message] = []
        with contextlib.suppress(Closed):
            while True:
                found.append(self.read(seconds))
        return found

    def quiet(self, seconds: float) -> list[Message]:
        """Whatever comes within that time, EOF included."""
        deadline = time.monotonic() + seconds
        found: list[Message] = []
        with contextlib.suppress(Closed, TimeoutError):
            while True:
                found.append(self.read(max(deadline - time.monotonic(), 0)))
        return found

    def ask(self, *data: bytes) -> list[Message]:
        """Send, and read up to the next ReadyForQuery."""
        self.send(*data)
        return self.until("Z")

    def value(self, sql: str) -> str:
        """The only value of a query that must work."""
        answer = self.ask(query(sql))
        rows = [message.values for message in answer if message.kind == "D"]
        assert rows, answer
        return (rows[0][0] or b"").decode()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect, and whose certificate to expect (None: no TLS)."""

    host: str
    port: int
    ca_file: Path | None = None

    def tcp(self) -> RawClient:
        sock = socket.create_connection((self.host, self.port), PATIENCE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return RawClient(sock)

    def context(self, alpn: Sequence[str] = ("postgresql",)) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(self.ca_file))
        if alpn:
            made.set_alpn_protocols(list(alpn))
        return made

    def wrap(self, client: RawClient, alpn: Sequence[str] = ("postgresql",)) -> RawClient:
        """Shake hands on a connection that is ready for it. Raises OSError (ssl.SSLError among them)."""
        return RawClient(self.context(alpn).wrap_socket(client.sock, server_hostname=self.host))

    def tls(self) -> RawClient:
        client = self.tcp()
        client.send(SSL_REQUEST)
        assert client.read_raw(1) == b"S"
        return self.wrap(client)

    def direct_tls(self, alpn: Sequence[str] = ("postgresql",)) -> RawClient:
        return self.wrap(self.tcp(), alpn)

    def open(self) -> RawClient:
        return self.tls() if self.ca_file is not None else self.tcp()

    def log_in(self, user: str, password: str, database: str, *, minor: int = 0, **parameters: str) -> RawClient:
        """As far as ReadyForQuery. Raises Refused."""
        client = self.open()
        client.send(startup(user, database, minor=minor, **parameters))
        answer_scram(client, password)
        welcome(client)
        return client


class Refused(Exception):
    """The login failed; `answer` is what was said."""

    def __init__(self, answer: list[Message]) -> None:
        super().__init__(str(answer))
        self.answer = answer

    @property
    def sqlstate(self) -> str:
        return next((message.sqlstate for message in self.answer if message.kind == "E"), "")

    @property
    def error(self) -> Message:
        return next(message for message in self.answer if message.kind == "E")


def read_or_refused(client: RawClient, kind: str) -> Message:
    try:
        found = client.until(kind + "E")
    except Closed:
        raise Refused(client.transcript) from None
    if found[-1].kind == "E":
        raise Refused(client.transcript)
    return found[-1]


def answer_scram(client: RawClient, password: str, *, plus: bool = False) -> None:
    """From AuthenticationSASL to the proof, which is sent; what comes next is the caller's to read."""
    binding = ("tls-server-end-point", end_point_hash(client)) if plus else None
    mechanism = "SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256"
    scram = ScramClient([mechanism], "ignored", password, channel_binding=binding)
    read_or_refused(client, "R")
    client.send(sasl_initial(mechanism, scram.get_client_first().encode()))
    challenge = read_or_refused(client, "R")
    assert challenge.body[:4] == b"\0\0\0\x0b", challenge
    scram.set_server_first(challenge.body[4:].decode())
    client.send(packet("p", scram.get_client_final().encode()))


def sasl_initial(mechanism: str, first: bytes) -> bytes:
    return packet("p", text(mechanism) + struct.pack(">i", len(first)) + first)


def welcome(client: RawClient) -> list[Message]:
    """From the server's final SCRAM message to ReadyForQuery; keeps the cancel key. Raises Refused."""
    before = len(client.transcript)
    read_or_refused(client, "Z")
    for message in client.transcript:
        if message.kind == "K":
            client.process_id, client.key = int.from_bytes(message.body[:4], "big"), message.body[4:]
    return client.transcript[before:]


def end_point_hash(client: RawClient) -> bytes:
    """RFC 5929 tls-server-end-point of the certificate that this connection was shown."""
    assert isinstance(client.sock, ssl.SSLSocket)
    certificate = x509.load_der_x509_certificate(client.sock.getpeercert(binary_form=True) or b"")
    assert certificate.signature_hash_algorithm is not None
    return certificate.fingerprint(certificate.signature_hash_algorithm)
