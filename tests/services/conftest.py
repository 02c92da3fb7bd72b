import shutil
from pathlib import Path

import pytest

from tests.services.world import World, made, made_with_admins, opened


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: each test gets a copy of the files."""
    folder = tmp_path_factory.mktemp("template")
    made(folder)
    return folder


@pytest.fixture(scope="session")
def template_with_admins(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("admins") / "state"
    made_with_admins(folder, template)
    return folder


@pytest.fixture
def world(template: Path, tmp_path: Path) -> World:
    shutil.copytree(template, tmp_path / "state")
    return opened(tmp_path / "state")
