import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.slack.world import SlackWorld, make_store, slack_world


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: each test gets a copy of the files."""
    folder = tmp_path_factory.mktemp("slack") / "state"
    asyncio.run(make_store(folder))
    return folder


@pytest.fixture
async def world(template: Path, tmp_path: Path) -> AsyncIterator[SlackWorld]:
    shutil.copytree(template, tmp_path / "state")
    async with slack_world(tmp_path / "state") as world:
        yield world
