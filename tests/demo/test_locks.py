"""The locks fit pyproject.toml, pin each package by hash, and name no place to download from."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
BUILD = PROJECT["build-system"]["requires"]
RUNTIME = PROJECT["project"]["dependencies"] + BUILD
SERVERS = ("aws", "gcp", "mail", "pagerduty", "slack", "vault")
LOCKS = {
    "requirements.txt": RUNTIME,
    "requirements-demo.txt": RUNTIME + EXTRAS["demo"],
    "requirements-dev.txt": RUNTIME + EXTRAS["demo"] + EXTRAS["dev"],
    "requirements-extras.txt": [*RUNTIME, *(each for name in SERVERS for each in EXTRAS[name])],
}


def pins(text: str) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_holds_what_the_project_asks_for(lock: str) -> None:
    pinned = pins((ROOT / lock).read_text())
    for wanted in map(Requirement, LOCKS[lock]):
        version = pinned.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted} is not in {lock}: make lock"
        assert wanted.specifier.contains(version), f"{lock} has {wanted.name} {version}, not {wanted.specifier}: make lock"


def test_the_locks_agree() -> None:
    runtime, demo, dev, extras = (pins((ROOT / lock).read_text()) for lock in LOCKS)
    assert runtime.items() <= demo.items() <= dev.items()
    assert runtime.items() <= extras.items() <= dev.items(), "what is run with them is what is tested"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_is_hashes_and_names_only(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|^-|file:|/(?!\w*$)", re.sub(r"^ *#.*$", "", text, flags=re.MULTILINE), re.MULTILINE)
    entries = re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).strip())
    assert len(entries) == len(pins(text))
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
