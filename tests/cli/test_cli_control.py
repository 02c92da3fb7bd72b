"""The commands as people and programs use them: a process each, JSON out, sentences for errors, exit status 0, 1 or 2."""

import itertools
import json
import os
import pwd
import re
import sqlite3
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import pytest

from tests.support.commands import PROGRAM, quick_program
from tests.support.short_names import SHORT_NAMES_TOML

CANARY = "upstream-canary-3e77"
CHOSEN = "person-canary-19bc"


@dataclass(frozen=True)
class Cli:
    config: Path
    folder: Path
    program: Path = field(default_factory=quick_program)

    def run(self, *words: str, given: str | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, *words],
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            env={**os.environ, "PGBASTION_CONFIG": str(self.config), "NO_COLOR": "1", "COLUMNS": "200"},
            timeout=30,
            check=False,
        )
        assert done.returncode == status, (words, done.stdout, done.stderr)
        assert CANARY not in done.stdout + done.stderr
        return done

    def json(self, *words: str, given: str | None = None):
        return json.loads(self.run(*words, "--json", given=given).stdout)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    (tmp_path / "pgbastion.toml").write_text(f'state_dir = "state"\n{SHORT_NAMES_TOML}')
    return Cli(tmp_path / "pgbastion.toml", tmp_path / "state")


def events(cli: Cli) -> list[tuple[str, str, str]]:
    connection = sqlite3.connect(cli.folder / "store.sqlite3")
    try:
        return connection.execute("SELECT action, actor, reason FROM audit_events ORDER BY revision").fetchall()
    finally:
        connection.close()


def test_a_chosen_password_is_not_repeated_to_a_program(cli):
    made = cli.run("users", "create", "eve", "--password-stdin", "--json", given=CHOSEN + "\n")
    assert json.loads(made.stdout)["password"] is None


def test_from_nothing_to_a_grant_and_back(cli):
    made = cli.json("users", "create", "alice", "--expires", "8h", "--reason", "new here")
    assert len(made["password"]) == 64
    cli.run("users", "create", "bob", "--password-stdin", given=CHOSEN + "\n")
    cli.run("targets", "create", "sales", "--host", "db.example", "--dbname", "prod", "--tls", "require")
    cli.run("targets", "login", "sales", "--mode", "read_only", "--login", "app_ro", "--password-stdin", given=CANARY + "\n")
    cli.run("targets", "allow-function", "sales", "shop.total")
    grant = cli.json(
        "grants", "create", "--user", "alice", "--target", "sales", "--mode", "ro", "--expires", "2030-01-31T18:00+01:00"
    )
    expected = {
        "id": grant["id"],
        "user": "alice",
        "group": None,
        "target": "sales",
        "mode": "read_only",
        "valid_until": "2030-01-31T17:00:00Z",
        "options": [],
        "max_changed_rows": None,
        "valid_from": None,
        "windows": [],
        "max_sessions": None,
        "statement_timeout_ms": None,
        "live": True,
        "state": "live",
        "changes_at": "2030-01-31T17:00:00Z",
        "version": 7,
    }
    assert {name: grant[name] for name in expected} == expected
    cli.run("allowlist", "create", "10.0.0.0/8", "--label", "office")
    cli.run("allowlist", "create", "10.1.0.0/16", "--user", "alice")
    cli.run("allowlist", "mode", "restrict", "--user", "alice")

    assert [(user["name"], user["enabled"], user["allowlist"], user["grants"]) for user in cli.json("users", "list")] == [
        ("alice", True, "restrict", 1),
        ("bob", True, "inherit", 0),
    ]
    (target,) = cli.json("targets", "list")
    assert target["logins"] == {"read_only": "app_ro"}
    assert (target["tls"], target["port"], target["allowed_functions"]) == ("require", 5432, ["shop.total"])
    assert [(entry["level"], entry["network"], entry["label"]) for entry in cli.json("allowlist", "list")] == [
        ("global", "10.0.0.0/8", "office"),
        ("user alice", "10.1.0.0/16", ""),
    ]
    shown = cli.json("users", "show", "alice")
    assert [each["id"] for each in shown["grant_list"]] == [grant["id"]]

    assert [gone["id"] for gone in cli.json("grants", "revoke", grant["id"], "--reason", "left")] == [grant["id"]]
    assert cli.json("grants", "list") == []
    cli.run("users", "delete", "alice", "--yes")
    assert "nobody is admitted" in cli.run("allowlist", "delete", "10.0.0.0/8").stderr
    assert cli.json("allowlist", "list") == []

    actor = f"os:{pwd.getpwuid(os.getuid()).pw_name}"
    recorded = events(cli)
    assert [action for action, _, _ in recorded] == [
        "user.created", "user.created", "target.created", "target.login_changed", "target.function_allowed", "grant.created",
        "allowlist.entry_created", "allowlist.entry_created", "allowlist.mode_changed", "grant.revoked", "user.deleted",
        "allowlist.entry_deleted",
    ]  # fmt: skip
    assert {by for _, by, _ in recorded} == {actor}
    assert recorded[0][2] == "new here"

    for path in cli.folder.iterdir():
        content = path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not any(secret.encode() in content for secret in (CANARY, CHOSEN, made["password"]))
    assert stat.S_IMODE(cli.folder.stat().st_mode) == 0o700


def test_a_broken_rule_is_a_sentence_and_status_1(cli):
    cli.run("users", "create", "alice")
    for words, text in (
        (["users", "create", "alice"], 'User "alice" already exists'),
        (["users", "delete", "alise", "--yes"], "Did you mean alice?"),
        (["allowlist", "create", "10.0.0.1/8"], "did you mean 10.0.0.0/8"),
        (["users", "create", "bob", "--expires", "2020-01-01"], "is over already"),
        (["targets", "login", "x", "--mode", "ro", "--login", "y"], "--password-stdin"),
        (["sessions", "list"], "the gateway is not running here"),
    ):
        done = cli.run(*words, status=1)
        assert done.stdout == ""
        assert text in done.stderr
        assert "Traceback" not in done.stderr


def test_wrong_usage_is_status_2(cli):
    for words in (
        ["nothing"],
        ["users", "create"],
        ["grants", "create", "--user", "a", "--target", "b", "--mode", "write"],
        ["users", "create", "bob", "--expires", "tomorrow"],
        ["users", "create", "bob", "--password", CHOSEN],
        ["allowlist", "create", "10.0.0.0/8", "--user", "a", "--target", "b"],
        ["grants", "revoke"],
        ["users", "list", "--config", "/nonexistent.toml"],
        ["--config", "/nonexistent.toml", "users", "list"],
    ):
        done = cli.run(*words, status=2)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr


def test_a_password_may_come_from_a_file_and_only_one_place(cli, tmp_path):
    file = tmp_path / "secret"
    file.write_text(CANARY + "\n")
    cli.run("targets", "create", "sales", "--host", "h", "--dbname", "d")
    asked = ["targets", "login", "sales", "--mode", "rw", "--login", "app_rw"]
    cli.run(*asked, "--password-file", str(file))
    cli.run(*asked, "--password-file", str(file), "--password-stdin", given=CANARY, status=2)
    cli.run(*asked, "--password-stdin", given="\n", status=1)
    file.write_bytes(b"\xff\xfe")
    cli.run(*asked, "--password-file", str(file), status=1)
    assert cli.json("targets", "show", "sales")["logins"] == {"read_write": "app_rw"}


def test_a_wrong_configuration_names_its_fields(cli):
    cli.config.write_text('state_dir = "state"\nnonsense = 1\n[listen]\nport = 99999\n')
    error = cli.run("users", "list", status=1).stderr
    assert "listen.port" in error
    assert "nonsense" in error
    cli.config.write_text("state_dir = ")
    assert "is not valid TOML" in cli.run("users", "list", status=1).stderr


def test_another_key_is_refused_by_its_id(cli):
    cli.run("users", "list")
    (cli.folder / "master.key").rename(cli.folder / "old.key")
    error = cli.run("users", "list", status=1).stderr
    assert re.search(r"sealed with master key [0-9a-f]{16}, but the key file holds key [0-9a-f]{16}", error)


def test_tables_are_plain_when_piped(cli):
    cli.run("users", "create", "alice", "--expires", "1d12h")
    done = cli.run("users", "list")
    assert "alice" in done.stdout
    assert "\x1b" not in done.stdout


def test_config_may_stand_before_or_after_the_command(cli, tmp_path):
    elsewhere = tmp_path / "else.toml"
    elsewhere.write_text('state_dir = "elsewhere"\n')
    cli.run("--config", str(elsewhere), "users", "create", "alice_p")
    assert [user["name"] for user in cli.json("users", "list", "--config", str(elsewhere))] == ["alice_p"]
    assert cli.json("users", "list") == []


def test_help_is_quick_and_names_every_group(cli):
    cli = replace(cli, program=PROGRAM)
    started = [time.perf_counter()]
    for _ in range(3):
        text = cli.run("--help").stdout
        started.append(time.perf_counter())
    for group in ("serve", "users", "targets", "grants", "allowlist", "sessions", "audit", "policy"):
        assert group in text
    assert min(after - before for before, after in itertools.pairwise(started)) < 1.0


def test_the_version_is_the_distributions(cli):
    cli = replace(cli, program=PROGRAM)
    assert cli.run("--version").stdout == f"pgbastion {metadata.version('pgbastion')}\n"


def test_help_imports_nothing_heavy(cli):
    program = (
        "import sys; from gateway.cli.main import run\n"
        "try: run(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('sqlalchemy', 'pydantic', 'pglast', 'asyncio', 'cryptography', 'fastapi', 'httpx')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
