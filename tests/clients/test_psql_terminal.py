"""psql at a terminal, where it behaves differently from a script: Ctrl-C and \\c."""

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.doors import ENDLESS, Door, program

_SECONDS = 10
_CTRL_C = "\x03"


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


@pytest.fixture(scope="module")
def psql() -> str:
    return program("psql", "postgresql-client")


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


def test_ctrl_c_cancels_the_query_and_not_the_session(psql: str, reader: Door) -> None:
    with at_terminal(psql, reader.environment(PGAPPNAME="cancel me")) as terminal:
        terminal.type(f"{ENDLESS};\n")
        reader.wait_until_running("cancel me")
        terminal.type(_CTRL_C)
        terminal.read_until("canceling statement due to user request")
        terminal.type("SELECT 'still ' || 'here';\n")
        terminal.read_until("still here")
    record = reader.gateway.wait_for_event(event="cancel", application="cancel me")
    assert record["outcome"] == "sent"


def test_a_query_cancelled_in_a_transaction_aborts_it(psql: str, reader: Door) -> None:
    with at_terminal(psql, reader.environment(PGAPPNAME="cancel in transaction")) as terminal:
        terminal.type(f"BEGIN;\n{ENDLESS};\n")
        reader.wait_until_running("cancel in transaction")
        terminal.type(_CTRL_C)
        terminal.read_until("canceling statement")
        terminal.type("SELECT 1;\n")
        terminal.read_until("current transaction is aborted")


def test_connecting_to_another_database(psql: str, reader: Door, writer: Door) -> None:
    """\\c goes to another target; one that a person may not use, and a mode they do not have, leave the old session."""
    other = reader.gateway.target(reader.database)
    reader.gateway.grant(reader.person, other)
    reader.gateway.settle(reader.person, other)
    with at_terminal(psql, reader.environment()) as terminal:
        terminal.type(f"\\c {writer.target}\n")
        terminal.read_until("Previous connection kept")
        terminal.type(f"\\c {other}:rw\n")
        terminal.read_until("Previous connection kept")
        terminal.type("SELECT 'the ' || 'old one';\n")
        terminal.read_until("the old one")
        terminal.type(f"\\c {other}\n")
        terminal.read_until("ready> ")
        terminal.type("\\echo on :DBNAME\n")
        terminal.read_until(f"on {other}")
