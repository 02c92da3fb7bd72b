"""`pgbastion policy`: explain for people, check for machines. No input ends `check`, and each line is answered in its place."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import app
from tests.cli.world import World

COMMAND = (sys.executable, "-c", "from gateway.cli.main import run; run()", "policy")


def explain(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["policy", "explain", *arguments], input=text)


def check(stdin: bytes, *options: str) -> list[dict]:
    done = subprocess.run([*COMMAND, "check", *options, "-"], input=stdin, capture_output=True, timeout=60, check=True)
    assert done.stderr == b""
    return [json.loads(line) for line in done.stdout.splitlines()]


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_allowed() -> None:
    result = explain("SELECT lower(a) FROM t")
    assert result.exit_code == 0
    assert "allowed in read_only mode" in result.output
    assert "relations  t" in result.output


def test_refused_with_a_caret_under_the_place() -> None:
    result = explain("SELECT 'é',\n  nextval('s')")
    assert result.exit_code == 1
    assert "rule function-not-allowed (SQLSTATE 42501)" in result.output
    lines = result.output.splitlines()
    (caret,) = (number for number, text in enumerate(lines) if text.strip() == "^")
    assert lines[caret - 1][lines[caret].index("^") :].startswith("nextval")
    assert "hint:" in result.output


def test_the_text_as_it_would_be_sent() -> None:
    assert "sent as    SET application_name = 'PERSON [SESSION] x'" in explain("SET application_name = 'x'").output


def test_the_limits_are_those_of_the_configuration_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "SET statement_timeout = '2h'"
    config = tmp_path / "other.toml"
    config.write_text('state_dir = "state"\n[statement_caps]\ntimeout = "30min"\n')
    assert "sent as" not in explain(sql).output
    assert "sent as    SET statement_timeout = 1800000" in explain("--config", str(config), sql).output
    monkeypatch.setenv("PGBASTION_CONFIG", str(config))
    assert "sent as    SET statement_timeout = 1800000" in explain(sql).output
    config.write_text("[limits]\nmax_comment_depth = 1\n")
    broken = explain(sql)
    assert (broken.exit_code, "sent as" in broken.output) == (0, False)
    assert "judged by the default limits" in broken.output
    config.write_text('state_dir = "state"\n[limits]\nmax_comment_depth = 1\n')
    (answer,) = check(line(id=1, sql="SELECT /* /* */ */ 1"), "--config", str(config))
    assert answer["rule"] == "statement-too-complex"


def test_json_and_modes() -> None:
    result = explain("--json", "--mode", "read_write", "INSERT INTO t VALUES (1)")
    answer = json.loads(result.output)
    assert (result.exit_code, answer["allowed"], answer["kind"], answer["tables"]) == (0, True, "insert", ["t"])
    refused = json.loads(explain("--json", "DROP TABLE t").output)
    assert (refused["allowed"], refused["rule"], refused["sqlstate"]) == (False, "write-statement", "25006")


def test_lists_can_be_tried() -> None:
    assert explain("SELECT app.f()").exit_code == 1
    assert explain("--allow-function", "app.f", "SELECT app.f()").exit_code == 0
    assert explain("--allow-schema", "app", "SET search_path = app").exit_code == 0
    assert explain("--allow-setting", "app.tenant", "SET app.tenant = 1").exit_code == 0
    assert explain("--server-major", "15", "SELECT json_scalar(1)").exit_code == 1


def test_what_a_grant_carries_can_be_tried() -> None:
    sql = "SELECT * FROM app.customers"
    assert explain("--table", "app.orders", sql).exit_code == 1
    refused = json.loads(explain("--json", "--table", "app.orders", sql).output)
    assert refused["rule"] == "table-not-granted"
    for given in (("--table", "app.customers"), ("--schema", "app"), ("--table", "app.orders", "--schema", "app")):
        assert explain(*given, sql).exit_code == 0
    shown = explain("--max-rows", "1000", "--max-bytes", "2MB", "--statement-timeout", "30s", sql)
    assert "cut with an error beyond: shows at most 1000 rows, at most 2MB a statement" in shown.output
    assert "cancelled when it runs for more than 30s" in shown.output
    assert explain("--statement-timeout", "30s", "SET statement_timeout = '5min'").output.count("30000") > 0
    assert explain("--table", "customers", sql).exit_code == 2
    assert explain("--max-rows", "0", sql).exit_code == 2


def test_many_are_judged_as_under_a_grant() -> None:
    lines = b"\n".join(line(id=name, sql=f"SELECT * FROM app.{name}") for name in ("orders", "customers"))
    answers = check(lines, "--table", "app.orders", "--max-rows", "10")
    assert [(each["id"], each["rule"]) for each in answers] == [("orders", "allowed"), ("customers", "table-not-granted")]


def test_under_a_grant_that_is_there(world: World) -> None:
    world.run("users", "create", "ana")
    world.run("targets", "create", "shop", "--host", "h", "--dbname", "d")
    carried = ("--table", "app.orders", "--max-rows", "10", "--option", "no-ddl")
    world.run("grants", "create", "--user", "ana", "--target", "shop", "--mode", "rw", *carried)
    (grant,) = world.json("grants", "list")
    under = ("policy", "explain", "--grant", grant["id"])
    assert "cut with an error beyond: shows at most 10 rows" in world.run(*under, "SELECT * FROM app.orders").stdout
    refused = world.json(*under, "SELECT * FROM app.customers", status=1)
    assert (refused["rule"], refused["mode"]) == ("table-not-granted", "read_write")
    assert world.json(*under, "UPDATE app.orders SET a = 1", status=1)["rule"] == "where-missing"
    assert world.json(*under, "--mode", "ro", "INSERT INTO app.orders VALUES (1)", status=1)["mode"] == "read_only"
    assert "grant says it all" in world.run(*under, "--max-rows", "5", "SELECT 1", status=2).stderr.replace("--", "")
    assert "there is no grant" in world.error("policy", "explain", "--grant", "nobody", "SELECT 1")


def test_from_standard_input_and_terminal_safe() -> None:
    result = explain("-", text="SELECT 1 \x1b[31m FROM")
    assert result.exit_code == 1
    assert "\x1b" not in result.output


@pytest.mark.parametrize("sql", [b"SELECT '\xff'", b"SELECT 1" + b"+1" * 20_000])
def test_explain_survives_anything(sql: bytes) -> None:
    done = subprocess.run([*COMMAND, "explain", sql], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


def test_check_answers_every_line_in_order() -> None:
    lines = [
        line(id=1, sql="SELECT 1"),
        b"",
        b"not json",
        line(id=2),
        line(id=3, sql=5),
        b'{"id":4,"sql":"\\ud800"}',
        line(id=5, sql="a\0b"),
        b"[1]",
        b"[" * 100_000,
        b'{"id":1e999,"sql":"SELECT 1"}',
        b"\xff\xfe",
        line(id=[6, {"a": None}], sql="SELECT 1" + "+1" * 64_000),
        line(id="7", sql="SELECT " + "(" * 100_000),
        line(id=None, sql="SELECT '" + "x" * 2_000_000 + "'"),
        line(id=8, sql="DROP TABLE t"),
        b'{"id":"\\ud800","sql":"SELECT 1"}',
        line(id=9, sql="SELECT 1 IN (1" + ",1" * 20_000 + ")"),
    ]
    answers = check(b"\xef\xbb\xbf" + b"\n".join(lines))
    assert [(answer["id"], answer["allowed"], answer["rule"]) for answer in answers] == [
        (1, True, "allowed"),
        (None, False, "invalid-line"),
        (None, False, "invalid-line"),
        (2, False, "invalid-line"),
        (3, False, "invalid-line"),
        (4, False, "invalid-utf8"),
        (5, False, "nul-character"),
        (None, False, "invalid-line"),
        (None, False, "invalid-line"),
        (None, True, "allowed"),
        (None, False, "invalid-line"),
        ([6, {"a": None}], False, "statement-too-complex"),
        ("7", False, "statement-too-complex"),
        (None, False, "statement-too-long"),
        (8, False, "write-statement"),
        ("\ud800", True, "allowed"),
        (9, True, "allowed"),
    ]
    assert all(list(answer) == ["id", "allowed", "rule", "sqlstate", "message"] for answer in answers)


def test_check_reads_files_and_modes(tmp_path: Path) -> None:
    source = tmp_path / "statements.jsonl"
    source.write_bytes(line(id="a", sql="DROP TABLE t") + b"\n")
    result = CliRunner().invoke(app, ["policy", "check", "--mode", "read_write", str(source)])
    assert result.exit_code == 0
    assert json.loads(result.output)["allowed"] is True
    assert CliRunner().invoke(app, ["policy", "check", str(tmp_path / "none")]).exit_code == 2


def test_check_answers_as_soon_as_it_is_asked() -> None:
    """Other programs hold it open, and ask one statement at a time."""
    with subprocess.Popen([*COMMAND, "check", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(line(id=number, sql="SELECT 1") + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == number
        process.stdin.close()
        assert process.wait(10) == 0


def test_check_does_thousands_in_seconds(tmp_path: Path) -> None:
    source = tmp_path / "many.jsonl"
    statement = (
        "SELECT a.id, sum(b.total) FROM a JOIN b ON a.id = b.a_id WHERE a.region = 'x' GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
    )
    source.write_bytes(b"".join(line(id=number, sql=statement) + b"\n" for number in range(5_000)))
    before = os.times()
    started = time.monotonic()
    done = subprocess.run([*COMMAND, "check", source], capture_output=True, timeout=60, check=True)
    after = os.times()
    assert done.stdout.count(b"\n") == 5_000
    spent = after.children_user - before.children_user
    assert spent < 5, f"{spent:.1f} s of CPU, {time.monotonic() - started:.1f} s"


def test_rules_are_listed_for_people_and_for_programs() -> None:
    from gateway.services.policy_rules import RULES

    listed = json.loads(CliRunner().invoke(app, ["policy", "rules", "--json"]).stdout)
    assert [each["rule"] for each in listed] == [rule.id for rule in RULES]
    shown = CliRunner().invoke(app, ["policy", "rules"]).stdout
    assert all(each["rule"] in shown and each["why"] in shown for each in listed)
    assert "\0" not in shown


def test_explain_and_check_take_what_a_grant_carries(tmp_path: Path) -> None:
    write = ("--mode", "rw")
    assert "where-missing" in explain(*write, "DELETE FROM t").output
    assert explain(*write, "--option", "unfiltered-writes", "DELETE FROM t").exit_code == 0
    reported = explain(*write, "--option", "report-only", "--option", "no-ddl", "DROP TABLE t")
    assert reported.exit_code == 0
    assert "reported only, by rule ddl-not-granted: DROP TABLE is not allowed here" in reported.output
    counted = explain(*write, "--max-changed-rows", "100", "DELETE FROM t WHERE a = 1")
    assert "rolled back if it changes more than 100 rows" in counted.output
    temporary = explain("--option", "temporary-tables", "DROP TABLE IF EXISTS x")
    assert "by itself, outside of a transaction block" in temporary.output
    assert 'sent as    DROP TABLE IF EXISTS pg_temp."x"' in temporary.output
    found = json.loads(explain("--json", "--option", "temporary-tables", "CREATE TEMP TABLE x AS SELECT 1 AS a").output)
    assert (found["lifts_read_only"], found["row_ceiling"], found["reported"]) == (True, 0, "")
    assert "decided by DeleteStmt" in explain(*write, "SELECT 1; DELETE FROM t").output
    assert explain("--option", "no-such", "SELECT 1").exit_code == 2
    assert explain("--max-changed-rows", "0", "SELECT 1").exit_code == 2
    file = tmp_path / "statements.jsonl"
    file.write_text('{"id": 1, "sql": "DELETE FROM t"}\n')
    done = subprocess.run(
        [*COMMAND, "check", str(file), *write, "--option", "unfiltered-writes"], capture_output=True, timeout=60, check=True
    )
    assert json.loads(done.stdout)["allowed"] is True
