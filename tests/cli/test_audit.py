"""`pgbastion audit`: all workers' files and the store's changes, in order, on any terminal."""

import asyncio
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.events import event, session_fragment, statement_ended, statement_fragment, statement_started
from gateway.cli.main import run
from gateway.proxy.audit_trail import AuditTrail
from gateway.statements.verdict import Facts, Verdict
from tests.support.short_names import SHORT_NAMES_TOML

ALLOWED = Verdict(True, "allowed", Facts("select", ("t",)))
DENIED = Verdict(False, "write-statement", Facts("insert", ("t",)), "25006", "INSERT is refused")


class Stage:
    """A state directory with a trail of some workers."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = directory / "pgbastion.toml"
        self.config.write_text(f'state_dir = "state"\n{SHORT_NAMES_TOML}')
        self.audit = directory / "state" / "audit"
        self._capsys = capsys

    @contextmanager
    def trail(self, worker: int = 0, rotate_bytes: int = 1 << 20) -> Iterator[AuditTrail]:
        loop = asyncio.new_event_loop()
        trail = AuditTrail(self.audit, worker, rotate_bytes, loop)
        yield trail
        trail.close()
        loop.close()

    def write(self, *bodies: bytes, worker: int = 0, rotate_bytes: int = 1 << 20) -> None:
        with self.trail(worker, rotate_bytes) as trail:
            for body in bodies:
                trail.append(body)

        current = self.audit / f"audit-{worker}.jsonl"
        if current.stat().st_size >= rotate_bytes:
            seq = json.loads(current.read_bytes().splitlines()[-1])["seq"]
            current.rename(current.with_name(f"audit-{worker}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{seq}.jsonl"))

    def command(self, *arguments: str) -> str:
        return self.run("audit", *arguments)[0]

    def notes(self, *arguments: str) -> str:
        return self.run("audit", *arguments)[1]

    def run(self, *arguments: str) -> tuple[str, str]:
        self._capsys.readouterr()
        try:
            run([*arguments, "--config", str(self.config)])
        except SystemExit as end:
            if end.code != 0:
                raise
        return self._capsys.readouterr()

    def records(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.command(*arguments, "--json").splitlines()]


@pytest.fixture
def stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Stage:
    return Stage(tmp_path, capsys)


def happened(record: dict[str, Any]) -> str:
    """Of admins' changes the action."""
    return str(record.get("action", record["event"]))


def numbers(records: list[dict[str, Any]]) -> list[int]:
    return [record["number"] for record in records if "number" in record]


def statement(user: str, sql: str, verdict: Verdict = ALLOWED, target: str = "shop") -> bytes:
    session = session_fragment(f"s-{user}", user, "192.0.2.1", target, "read_only", "psql")
    return statement_started(session, "query", statement_fragment(sql, verdict, 1000), 1, 0)


def test_nothing_yet_is_not_an_error(stage: Stage) -> None:
    assert stage.records("search") == []
    assert stage.records("tail") == []


def test_all_workers_and_rotated_files_in_the_order_of_time(stage: Stage) -> None:
    for number in range(40):
        stage.write(event("x", {"number": number}), worker=number % 3, rotate_bytes=400)
    assert len(list(stage.audit.glob("audit-*-*-*.jsonl"))) > 5
    assert numbers(stage.records("search")) == list(range(40))
    assert numbers(stage.records("tail", "-n", "7")) == list(range(33, 40))
    assert numbers(stage.records("tail", "-n", "500")) == list(range(40))
    assert numbers(stage.records("tail", "-n", "0")) == []


def test_a_line_is_given_as_it_was_written(stage: Stage) -> None:
    stage.write(statement("ann", "select 'é\x1b[31m'"))
    (written,) = (stage.audit / "audit-0.jsonl").read_text().splitlines()
    assert stage.command("search", "--json").splitlines()[-1] == written
    assert stage.command("tail", "--json").splitlines()[-1] == written


def test_operators_changes_stand_in_between(stage: Stage) -> None:
    stage.write(event("x", {"number": 1}))
    stage.run("users", "create", "ann", "--reason", "new here")
    stage.write(event("x", {"number": 2}))
    records = stage.records("search")
    assert [happened(record) for record in records] == ["x", "user.created", "x"]
    change = records[1]
    assert change["actor"].startswith("os:")
    assert (change["object"], change["reason"]) == ("ann", "new here")
    assert [happened(record) for record in stage.records("tail", "-n", "2")] == ["user.created", "x"]
    assert [happened(record) for record in stage.records("search", "--user", "ann")] == ["user.created"]
    assert [happened(record) for record in stage.records("search", "--event", "user.*")] == ["user.created"]


def test_filters(stage: Stage) -> None:
    stage.write(
        statement("ann", "select 1"),
        statement("bob", "INSERT INTO Orders", DENIED),
        statement("bob", "select 2", target="hr"),
        event("login_failed", {"user": "ann", "reason": "wrong password"}),
        event("connection_refused", {"address": "192.0.2.9"}),
        statement_ended(session_fragment("s-ann", "ann", "", "shop", "", ""), 1, 5, 1, "", "ok"),
    )

    def found(*arguments: str) -> list[str]:
        return [str(record.get("sql", happened(record))) for record in stage.records("search", *arguments)]

    assert found("--user", "ann") == ["select 1", "login_failed", "statement_end"]
    assert found("--target", "hr") == ["select 2"]
    assert found("--session", "s-bob") == ["INSERT INTO Orders", "select 2"]
    assert found("--event", "login_failed") == ["login_failed"]
    assert found("--text", "orders") == ["INSERT INTO Orders"]
    assert found("--denied") == ["INSERT INTO Orders", "login_failed", "connection_refused"]
    assert found("--user", "bob", "--denied") == ["INSERT INTO Orders"]
    assert found("--since", "1h") == found()
    assert found("--until", "1h") == []
    assert found("--since", "2999-01-01") == []
    assert len(found("--until", "2999-01-01T00:00Z")) == 6


def test_since_does_not_open_old_files_but_misses_nothing(stage: Stage) -> None:
    stage.write(event("x", {"number": 1}), rotate_bytes=1)
    (rotated,) = stage.audit.glob("audit-0-*-1.jsonl")
    rotated.rename(stage.audit / "audit-0-20200101T000000Z-1.jsonl")
    stage.write(event("x", {"number": 2}), rotate_bytes=1)
    assert numbers(stage.records("search", "--since", "1h")) == [2]
    assert numbers(stage.records("search")) == [1, 2]


def test_a_bad_instant_is_a_usage_error(stage: Stage) -> None:
    for bad in ("yesterday", "never", "1x"):
        with pytest.raises(SystemExit) as raised:
            stage.command("search", "--since", bad)
        assert raised.value.code == 2


def test_torn_lines_are_left_out_and_said(stage: Stage) -> None:
    stage.write(event("x", {"number": 1}), event("x", {"number": 2}))
    path = stage.audit / "audit-0.jsonl"
    os.truncate(path, path.stat().st_size - 5)
    stage.write(event("x", {"number": 3}))
    with path.open("ab") as file:
        file.write(b'{"at":"9999-12-31')  # just being written
    for command in ("search", "tail"):
        assert numbers(stage.records(command)) == [1, 3]
        assert "audit-0.jsonl: 1 line torn" in stage.notes(command)


@pytest.mark.parametrize("line", [b"[]", b"{}", b"null", b'{"at":1,"seq":2}', b"\xff\xfe", b"[" * 100_000, b""])
def test_foreign_lines_end_nothing(stage: Stage, line: bytes) -> None:
    stage.write(event("x", {"number": 1}))
    with (stage.audit / "audit-0.jsonl").open("ab") as file:
        file.write(line + b"\n")
    stage.write(event("x", {"number": 2}))
    assert numbers(stage.records("search")) == [1, 2]


def test_records_written_again_after_a_failed_sync_are_shown_once(stage: Stage) -> None:
    stage.write(event("x", {"number": 1}), event("x", {"number": 2}))
    path = stage.audit / "audit-0.jsonl"
    with path.open("ab") as file:
        file.write(path.read_bytes().splitlines(keepends=True)[1])
    stage.write(event("x", {"number": 3}))
    assert numbers(stage.records("search")) == [1, 2, 3]


def test_long_records_are_read_from_the_end_too(stage: Stage) -> None:
    stage.write(*(event("x", {"number": number, "text": "y" * 300_000}) for number in range(5)))
    assert numbers(stage.records("tail", "-n", "2")) == [3, 4]


def test_people_read_lines_that_no_statement_can_draw_on(stage: Stage) -> None:
    stage.write(
        statement("ann", "select 1,\n\t2 -- \x1b[2J\x1b]0;title\x07 \u202e \x9b31m", DENIED),
        statement("mal\x1b[31m", "[bold]select[/bold]"),
        event("refused", {"rule": "\x1b[5m", "number": 4}),
    )
    shown = stage.command("search")
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "DENIED (write-statement): select 1, 2 --" in shown
    assert "[bold]select[/bold]" in shown
    assert len(shown.splitlines()) == 4


def test_people_read_ends_and_changes(stage: Stage) -> None:
    stage.run("users", "create", "ann", "--reason", "new")
    fragment = session_fragment("s", "ann", "", "shop", "", "")
    stage.write(
        statement_ended(fragment, 3, 1500, 7, "", "ok"), statement_ended(fragment, 4, 2_500_000, None, "57014", "cancelled")
    )
    shown = stage.command("tail")
    assert "user.created ann (new)" in shown
    assert "#3 ok, 7 rows, 1.5 ms" in shown
    assert "#4 cancelled 57014, 2.500 s" in shown


@pytest.mark.parametrize("before", [0, 1])
def test_follow_shows_what_comes_across_rotation_and_from_new_workers(stage: Stage, before: int) -> None:
    stage.write(*(event("x", {"number": number}) for number in range(-20, 1)), rotate_bytes=1)
    stage.write(event("x", {"number": 0}), rotate_bytes=1)
    program = (sys.executable, "-c", "from gateway.cli.main import run; run()")
    options = ("-f", "-n", str(before), "--json", "--config", str(stage.config))
    with subprocess.Popen([*program, "audit", "tail", *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while not select.select([process.stdout], [], [], 0.2)[0]:
                stage.write(event("begun?", {}))
            for number in range(1, 30):
                stage.write(event("x", {"number": number}), worker=number % 2, rotate_bytes=300)
                time.sleep(0.02)
            stage.run("users", "create", "ann")
            seen: list[dict[str, Any]] = []
            while not {*range(1, 30)} <= {*numbers(seen)} or "user.created" not in {happened(record) for record in seen}:
                seen.append(json.loads(process.stdout.readline()))
        finally:
            process.kill()
    assert sorted(numbers(seen))[-29:] == list(range(1, 30))
    assert len(numbers(seen)) <= 29 + before
