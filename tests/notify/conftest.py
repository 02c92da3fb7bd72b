"""What the tests of notify have in common."""

from pathlib import Path

import pytest

from tests.notify.world import World, small_world


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return await small_world(tmp_path)
