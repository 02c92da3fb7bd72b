"""Where a sign-in is kept: a file for its owner alone, or the system's keyring; one token for each API."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gateway.cli import token_store
from gateway.cli.errors import CommandError
from gateway.secret import Secret

HERE, THERE = "https://one.example:6480", "https://two.example:6480"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PGBASTION_NO_KEYRING", "1")
    return tmp_path / "pgbastion"


class Ring:
    """The keyring library's interface, as far as it is used."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.is_locked = False

    def get_password(self, service: str, name: str) -> str | None:
        if self.is_locked:
            raise RuntimeError("locked")
        return self.held.get((service, name))

    def set_password(self, service: str, name: str, password: str) -> None:
        if self.is_locked:
            raise RuntimeError("locked")
        self.held[service, name] = password

    def delete_password(self, service: str, name: str) -> None:
        del self.held[service, name]


@pytest.fixture
def ring(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Ring:
    """The library itself is optional; this stands for it, with a keyring behind it."""
    found = Ring()
    library, backends = ModuleType("keyring"), ModuleType("keyring.backends")
    library.get_keyring = lambda: found  # type: ignore[attr-defined]
    for name in ("fail", "null"):
        module = ModuleType(f"keyring.backends.{name}")
        module.Keyring = type("Keyring", (), {})  # type: ignore[attr-defined]
        setattr(backends, name, module)
    monkeypatch.setitem(sys.modules, "keyring", library)
    monkeypatch.setitem(sys.modules, "keyring.backends", backends)
    monkeypatch.delenv("PGBASTION_NO_KEYRING")
    return found


def revealed(url: str) -> str | None:
    found = token_store.find_token(url)
    return None if found is None else found.reveal()


def test_a_file_for_its_owner_alone(folder: Path) -> None:
    assert token_store.current() is None
    ca_file = folder.parent / "ca.pem"
    kept = token_store.keep(HERE + "/", Secret("pgb_one"), ca_file)
    token_store.keep(THERE, Secret("pgb_two"))
    assert kept.where == str(folder / "tokens.json")
    assert (folder.stat().st_mode & 0o777, (folder / "tokens.json").stat().st_mode & 0o777) == (0o700, 0o600)
    assert (revealed(HERE), revealed(THERE), revealed("https://three.example")) == ("pgb_one", "pgb_two", None)
    assert (token_store.ca_file_of(HERE), token_store.ca_file_of(THERE)) == (ca_file, None)
    current = token_store.current()
    assert current is not None
    assert current.url == THERE
    assert token_store.forget(THERE)
    assert not token_store.forget(THERE)
    current = token_store.current()
    assert current is not None
    assert (current.url, revealed(THERE)) == (HERE, None)
    token_store.forget(HERE)
    assert not list(folder.iterdir())


def test_the_last_sign_in_is_the_current_one(folder: Path) -> None:
    for url in (HERE, THERE, HERE):
        token_store.keep(url, Secret(f"pgb_{url}"))
    current = token_store.current()
    assert current is not None
    assert current.url == HERE


def test_a_file_that_others_may_read_is_not_used(folder: Path) -> None:
    token_store.keep(HERE, Secret("pgb_one"))
    (folder / "tokens.json").chmod(0o640)
    with pytest.raises(CommandError, match="not yours alone"):
        token_store.find_token(HERE)


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "\xff"])
def test_a_broken_file_is_named(folder: Path, content: str) -> None:
    token_store.keep(HERE, Secret("pgb_one"))
    (folder / "tokens.json").write_text(content, "latin-1")
    with pytest.raises(CommandError, match=r"tokens\.json"):
        token_store.find_token(HERE)


def test_a_keyring_holds_the_token_and_no_file_does(ring: Ring, folder: Path) -> None:
    kept = token_store.keep(HERE, Secret("pgb_one"))
    assert "keyring" in kept.where
    assert ring.held == {("pgbastion", HERE): "pgb_one"}
    assert json.loads((folder / "logins.json").read_text()) == {HERE: ""}
    assert not (folder / "tokens.json").exists()
    assert revealed(HERE) == "pgb_one"
    assert token_store.forget(HERE)
    assert (ring.held, revealed(HERE)) == ({}, None)


def test_a_keyring_that_does_not_open_is_none(ring: Ring, folder: Path) -> None:
    ring.is_locked = True
    kept = token_store.keep(HERE, Secret("pgb_one"))
    assert kept.where == str(folder / "tokens.json")
    assert revealed(HERE) == "pgb_one"


def test_what_moved_into_the_keyring_is_in_no_file(ring: Ring, folder: Path) -> None:
    ring.is_locked = True
    token_store.keep(HERE, Secret("pgb_one"))
    ring.is_locked = False
    token_store.keep(HERE, Secret("pgb_two"))
    assert not (folder / "tokens.json").exists()
    assert revealed(HERE) == "pgb_two"


def test_who_has_no_home_is_signed_in_nowhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that need no sign-in go on without one."""
    token_store.keep(HERE, Secret("pgb_one"))
    (folder / "logins.json").write_text("broken")
    assert (token_store.current(), token_store.ca_file_of(HERE), token_store.find_token(HERE)) == (None, None, None)
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert (token_store.current(), token_store.find_token(HERE)) == (None, None)
