"""One count for the whole suite, and one talkative server for all its worlds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary.scanner import Figures
from tests.canary.talkative import talkative_postgres
from tests.support.upstream import Upstream

_FIGURES: "pytest.StashKey[Figures]" = pytest.StashKey()


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    return pytestconfig.stash.setdefault(_FIGURES, Figures())


@pytest.fixture(scope="session")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    folder: Path = tmp_path_factory.mktemp("talkative")
    with talkative_postgres(folder) as upstream:
        yield upstream


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Without xdist; with it each worker has figures of its own."""
    figures = config.stash.get(_FIGURES, None)
    if figures is not None and figures.searches:
        for line in figures.lines():
            terminalreporter.write_line(line)
