"""What travels on the bus between the processes of one gateway: JSON objects, one a line, over a Unix socket."""

import asyncio
import json
import os
import socket
import struct
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, cast

import structlog

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
Payload: TypeAlias = dict[str, JsonValue]
Reply: TypeAlias = Payload | list[Payload] | None

ALL: Final = "all"  # every worker but the sender
ANY: Final = "any"  # one of the workers, whichever
HUB: Final = "hub"
CLERK: Final = "clerk"  # who writes into the store what workers ask for
CUSTODIAN: Final = "custodian"  # who makes database roles of people's own
HELLO: Final = "hello"
WORKER: Final = "worker:"  # before its number: the name of a worker's peer
ASKED_BY_SQL: Final = "asked-by-sql"  # of the clerk, by a worker for a session's person
DENIED_STATEMENT: Final = "denied-statement"  # of all workers: the text behind a refusal's code

MAX_LINE_BYTES: Final = 16 * 1024 * 1024  # a worker's whole session list is one line
MAX_UNSENT_BYTES: Final = 32 * 1024 * 1024
_log: Final = structlog.stdlib.get_logger("gateway.bus")

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_MAX_ADDRESS_BYTES: Final = 100  # sun_path holds 104 to 108


class BusError(Exception):
    """Root of this package's errors."""


class BusUnavailable(BusError):
    """No hub answers at this path: no gateway runs with this state directory, or it is not ours to ask."""


class BusIncomplete(BusError):
    """Some workers did not answer in time. `answers` holds what the others said."""

    def __init__(self, text: str, answers: list[Payload]) -> None:
        super().__init__(text)
        self.answers = answers


class BusLineError(BusError):
    """A line that is not ours: the connection is closed."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a handler gets. `sender` is the peer's name ("worker:3", "supervisor"; "anonymous:n" for a command)."""

    sender: str
    kind: str
    payload: Payload


LateReply: TypeAlias = Coroutine[object, object, Reply]
Handler: TypeAlias = Callable[[Message], "Reply | LateReply"]
"""Runs on the event loop and must not block. What it returns is the answer when one was asked for, else dropped.

A peer's handler (not the hub's) may be a coroutine function: it runs as a task, and is cancelled when the peer is closed.
"""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A line. `id` asks for an answer; an answer has it in `re`. `expected` (from the hub): how many answers will come."""

    to: str
    kind: str
    sender: str = ""
    body: Reply = None
    id: int = 0
    re: int = 0
    expected: int = -1

    def encode(self) -> bytes:
        fields: dict[str, JsonValue] = {"to": self.to, "kind": self.kind}
        if self.sender:
            fields["from"] = self.sender
        if self.body is not None:
            fields["body"] = cast("JsonValue", self.body)
        if self.id:
            fields["id"] = self.id
        if self.re:
            fields["re"] = self.re
        if self.expected >= 0:
            fields["expected"] = self.expected
        return _encode(fields).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Envelope":
        """Raises BusLineError."""
        try:
            fields = json.loads(line)
            envelope = cls(
                fields["to"],
                fields["kind"],
                fields.get("from", ""),
                fields.get("body"),
                fields.get("id", 0),
                fields.get("re", 0),
                fields.get("expected", -1),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BusLineError("not a bus message") from error
        texts = (envelope.to, envelope.kind, envelope.sender)
        numbers = (envelope.id, envelope.re, envelope.expected)
        if not (all(isinstance(text, str) for text in texts) and all(isinstance(number, int) for number in numbers)):
            raise BusLineError("not a bus message")
        if envelope.body is not None and not isinstance(envelope.body, dict | list):
            raise BusLineError("not a bus message")
        return envelope

    @property
    def payload(self) -> Payload:
        return self.body if isinstance(self.body, dict) else {}

    @property
    def answers(self) -> list[Payload]:
        """An answer's payloads: a handler may give one or several."""
        if isinstance(self.body, list):
            return [item for item in self.body if isinstance(item, dict)]
        return [] if self.body is None else [self.body]


class LineProtocol(asyncio.Protocol):
    """One connection, cut into lines. `received(connection, envelope)` and `closed(connection)` are called on the loop."""

    def __init__(
        self, received: "Callable[[LineProtocol, Envelope], None]", closed: "Callable[[LineProtocol], None]", *, check: bool
    ) -> None:
        self._received = received
        self._closed = closed
        self._check = check
        self._parts: list[bytes] = []
        self._held = 0
        self._transport: asyncio.Transport | None = None
        self.name = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._check and not peer_is_ours(transport.get_extra_info("socket")):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if b"\n" not in data:
            self._parts.append(data)
            self._held += len(data)
            if self._held > MAX_LINE_BYTES:
                self.abort()
            return
        *lines, rest = (b"".join(self._parts) + data).split(b"\n")
        self._parts, self._held = [rest], len(rest)
        for line in lines:
            if self._transport is None or self._transport.is_closing():
                return
            try:
                self._received(self, Envelope.decode(line))
            except BusLineError:
                self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._closed(self)

    def write(self, line: bytes) -> bool:
        """False: not sent, and the connection of a peer that does not read is given up."""
        if self._transport is None or self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.abort()
            return False
        self._transport.write(line)
        return True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def handle(handlers: Mapping[str, Handler], envelope: Envelope) -> "Reply | LateReply":
    """The handler's answer; None when there is no handler, or a broken one."""
    handler = handlers.get(envelope.kind)
    if handler is None:
        return None
    try:
        return handler(Message(envelope.sender, envelope.kind, envelope.payload))
    except Exception:
        # One bad message must not end a process that carries sessions.
        _log.exception("bus handler failed", kind=envelope.kind, sender=envelope.sender)
        return None


async def finish(late: LateReply, kind: str) -> Reply:
    """The answer of a handler that takes its time; None when it breaks."""
    try:
        return await late
    except Exception:
        _log.exception("bus handler failed", kind=kind)
        return None


def peer_is_ours(connection: socket.socket) -> bool:
    """Only our own user and root may speak. Where the kernel does not tell, the socket's mode 0600 alone guards it."""
    if not sys.platform.startswith("linux"):
        return True
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", raw)
    return uid in (0, os.geteuid())


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """The socket's address for bind and connect: a path that is too long for one is reached through its open directory.

    Raises OSError, also where the system has no such way.
    """
    if len(os.fsencode(path)) <= _MAX_ADDRESS_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not Path(f"/proc/self/fd/{directory}").is_dir():
            raise OSError(f"{path} is too long for a socket's name: choose a shorter state_dir")
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
