"""One process of the gateway, from its start to its end, and the supervisor's end of its lifeline."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Sequence

from gateway.bus.lifeline import READY, RETIRE, Duty, settings_line
from gateway.settings import Settings


class Child:
    """`name` is how it calls itself on the bus ("worker:3", "api"); a spare has none yet."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, writer: asyncio.StreamWriter) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._process = process
        self._writer = writer
        self.ended: asyncio.Task[int] = asyncio.create_task(process.wait(), name=f"{name} ends")
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, name: str, command: Sequence[str], fds: Sequence[int]) -> "Child":
        """It loads its program and waits for `tell`. A process group of its own: Ctrl-C is for the supervisor. Raises OSError."""
        ours, theirs = socket.socketpair()
        process: asyncio.subprocess.Process | None = None
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(*command, stdin=theirs.fileno(), pass_fds=fds, process_group=0)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            if process is not None:  # it holds our sockets open
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            raise
        child = cls(name, process, writer)
        child._listening = asyncio.create_task(child._listen(reader), name=f"{name} speaks")
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def become(self, name: str, settings: Settings, duty: Duty | None = None) -> None:
        """To work, as this."""
        self.name = name
        self._write(settings_line(settings, duty))

    def tell(self, settings: Settings) -> None:
        """Those in force now."""
        self._write(settings_line(settings))

    def retire(self) -> None:
        """Take nobody new and end when those that are there have gone: a successor is at work."""
        self._write(RETIRE)

    def signal(self, number: signal.Signals) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def close(self) -> None:
        """After its end."""
        self._writer.close()
        if self._listening is not None:
            self._listening.cancel()

    async def until_ready(self, seconds: float, unless: "Child | None" = None) -> bool:
        """False: it ended before, or is still not ready; or `unless` ended meanwhile."""
        ready = asyncio.create_task(self.ready.wait())
        others = [] if unless is None else [unless.ended]
        try:
            await asyncio.wait([ready, self.ended, *others], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        return self.ready.is_set() and not self.ended.done()

    def _write(self, line: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(line)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: a line without end; it is not trusted further
            while line := await reader.readline():
                if line == READY:
                    self.ready.set()
