"""apply and export: what is in a file becomes so, errors name the line, secrets are references, two admins do not overwrite."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from tests.cli.world import World

ROOT = Path(__file__).parents[2]
CANARY = "canary-in-a-manifest-77"


def write(world: World, text: str) -> str:
    file = world.folder / "access.yaml"
    file.write_text(text)
    return str(file)


def test_there_and_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.secrets.append(CANARY)
    monkeypatch.setenv("SHOP_RW_PASSWORD", CANARY)
    monkeypatch.setenv("ANA_PASSWORD", CANARY)
    monkeypatch.setenv("ANA_SIGN_IN", CANARY)
    (world.folder / "app_ro.password").write_text(CANARY + "\n")
    example = write(world, (ROOT / "configs" / "manifest.example.yaml").read_text())
    planned = world.json("apply", example, "--dry-run")
    assert world.json("users", "list") == []
    done = world.json("apply", example, "--yes", "--reason", "as reviewed")
    assert [each["name"] for each in done["changes"]] == [each["name"] for each in planned["changes"]]
    assert world.run("apply", example, "--yes").stdout == "Nothing to change.\n"
    target = world.json("targets", "show", "shop")
    assert target["logins"] == {"read_only": "app_ro", "read_write": "app_rw"}
    assert target["environment"] == "production"
    assert [(each["name"], each["members"]) for each in world.json("roles", "list")] == [
        ("owners", []),
        ("shop_admins", ["ana_diaz"]),
    ]
    assert [each["user"] for each in world.json("accounts", "list")] == ["ana_diaz", "ben_okoro"]
    assert [each["value"] for each in world.json("oidc", "mappings", "list")] == ["data-analysts"]

    out = world.folder / "out.yaml"
    world.run("export", str(out))
    assert yaml.safe_load(out.read_text())["version"] == 1
    jsonschema_rs.validate(json.loads((ROOT / "configs" / "manifest.schema.json").read_text()), yaml.safe_load(out.read_text()))
    assert world.run("apply", str(out), "--prune", "--yes").stdout == "Nothing to change.\n"
    assert json.loads(world.run("export", "--json").stdout) == yaml.safe_load(world.run("export").stdout)


def test_pruning_is_said_and_asked_for(world: World) -> None:
    for name in ("ana", "ben", "eve"):
        world.run("users", "create", name)
    file = write(world, "version: 1\nusers:\n- name: ana\n")
    kept = world.run("apply", file, "--dry-run").stdout
    assert kept == "Nothing to change.\n2 objects are not named in the file and stay (see --prune).\n"
    assert "no terminal to ask on" in world.error("apply", file, "--prune")
    assert "- user ben" in world.run("apply", file, "--prune", "--yes").stdout
    assert [user["name"] for user in world.json("users", "list")] == ["ana"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\nusers:\n- name: a\n  name: b\n", "access.yaml:4: name is there twice"),
        ("version: 1\nusers:\n- name: a\n b: c\n", "access.yaml:4: not YAML"),
        ("version: 1\nusers:\n- name: ana\n  enabled: maybe\n", 'access.yaml:4: users[0] "ana".enabled'),
        ("version: 1\ntargets:\n- name: t\n  host: h\n\n  port: 99999\n", "access.yaml:6: "),
        ("version: 1\nusers:\n- name: ana\n  pasword: {env: X}\n", "access.yaml:4: "),
        ("version: 1\nusers:\n- name: ana\n  password: {env: NO_SUCH_VARIABLE}\n", "access.yaml:4: "),
        ("version: 1\nusers:\n- name: ana\n  password: {file: no-such-file}\n", "access.yaml:4: "),
        ("version: 1\nusers:\n- name: ana\n  password: in-the-file-itself\n", "a password stands in the file"),
        ("version: 1\ngroups:\n- name: g\n  members: [nobody]\n", 'group "g"'),
        ("- 1\n", "not a mapping of sections"),
        ("", "not a mapping of sections"),
        ("version: 2\n", "access.yaml:1: version"),
        ("version: 1\nroles:\n- name: dba\n  permissions: {here: [root]}\n", "access.yaml:4: "),
        ("version: 1\naccounts:\n\n- user: nobody\n", "access.yaml:4: account"),
        ("version: 1\nusers: !!python/object/apply:os.system ['true']\n", "access.yaml:2: not YAML"),
        ("\x00", "not YAML"),
    ],
)
def test_what_is_wrong_is_said_with_the_line(local: World, text: str, said: str) -> None:
    file = write(local, text)
    done = local.run("apply", file, "--yes", status=1)
    assert said in done.stderr
    assert "in-the-file-itself" not in done.stderr
    assert done.stdout == ""


def test_all_or_nothing(world: World) -> None:
    file = write(
        world, "version: 1\nusers:\n- name: ana\n  enabled: false\ngrants:\n- {user: ana, target: none, mode: read_only}\n"
    )
    world.run("users", "create", "ana")
    assert 'there is no target "none"' in world.error("apply", file, "--yes")
    assert world.json("users", "show", "ana")["enabled"] is True


def test_export_replaces_a_file_whole(local: World) -> None:
    out = local.folder / "out.yaml"
    out.write_text("what was there")
    assert "cannot be written" in local.error("export", str(local.folder / "no" / "folder.yaml"))
    local.run("export", str(out))
    assert "version: 1" in out.read_text()
    assert sorted(each.name for each in local.folder.iterdir()) == ["out.yaml", "pgbastion.toml", "state"]
