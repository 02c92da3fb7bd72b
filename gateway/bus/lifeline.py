"""What ties a child to its supervisor: a socket in the place of the child's stdin, JSON objects one a line.

Down come the settings (first of all, with what this child is to be; and again after each reload) and "retire"; up goes "ready". A
child that waits for the first of them is a spare. When the lifeline ends, the supervisor is gone, and the child has to go too. A
child that is run by hand has no lifeline: its stdin is no socket.
"""

import asyncio
import contextlib
import json
import os
import socket
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.settings import Settings

READY: Final = b'{"kind":"ready"}\n'
RETIRE: Final = b'{"kind":"retire"}\n'
_CHUNK: Final = 65536


@dataclass(frozen=True, slots=True)
class Duty:
    """Which worker a child is to be. `number` is its own while it lives, `place` its place among the workers."""

    number: int
    place: int


def settings_line(settings: Settings, duty: Duty | None = None) -> bytes:
    fields: dict[str, object] = {"kind": "settings", "settings": settings.model_dump(mode="json")}
    if duty is not None:
        fields |= {"number": duty.number, "place": duty.place}
    return json.dumps(fields).encode() + b"\n"


class LifelineError(Exception):
    """What comes down the lifeline is not what a supervisor says."""


class Lifeline:
    """The child's end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = b""

    @classmethod
    def inherited(cls) -> "Lifeline | None":
        """None: nobody supervises this process."""
        try:
            if not stat.S_ISSOCK(os.fstat(sys.stdin.fileno()).st_mode):
                return None
            return cls(socket.socket(fileno=os.dup(sys.stdin.fileno())))
        except (OSError, ValueError, AttributeError):  # no stdin at all
            return None

    def first_settings(self) -> Settings:
        """Blocks until they are there: the supervisor sends them when it starts a child. Raises LifelineError, OSError."""
        return self.first_duty()[0]

    def first_duty(self) -> tuple[Settings, Duty | None]:
        """The same, with which worker this is to be (None for a child that is no worker)."""
        while b"\n" not in self._rest:
            data = self._sock.recv(_CHUNK)
            if not data:
                raise LifelineError("the supervisor ended")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        settings = _settings_in(line)
        if settings is None:
            raise LifelineError("the supervisor sent no settings")
        match json.loads(line):
            case {"number": int(number), "place": int(place)}:
                return settings, Duty(number, place)
            case _:
                return settings, None

    def follow(
        self, *, on_settings: Callable[[Settings], None], on_retire: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        """On the running event loop, until the end."""
        self._sock.setblocking(False)
        loop = asyncio.get_running_loop()

        def readable() -> None:
            try:
                data = self._sock.recv(_CHUNK)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                loop.remove_reader(self._sock.fileno())
                on_end()
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                if line + b"\n" == RETIRE:
                    on_retire()
                elif (settings := _settings_in(line)) is not None:
                    on_settings(settings)

        loop.add_reader(self._sock.fileno(), readable)

    def ready(self) -> None:
        """Tell the supervisor that this process serves."""
        with contextlib.suppress(OSError):
            self._sock.send(READY)


def _settings_in(line: bytes) -> Settings | None:
    match json.loads(line):
        case {"kind": "settings", "settings": dict(values)}:
            return Settings.model_validate(values)
        case _:
            return None
