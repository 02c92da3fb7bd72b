"""The bus: wake-ups, cancels and questions between the processes of one gateway.

The supervisor runs the `BusHub`; each worker is a `BusPeer` named "worker:N"; a command (`notify`, `ask`) connects
for a moment. Nothing that must not be lost may depend on the bus: a message to a peer that is away is dropped.
What it says is "look again".
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.bus.lines import (
    ALL,
    HELLO,
    HUB,
    MAX_LINE_BYTES,
    BusIncomplete,
    BusLineError,
    BusUnavailable,
    Envelope,
    Handler,
    LateReply,
    LineProtocol,
    Payload,
    Reply,
    address_of,
    finish,
    handle,
)

CONNECTED: Final = "connected"  # a peer's own handler of this kind runs at each (re)connection: what came before is lost
_BACKOFF_SECONDS: Final = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class BusPeer:
    """A process's connection to the hub. It comes back by itself; while it is away, nothing is sent or heard."""

    def __init__(self, path: Path, name: str, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._name = name
        self._handlers = handlers
        self._connection: LineProtocol | None = None
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._questions: dict[int, _Question] = {}
        self._last_id = 0
        self._late: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def start(self) -> None:
        """Returns after the first attempt to connect, successful or not."""
        with contextlib.suppress(OSError):
            await self._connect()
        self._task = asyncio.create_task(self._keep(), name=f"bus {self._name}")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for late in self._late:
            late.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(self, to: str, kind: str, payload: Payload) -> bool:
        """To "all" other workers, to one peer or to the "hub". Never blocks; False: dropped."""
        return self._connection is not None and self._connection.write(Envelope(to, kind, self._name, payload).encode())

    async def gather(self, kind: str, payload: Payload, timeout_seconds: float) -> list[Payload]:
        """Ask all other workers. What has come after `timeout_seconds` is all there is."""
        return (await self._question(ALL, kind, payload, timeout_seconds)).answers

    async def ask(self, to: str, kind: str, payload: Payload, timeout_seconds: float) -> Payload:
        """Ask the hub, or one peer. Raises BusUnavailable when no answer comes, at the latest after `timeout_seconds`."""
        question = await self._question(to, kind, payload, timeout_seconds)
        if not question.answers:
            raise BusUnavailable(f"{to} does not answer")
        return question.answers[0]

    async def _question(self, to: str, kind: str, payload: Payload, timeout_seconds: float) -> "_Question":
        self._last_id += 1
        number = self._last_id
        question = self._questions[number] = _Question()
        try:
            line = Envelope(to, kind, self._name, payload, id=number).encode()
            if self._connection is not None and self._connection.write(line):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_seconds):
                        await question.done.wait()
        finally:
            del self._questions[number]
        return question

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        with address_of(self._path) as address:
            _, connection = await loop.create_unix_connection(
                lambda: LineProtocol(self._received, self._closed, check=True), address
            )
        self._lost.clear()
        self._connection = connection
        connection.write(Envelope(HUB, HELLO, self._name).encode())
        handle(self._handlers, Envelope(self._name, CONNECTED, self._name))

    async def _keep(self) -> None:
        attempt = 0
        while True:
            if self._connection is not None:
                attempt = 0
                await self._lost.wait()
            await asyncio.sleep(_BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)])
            attempt += 1
            with contextlib.suppress(OSError):
                await self._connect()

    def _closed(self, connection: LineProtocol) -> None:
        if self._connection is connection:
            self._connection = None
            self._lost.set()
            for question in self._questions.values():  # nobody is left to answer them
                question.done.set()

    def _received(self, connection: LineProtocol, envelope: Envelope) -> None:
        if envelope.re:
            if (question := self._questions.get(envelope.re)) is not None:
                question.hear(envelope)
            return
        reply = handle(self._handlers, envelope)
        if isinstance(reply, Coroutine):
            late = asyncio.create_task(self._answer_late(connection, envelope, reply), name=f"bus {envelope.kind}")
            self._late.add(late)
            late.add_done_callback(self._late.discard)
        elif envelope.id:
            self._reply(connection, envelope, reply)

    async def _answer_late(self, connection: LineProtocol, envelope: Envelope, late: LateReply) -> None:
        reply = await finish(late, envelope.kind)
        if envelope.id:
            self._reply(connection, envelope, reply)

    def _reply(self, connection: LineProtocol, envelope: Envelope, reply: Reply) -> None:
        connection.write(Envelope(envelope.sender, "reply", self._name, reply, re=envelope.id).encode())


class _Question:
    """An asked question: how many answers are still to come is known once the hub has said so."""

    def __init__(self) -> None:
        self.answers: list[Payload] = []
        self.heard = 0
        self.expected = -1
        self.done = asyncio.Event()

    def hear(self, envelope: Envelope) -> None:
        if envelope.expected >= 0:
            self.expected = envelope.expected
        else:
            self.heard += 1
            self.answers += envelope.answers
        if self.heard == self.expected:
            self.done.set()


def notify(path: Path, kind: str, payload: Payload, *, to: str = ALL) -> bool:
    """From a command, blocking: tell the workers. False when no gateway runs here."""
    try:
        with _command_connection(path, timeout_seconds=1.0) as connection:
            connection.sendall(Envelope(to, kind, body=payload).encode())
    except (OSError, BusUnavailable):
        return False
    return True


def ask(path: Path, kind: str, payload: Payload, timeout_seconds: float = 2.0, *, to: str = ALL) -> list[Payload]:
    """From a command, blocking: what all workers answer, put together.

    Raises BusUnavailable when no gateway runs here, BusIncomplete when a worker did not answer in time.
    """
    deadline = time.monotonic() + timeout_seconds
    answers: list[Payload] = []
    heard, expected = 0, -1
    try:
        with _command_connection(path, timeout_seconds) as connection, connection.makefile("rb") as lines:
            connection.sendall(Envelope(to, kind, body=payload, id=1).encode())
            while heard != expected:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                line = lines.readline(MAX_LINE_BYTES)
                if not line:
                    raise BusUnavailable("the gateway ended while it was asked")
                envelope = Envelope.decode(line)
                if envelope.expected >= 0:
                    expected = envelope.expected
                else:
                    heard += 1
                    answers += envelope.answers
    except TimeoutError as error:
        if expected < 0:
            raise BusUnavailable(f"the gateway did not answer within {timeout_seconds:g} s") from error
        text = f"{expected - heard} of {expected} workers did not answer within {timeout_seconds:g} s"
        raise BusIncomplete(text, answers) from error
    except (OSError, BusLineError) as error:
        raise BusUnavailable(f"no gateway answers at {path}: {error}") from error
    return answers


@contextlib.contextmanager
def _command_connection(path: Path, timeout_seconds: float) -> Iterator[socket.socket]:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection, address_of(path) as address:
        connection.settimeout(timeout_seconds)
        connection.connect(address)
        yield connection
