"""A command on a terminal of its own: what it shows, and what is typed when it asks."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("pgbastion")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Screen:
    raw: str
    status: int

    @property
    def lines(self) -> list[str]:
        """Without colours and cursor movements; of what was written over, what is there in the end."""
        return [line.rstrip("\r").rpartition("\r")[2] for line in _CONTROL.sub("", self.raw).split("\n")]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Terminal:
    """`words` run with this many columns. Leave the block, or call `end`, to have the screen."""

    def __init__(self, *words: str, environment: dict[str, str], columns: int = 100) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        self._process = subprocess.Popen(
            [str(PROGRAM), *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**kept, "TERM": "xterm-256color", **environment},
            start_new_session=True,
        )
        os.close(slave)
        self._seen = b""

    def wait_for(self, text: str, seconds: float = 30, count: int = 1) -> None:
        """Until it was shown that many times."""
        deadline = time.monotonic() + seconds
        while self._seen.decode("utf-8", "replace").count(text) < count:
            assert time.monotonic() < deadline, self._seen
            assert self._read(0.2) or self._process.poll() is None, self._seen

    @property
    def seen(self) -> str:
        """What was shown so far, as it came."""
        return self._seen.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> Screen:
        while self._read(30):
            pass
        os.close(self._master)
        return Screen(self._seen.decode("utf-8", "replace"), self._process.wait(30))

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self._seen += data
        return bool(data)
