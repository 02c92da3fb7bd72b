"""Keys that do not fit, are broken or lie open: what is said about them names them, and shows nothing of them."""

import shutil
from pathlib import Path

import pytest

from gateway.store.vault import ensure_key
from tests.canary.canaries import Canaries
from tests.canary.commands import run_apart, run_here
from tests.canary.keys import note_master_key
from tests.canary.scanner import Figures, Place, Scanner
from tests.support.short_names import SHORT_NAMES_TOML

STARTED = ("another key", "fields swapped")
"""What a whole start is tried with, too: it reads the key as the others do."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with a target's password in it."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "pgbastion.toml").write_text(
        f'state_dir = "state"\n[admin_api]\nport = 0\n[listen]\nport = 0\n{SHORT_NAMES_TOML}'
    )
    environment = {"PGBASTION_CONFIG": str(folder / "pgbastion.toml")}
    assert run_here(["targets", "create", "shop", "--host", "h", "--dbname", "d"], environment).status == 0
    words = ["targets", "login", "shop", "--mode", "ro", "--login", "l", "--password-stdin"]
    assert run_here(words, environment, "a password of its own\n").status == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "own")
    return tmp_path / "own"


def spoil(key: Path, how: str) -> None:
    line = key.read_text().strip()
    prefix, form, key_id, secret, checksum = line.split(":")
    match how:
        case "another key":
            key.unlink()
            ensure_key(key)
        case "open to others":
            key.chmod(0o644)
        case "cut":
            key.write_text(line[:-30])
        case "one letter":
            key.write_text(":".join((prefix, form, key_id, ("A" if secret[0] != "A" else "B") + secret[1:], checksum)))
        case "another form":
            key.write_text(":".join((prefix, "v9", key_id, secret, checksum)))
        case "fields swapped":
            key.write_text(":".join((secret, form, key_id, prefix, checksum)))
        case "secret for an id":
            key.write_text(":".join((prefix, form, secret, key_id, checksum)))
        case "not text":
            key.write_bytes(line.encode() + b"\xff\xfe")
        case "twice":
            key.write_text(f"{line}\n{line[:-4]}\n")
        case _:
            key.write_text("")


@pytest.mark.parametrize(
    "how",
    [
        "another key",
        "open to others",
        "cut",
        "one letter",
        "another form",
        "fields swapped",
        "secret for an id",
        "not text",
        "twice",
        "empty",
    ],
)
def test_a_key_that_does_not_fit(folder: Path, figures: Figures, how: str) -> None:
    scanner, key = Scanner(Canaries(), figures), folder / "state" / "master.key"
    note_master_key(scanner.canaries, key)
    spoil(key, how)
    if how == "another key":
        note_master_key(scanner.canaries, key)
    environment = {"PGBASTION_CONFIG": str(folder / "pgbastion.toml")}
    refused = 0
    listing = (
        ["doctor"],
        ["doctor", "--json"],
        ["users", "list"],
        ["export"],
        ["backup", str(folder / "copy")],
        ["store", "info"],
    )
    for words in (*listing, *([["serve"]] if how in STARTED else [])):
        done = (run_apart if words == ["serve"] else run_here)(words, environment)
        refused += done.status != 0
        scanner.look([Place("command output", f"{words} {how}", done.said.encode())])
        assert "Traceback" not in done.stderr, done.stderr[-800:]
    assert not scanner.leaks, scanner.leaks
    assert refused >= 3
    assert sum(len(each) for each in scanner.canaries.slots.values()) == (2 if how == "another key" else 1)
