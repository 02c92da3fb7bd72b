"""A PostgreSQL server that a test scripts: it can log clients in properly, by SCRAM, and then lie, stall or break off at will."""

import contextlib
import hashlib
import hmac
import secrets
import socket
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway.access.model import TlsMode
from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services import targets
from gateway.statements.catalog_rows import CATALOG_QUERIES
from tests.support.gateway import WHY, Person, RunningGateway
from tests.support.wire import Message, Place, packet, text

CANCEL_CODE, SSL_CODE = 80877102, 80877103
LOGIN = "hostile_ro"
PASSWORD = "the-gateways-own-password"
PROCESS_ID, KEY = 4711, b"\x11\x22\x33\x44"
AUTHENTICATED = packet("R", bytes(4))


class Gone(Exception):
    """The gateway closed."""


@dataclass
class Guest:
    """One connection that the gateway made. `received` is every byte of it, `parameters` its startup packet."""

    sock: socket.socket
    received: bytes = b""
    parameters: dict[str, str] = field(default_factory=dict)
    closed: threading.Event = field(default_factory=threading.Event)
    _at: int = 0

    def take(self, count: int) -> bytes:
        """Raises Gone."""
        while len(self.received) - self._at < count:
            try:
                chunk = self.sock.recv(65536)
            except OSError:
                chunk = b""
            if not chunk:
                self.closed.set()
                raise Gone
            self.received += chunk
        taken = self.received[self._at : self._at + count]
        self._at += count
        return taken

    def send(self, *data: bytes) -> None:
        try:
            self.sock.sendall(b"".join(data))
        except OSError:
            self.closed.set()
            raise Gone from None

    def read(self) -> Message:
        kind, length = struct.unpack(">cI", self.take(5))
        return Message(kind.decode("latin-1"), self.take(length - 4))

    def until_gone(self) -> None:
        """Raises Gone, at last."""
        while True:
            self.take(1)

    def first_packet(self) -> int:
        """Its code; the parameters are kept if it is a startup packet."""
        (length,) = struct.unpack(">I", self.take(4))
        body = self.take(length - 4)
        fields = body[4:].rstrip(b"\0").split(b"\0")
        (code,) = struct.unpack_from(">I", body)
        if code == 3 << 16:
            self.parameters = {n.decode(): v.decode() for n, v in zip(fields[::2], fields[1::2], strict=False)}
        return int(code)

    def scram(self, *, iterations: int = 4096, spoil: Callable[[str], str] = str, final: Callable[[str], str] = str) -> None:
        """As far as the server's last message (the proof is not checked). `spoil` and `final` may change what it says."""
        salt, nonce = secrets.token_bytes(16), secrets.token_hex(12)
        self.send(packet("R", struct.pack(">I", 10) + text("SCRAM-SHA-256") + b"\0"))
        initial = self.read().body
        bare = initial[initial.index(b"n=") :].decode()
        first = f"{bare[bare.index('r=') :]}{nonce},s={b64encode(salt).decode()},i={iterations}"
        self.send(packet("R", struct.pack(">I", 11) + spoil(first).encode()))
        without_proof = self.read().body.decode().rpartition(",p=")[0]
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, iterations)
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        signature = hmac.digest(server_key, f"{bare},{first},{without_proof}".encode(), "sha256")
        last = "v=" + b64encode(signature).decode()
        self.send(packet("R", struct.pack(">I", 12) + final(last).encode()))

    def reports(self, **other: str | None) -> bytes:
        """What an honest server says of itself; None leaves a setting out."""
        honest: dict[str, str | None] = {
            "server_version": "16.4",
            "server_encoding": "UTF8",
            "client_encoding": "UTF8",
            "standard_conforming_strings": "on",
            "is_superuser": "off",
            "session_authorization": self.parameters["user"],
            "default_transaction_read_only": self.parameters["default_transaction_read_only"],
            "application_name": self.parameters["application_name"],
        }
        honest.update(other)
        return b"".join(status(name, value) for name, value in honest.items() if value is not None)

    def log_in(self, *, key: bytes | None = KEY, **reports: str | None) -> None:
        """From the startup packet to ReadyForQuery, and the answer to the one question that the gateway has then."""
        self.first_packet()
        self.scram()
        self.admit(key=key, **reports)

    def admit(self, *, key: bytes | None = KEY, **reports: str | None) -> None:
        """What comes behind the proof."""
        key_data = packet("K", struct.pack(">I", PROCESS_ID) + key) if key is not None else b""
        self.send(AUTHENTICATED, self.reports(**reports), key_data, ready())
        assert b"pg_backend_pid()" in self.read().body
        self.send(row(str(PROCESS_ID), self.parameters["default_transaction_read_only"]), ready())

    def serve_selects(self) -> None:
        """One row for each Query, until the gateway closes."""
        while True:
            message = self.read()
            if message.kind == "Q":
                self.send(row("1"), ready())


def status(name: str, value: str) -> bytes:
    return packet("S", text(name) + text(value))


def ready(state: str = "I") -> bytes:
    return packet("Z", state.encode())


def row(*values: str) -> bytes:
    """A whole result of one row."""
    column = text("c") + struct.pack(">IHIhIH", 0, 0, 25, -1, 0xFFFFFFFF, 0)
    data = b"".join(struct.pack(">I", len(value.encode())) + value.encode() for value in values)
    return (
        packet("T", struct.pack(">H", len(values)) + column * len(values))
        + packet("D", struct.pack(">H", len(values)) + data)
        + packet("C", text("SELECT 1"))
    )


def error(sqlstate: str, message: str, severity: str = "FATAL") -> bytes:
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": message}
    return packet("E", b"".join(key.encode() + text(value) for key, value in fields.items()) + b"\0")


_ASKS_FOR_CATALOG = b"pgbastion/catalog\0"  # its application_name


def answer_catalog(guest: Guest) -> None:
    """An honest server with an empty database."""
    guest.log_in()
    assert guest.read().kind == "Q"
    asked = 2 + sum(query.min_major <= 16 for query in CATALOG_QUERIES)  # with BEGIN and COMMIT
    guest.send(packet("C", text("COPY 0")) * asked, ready())
    guest.until_gone()


Script = Callable[[Guest], None]


@dataclass
class Hostile:
    """The listening server. `guests` in the order of arrival, without cancel requests (those are in `cancels`) and without the
    gateway's own look at what is in the database: there is nothing.
    """

    port: int
    guests: list[Guest] = field(default_factory=list)
    cancels: list[tuple[float, bytes]] = field(default_factory=list)
    script: Script = lambda guest: None

    def wait_for_guest(self, number: int = 0, seconds: float = 5) -> Guest:
        deadline = time.monotonic() + seconds
        while len(self.guests) <= number:
            assert time.monotonic() < deadline, "the gateway did not come"
            time.sleep(0.01)
        return self.guests[number]


@contextlib.contextmanager
def hostile(script: Script) -> Iterator[Hostile]:
    """`script` runs in a thread for each connection, which is closed when it returns."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Hostile(listening.getsockname()[1], script=script)
    threads: list[threading.Thread] = []

    def serve(sock: socket.socket) -> None:
        guest = Guest(sock)
        with sock, contextlib.suppress(Gone, OSError):
            head = sock.recv(16, socket.MSG_PEEK)
            if len(head) >= 8 and struct.unpack_from(">I", head, 4)[0] == CANCEL_CODE:
                server.cancels.append((time.monotonic(), sock.recv(512)[8:]))
                return
            if _ASKS_FOR_CATALOG in sock.recv(4096, socket.MSG_PEEK):
                answer_catalog(guest)
                return
            server.guests.append(guest)
            server.script(guest)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listening.accept()
                sock.settimeout(30)
                thread = threading.Thread(target=serve, args=(sock,), daemon=True)
                thread.start()
                threads.append(thread)

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        listening.close()
        for guest in server.guests:
            with contextlib.suppress(OSError):
                guest.sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(2)


@dataclass(frozen=True)
class Victim:
    """Somebody with a right on a target whose server is the hostile one."""

    gateway: RunningGateway = field(repr=False)
    person: Person = field(repr=False)
    target: str

    @property
    def place(self) -> Place:
        return Place(self.gateway.host, self.gateway.port, self.gateway.ca_file)

    def log_in(self, **more: Any) -> Any:
        return self.place.log_in(self.person.name, self.person.password, self.target, **more)


def victim_of(
    gateway: RunningGateway, port: int, *, tls: TlsMode = TlsMode.DISABLE, ca_pem: str | None = None, host: str = "127.0.0.1"
) -> Victim:
    name = f"t_{secrets.token_hex(4)}"
    place = targets.Place(host, port, "somewhere", tls, ca_pem)
    gateway.admin.change(targets.create_target(gateway.admin.store, name=name, place=place, **WHY))
    gateway.login(name, AccessMode.READ_ONLY, LOGIN, Secret(PASSWORD))
    person = gateway.person()
    gateway.grant(person, name)
    time.sleep(0.3)  # the workers' next look at the store
    return Victim(gateway, person, name)
