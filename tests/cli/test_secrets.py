"""`pgbastion secrets`, `targets login --from`, and what is said of a key that does not fit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.store.key_ring import ensure_key, read_ring
from tests.cli.world import World, make_world

CANARY = "canary-0b7e-upstream"


def settings(world: World, text: str) -> None:
    """Into the configuration file."""
    with world.config.open("a") as file:
        file.write(text)


def with_logins(world: World) -> None:
    world.run("targets", "create", "shop", "--host", "h", "--dbname", "d")
    world.run("targets", "login", "shop", "--mode", "ro", "--login", "reader", "--password-stdin", given=CANARY)


def checks(world: World) -> dict[str, dict[str, str]]:
    """What `doctor` says, by the name of each check, whatever else is wrong here."""
    try:
        found = world.json("doctor", "--skip-targets")
    except AssertionError:
        found = world.json("doctor", "--skip-targets", status=1)
    return {each["check"]: each for each in found}


def events(world: World, action: str) -> list[dict[str, Any]]:
    return world.json_lines("audit", "search", "--event", action)


@pytest.fixture
def keeping(local: World, tmp_path: Path) -> Path:
    """A folder that passwords may be fetched from."""
    folder = (tmp_path / "kept").resolve()
    folder.mkdir()
    settings(local, f'\n[secrets]\nallowed = ["file:{folder}/", "vault:kv/"]\n')
    return folder


def test_the_master_key_is_replaced_and_told(local: World) -> None:
    with_logins(local)
    before = local.json("secrets", "status")
    assert [each["use"] for each in before["keys"]] == ["seals"]
    assert before["sealed"] == [{"kind": "upstream password", "key": before["keys"][0]["key"], "values": 1}]
    assert not before["unfinished"]
    exported = local.json("export")
    said = local.run("secrets", "rotate-key", "--reason", "yearly").stdout
    assert "1 value is sealed with key" in said
    after = local.json("secrets", "status")
    assert len(after["keys"]) == 1
    assert after["keys"][0]["key"] != before["keys"][0]["key"]
    assert before["keys"][0]["key"] in said
    assert local.json("export") == exported
    told = events(local, "secrets.*")
    assert told[-1]["action"] == "secrets.key_rotated"
    assert told[-1]["actor"] == local.actor
    assert told[-1]["reason"] == "yearly"
    again = local.json("secrets", "rotate-key", "--keep-old")
    assert again["kept"]
    assert [each["use"] for each in local.json("secrets", "status")["keys"]] == ["seals", "opens"]


def test_a_key_is_staged_for_other_nodes(local: World) -> None:
    with_logins(local)
    staged = local.json("secrets", "rotate-key", "--stage")["staged"]
    assert [each["use"] for each in local.json("secrets", "status")["keys"]] == ["seals", "staged"]
    assert staged in local.run("secrets", "rotate-key", "--stage").stdout
    assert "either" in local.run("secrets", "rotate-key", "--stage", "--keep-old", status=2).stderr
    assert local.json("secrets", "rotate-key")["key"] == staged


def test_what_cannot_be_sealed_anew_is_named(local: World) -> None:
    import sqlite3

    with_logins(local)
    with sqlite3.connect(local.state / "store.sqlite3") as store:
        store.execute("UPDATE target_roles SET id = 'elsewhere'")
    store.close()
    told = local.json("secrets", "rotate-key", status=1)
    assert not told["finished"]
    assert [(each["kind"], each["row"]) for each in told["unreadable"]] == [("upstream password", "elsewhere")]
    assert "the old one stays" in local.error("secrets", "rotate-key")
    assert local.json("secrets", "status")["unfinished"]
    assert "rotate-key" in checks(local)["key fits store"]["remedy"]
    local.run("targets", "login", "shop", "--mode", "ro", "--login", "reader", "--password-stdin", given=CANARY)
    assert local.json("secrets", "rotate-key")["finished"]


def test_a_key_that_does_not_fit_is_named_by_every_command(local: World, tmp_path: Path) -> None:
    """Which one is expected, and which there is; and `serve` does not start."""
    with_logins(local)
    key = local.state / "master.key"
    wanted = read_ring(key).current.name
    shutil.move(key, tmp_path / "kept.key")
    ensure_key(key)
    there = read_ring(key).current.name
    sentence = f"sealed with master key {wanted}, but the key file holds key {there}"
    for words in (("users", "list"), ("targets", "list"), ("secrets", "list"), ("export",), ("grants", "list"), ("whoami",)):
        assert sentence in local.error(*words), words
    assert sentence in local.error("targets", "test", "shop")
    status = local.json("secrets", "status")
    assert [each["use"] for each in status["keys"]] == ["seals", "missing"]
    found = checks(local)["key fits store"]
    assert found["state"] == "problem"
    assert wanted in found["detail"]
    assert there in found["detail"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pgbastion")), "serve", "--config", str(local.config)],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert sentence in done.stdout + done.stderr
    shutil.move(tmp_path / "kept.key", key)
    local.run("users", "list")


def test_a_login_with_a_password_that_is_kept_elsewhere(local: World, keeping: Path) -> None:
    with_logins(local)
    file = keeping / "shop"
    file.write_text(CANARY)
    file.chmod(0o400)
    reference = f"file:{file}"
    local.run("targets", "login", "shop", "--mode", "rw", "--login", "writer", "--from", reference)
    assert local.json("secrets", "list") == [
        {"target": "shop", "mode": "read_only", "login": "reader", "kept": "sealed", "reference": None},
        {"target": "shop", "mode": "read_write", "login": "writer", "kept": "elsewhere", "reference": reference},
    ]
    assert local.json("targets", "show", "shop")["secrets_from"] == {"read_write": reference}
    assert local.json("secrets", "status")["sealed"][0]["values"] == 1
    (event,) = [each for each in events(local, "target.login_changed") if "secret_from" in each["detail"]]
    assert event["detail"]["secret_from"] == reference

    assert checks(local)["secret of shop (read_write)"]["state"] == "ok"
    file.unlink()
    found = checks(local)["secret of shop (read_write)"]
    assert found["state"] == "problem"
    assert "No such file" in found["detail"]

    local.run("targets", "login", "shop", "--mode", "rw", "--login", "writer", "--password-stdin", given=CANARY)
    assert local.json("targets", "show", "shop")["secrets_from"] == {}


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (CANARY, "no place where a secret is kept"),
        ("file:relative", "no place where a secret is kept"),
        ("file:/etc/passwd", "secrets.allowed"),
        ("env:HOME", "secrets.allowed"),
        ("vault:other/shop", "secrets.allowed"),
    ],
)
def test_a_reference_that_may_not_be_used(local: World, keeping: Path, reference: str, said: str) -> None:
    """What is no reference may be the password itself: it is not repeated."""
    with_logins(local)
    text = local.error("targets", "login", "shop", "--mode", "rw", "--login", "writer", "--from", reference)
    assert said in text
    assert CANARY not in text
    assert local.json("targets", "show", "shop")["secrets_from"] == {}


def test_a_reference_is_exported_and_applied(local: World, keeping: Path, tmp_path: Path) -> None:
    with_logins(local)
    (keeping / "shop").write_text(CANARY)
    local.run("targets", "login", "shop", "--mode", "rw", "--login", "writer", "--from", f"file:{keeping}/shop")
    exported = tmp_path / "export.yaml"
    exported.write_text(local.run("export").stdout)
    assert f"file:{keeping}/shop" in exported.read_text()
    assert local.json("apply", str(exported), "--dry-run")["changes"] == []

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = make_world(elsewhere)
    other.run("targets", "create", "shop", "--host", "h", "--dbname", "d")
    other.run("targets", "login", "shop", "--mode", "ro", "--login", "reader", "--password-stdin", given=CANARY)
    other.run("apply", str(exported), "--yes")
    assert other.json("targets", "show", "shop")["secrets_from"] == {"read_write": f"file:{keeping}/shop"}
    changed = tmp_path / "changed.yaml"
    changed.write_text(exported.read_text().replace(f"file:{keeping}/shop", "vault:kv/shop#writer"))
    (change,) = other.json("apply", str(changed), "--dry-run")["changes"]
    assert change["after"] == {"logins.read_write.secret_from": "vault:kv/shop#writer"}
    assert change["before"] == {"logins.read_write.secret_from": f"file:{keeping}/shop"}


def test_moving_a_target_takes_its_references_along_no_more_than_its_passwords(local: World, keeping: Path) -> None:
    """Whoever may move a target, but not set its logins, gets no password sent to a server of theirs."""
    local.run("targets", "create", "shop", "--host", "h", "--dbname", "d")
    local.run("targets", "login", "shop", "--mode", "ro", "--login", "reader", "--from", f"file:{keeping}/shop")
    assert "would then be used with" in local.error("targets", "update", "shop", "--host", "evil")
    local.run("targets", "logout", "shop", "--mode", "ro")
    local.run("targets", "update", "shop", "--host", "h2")
    local.run("targets", "login", "shop", "--mode", "ro", "--login", "reader", "--from", f"file:{keeping}/shop")
