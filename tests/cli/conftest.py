"""`world`: a store of one's own, reached in both ways."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.world import World, make_world, served


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGBASTION_URL", "PGBASTION_TOKEN", "PGBASTION_TOKEN_FILE", "PGBASTION_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def local(tmp_path: Path, plain_environment: None) -> World:
    return make_world(tmp_path)


@pytest.fixture
def remote(local: World) -> Iterator[World]:
    with served(local) as world:
        yield world


@pytest.fixture(params=["local", "remote"])
def world(request: pytest.FixtureRequest, local: World) -> World:
    found: World = local if request.param == "local" else request.getfixturevalue("remote")
    return found
