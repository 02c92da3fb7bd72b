"""Fixtures for the whole suite. Every xdist worker has its own server, so tests never share a cluster across processes."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support.upstream import Database, Login, Upstream, fresh_database, make_logins, running_upstream

# A script of ours must not find tests/support/gateway.py when it imports the package `gateway`.
os.environ.setdefault("PYTHONSAFEPATH", "1")

#: What a file says whose tests share something that takes long to make, or are one story: they go to one process of xdist.
_SHARES = 'scope="module"'

#: Where what comes later stands on what came before: if one fails, `--last-failed` runs the whole file again.
_STORIES = "tests/canary/"


class _Together(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if _is_shared(self.config.rootpath / file) else nodeid


@cache
def _is_shared(file: Path) -> bool:
    return _SHARES in file.read_text()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Not by xdist's own marks: with pytest 9.2 nobody reads them."""
    return _Together(config, log)


class _WholeStories:
    """Puts the rest of a story into what pytest remembers as failed. Asks pytest's own plugin, by its name."""

    def __init__(self) -> None:
        self._seen: dict[str, list[str]] = {}
        self._failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        if file.startswith(_STORIES):
            self._seen.setdefault(file, []).append(report.nodeid)
            if report.failed:
                self._failed.add(file)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        memory = session.config.pluginmanager.get_plugin("lfplugin")
        if memory is not None:
            memory.lastfailed.update(dict.fromkeys((each for file in self._failed for each in self._seen[file]), True))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_WholeStories())


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """A real PostgreSQL for the session. PGBASTION_TEST_POSTGRES=installed|embedded|container forces which."""
    with running_upstream(tmp_path_factory.mktemp("upstream")) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def upstream_ca(postgres: Upstream) -> Path:
    """The CA certificate (PEM) that upstream's own certificate was signed by. See `postgres.has_tls`."""
    return postgres.ca_file


@pytest.fixture(scope="session")
def upstream_logins(postgres: Upstream) -> tuple[Login, Login]:
    """app_ro and app_rw, with passwords."""
    return make_logins(postgres)


@pytest.fixture
def database(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Database]:
    """A fresh database with a few tables, for one test."""
    with fresh_database(postgres, upstream_logins) as fresh:
        yield fresh
