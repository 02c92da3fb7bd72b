"""What a clone brings: files of its own alone. A link into a machine's disk once took the place of virtual environments."""

import subprocess
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def _git(*arguments: str) -> list[str]:
    ran = subprocess.run(["git", "ls-files", "-z", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True)
    return [entry for entry in ran.stdout.split("\0") if entry]


def test_there_are_no_links() -> None:
    assert len(_git("--stage")) > 100
    assert [entry for entry in _git("--stage") if not entry.startswith("100")] == []


def test_nothing_is_tracked_that_is_to_be_ignored() -> None:
    assert _git("--cached", "--ignored", "--exclude-standard") == []
