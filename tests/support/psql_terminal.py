"""psql at a terminal, where it asks and answers differently than in a script."""

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

_SECONDS = 10


@dataclass
class Terminal:
    """What psql sees as its terminal. `type` sends keys, `read_until` waits for what it shows."""

    fd: int
    shown: str = ""

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def read_until(self, pattern: str) -> str:
        """Everything up to and including the first match; later text stays for the next call."""
        deadline = time.monotonic() + _SECONDS
        while not (found := re.search(pattern, self.shown)):
            ready = select.select([self.fd], [], [], max(deadline - time.monotonic(), 0))[0]
            assert ready, f"{pattern!r} was not shown, but {self.shown!r}"
            self.shown += os.read(self.fd, 65536).decode(errors="replace")
        text, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return text


@contextlib.contextmanager
def at_terminal(psql: str, environment: dict[str, str]) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [psql, "-X", "-q", "-n", "-P", "pager=off", "-v", "PROMPT1=ready> "],
        env={**environment, "TERM": "dumb"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # its controlling terminal, so that Ctrl-C becomes SIGINT
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )
    os.close(theirs)
    try:
        terminal = Terminal(ours)
        terminal.read_until("ready> ")
        yield terminal
    finally:
        process.kill()
        process.wait()
        os.close(ours)
