"""One server, gateway and set of templates for all tests of this folder that a process runs; tables at the end."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from gateway.demo.binaries import PostgresError, Preference, find_binaries, server_account
from tests.oracle.entries import study_folder
from tests.oracle.report import report_folder
from tests.oracle.world import World, make_template, running_world
from tests.support.upstream import CHOICE_VARIABLE

_STARTED = time.time()
Worlds = Callable[[str, str], World]


def full() -> bool:
    """Every way for each entry, on every kind of server that there is here."""
    return os.environ.get("PGBASTION_ORACLE") == "full"


def servers() -> list[str]:
    chosen = os.environ.get(CHOICE_VARIABLE, "")
    if chosen in ("installed", "embedded"):
        return [chosen]
    found = {}
    for prefer in ("installed", "embedded"):
        with contextlib.suppress(PostgresError):
            found[prefer] = find_binaries(cast(Preference, prefer), server_account()).major
    usual = sorted(found, key=lambda prefer: found[prefer], reverse=True)
    return usual if full() else usual[:1]


@pytest.fixture(scope="session")
def worlds() -> Iterator[Worlds]:
    """A world by kind of server and template, started when it is first asked for."""
    with contextlib.ExitStack() as stack:
        running: dict[str, World] = {}

        def world(server: str, template: str) -> World:
            if server not in running:
                running[server] = stack.enter_context(running_world(cast(Preference, server)))
            found = running[server]
            if template not in found.cluster.templates:
                make_template(found.cluster, template, study_folder() if template == "study" else None)
            return found

        yield world


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for path in sorted(report_folder().glob("table-*.txt")):
        if path.stat().st_mtime >= _STARTED:
            terminalreporter.write_line("")
            terminalreporter.write(path.read_text())
