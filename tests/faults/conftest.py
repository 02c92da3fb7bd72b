"""Faults are made for a gateway of the test's own."""

from pathlib import Path

import pytest

from tests.support.faults import Measured


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    return Measured(tmp_path / "measured.txt")
