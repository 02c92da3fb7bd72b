"""psql's tab completion asks the catalog in its own way for each place of a statement: none of it is refused."""

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doors import Door, program

#: What somebody types before the tab key. A question of what comes next is asked twice: some only answer the second time.
PREFIXES = Path(__file__).with_name("completions.txt").read_text().splitlines()
_MARK = "the mark of "
_SECONDS = 20


@pytest.fixture(scope="module")
def inputrc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No pager, no question whether to show them all, no bell."""
    path = tmp_path_factory.mktemp("readline") / "inputrc"
    path.write_text(
        "set completion-query-items 0\nset page-completions off\nset bell-style none\nset enable-bracketed-paste off\n"
    )
    return path


@contextlib.contextmanager
def typing(environment: dict[str, str]) -> Iterator[int]:
    """psql with its line editor, at a terminal: the terminal's file descriptor."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [program("psql", "postgresql-client"), "-X", "-q", "-P", "pager=off"],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )
    os.close(theirs)
    try:
        yield ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(fd: int, wanted: str) -> str:
    shown, deadline = "", time.monotonic() + _SECONDS
    while wanted not in shown:
        ready = select.select([fd], [], [], max(deadline - time.monotonic(), 0))[0]
        assert ready, f"{wanted!r} was not shown, but {shown[-2000:]!r}"
        shown += os.read(fd, 65536).decode(errors="replace")
    return shown


def test_completing(door: Door, inputrc: Path) -> None:
    environment = {"TERM": "dumb", "INPUTRC": str(inputrc), "PGAPPNAME": "completing", "PSQL_HISTORY": os.devnull}
    shown = []
    with typing(door.environment(**environment)) as fd:
        read_until(fd, "=> ")
        for number, prefix in enumerate(PREFIXES):
            prefix = prefix if prefix[-1:] in "._" or (re.search(r"\w$", prefix) and "." in prefix) else prefix.rstrip() + " "
            # Tabs, then the line is thrown away; the mark's answer is put together, so that its echo is not taken for it.
            os.write(fd, f"{prefix}\t\t".encode() + b"\x05\x15" + f"\\echo '{_MARK}''{number}.'\n".encode())
            shown.append(read_until(fd, f"{_MARK}'{number}."))
    assert door.denials("completing") == []
    asked = door.gateway.events(event="statement", application="completing")
    assert len(asked) > len(PREFIXES) * 0.6
    # Which of the answers still show depends on when psql draws its line anew.
    everything = "".join(shown)
    assert sum(wanted in everything for wanted in ("app.customers", "far_server", "hstore", "app.stage", "some_tables")) > 2
