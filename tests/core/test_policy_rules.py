"""Single rules of the statement policy: SQLSTATEs, positions, lists, facts, and what read-write sessions may not do."""

import pytest

from gateway.access_mode import AccessMode
from gateway.statements.catalogue import ATTRIBUTE_FUNCTIONS, REFUSED_FUNCTIONS
from gateway.statements.policy import Caps, Policy, judge, judge_parameter_types, relabel
from gateway.statements.verdict import Facts, Verdict

READ_ONLY = Policy(AccessMode.READ_ONLY)
READ_WRITE = Policy(AccessMode.READ_WRITE)


def ask(sql: str, policy: Policy = READ_ONLY) -> Verdict:
    return judge(sql.encode(), policy)


@pytest.mark.parametrize(
    ("sql", "rule", "sqlstate"),
    [
        ("INSERT INTO t VALUES (1)", "write-statement", "25006"),
        ("WITH d AS (DELETE FROM t RETURNING 1) SELECT * FROM d", "write-statement", "25006"),
        ("EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1", "write-statement", "25006"),
        ("SELECT 1 AS a INTO x", "select-into", "25006"),
        ("SELECT * FROM t FOR UPDATE", "row-lock", "25006"),
        ("BEGIN READ WRITE", "read-write-transaction", "25006"),
        ("BEGIN READ ONLY READ WRITE", "read-write-transaction", "25006"),
        ("START TRANSACTION READ WRITE, READ ONLY", "read-write-transaction", "25006"),
        ("SET TRANSACTION READ WRITE", "read-write-transaction", "25006"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "read-write-transaction", "25006"),
        ("SET transaction_read_only = off", "setting-value", "42501"),
        ("SET LOCAL transaction_read_only = 0", "setting-value", "42501"),
        ("RESET transaction_read_only", "setting-value", "42501"),
        ("SET default_transaction_read_only TO DEFAULT", "setting-value", "42501"),
        ("SELECT set_config('default_transaction_read_only', 'off', false)", "setting-value", "42501"),
        ("COMMIT PREPARED 'x'", "two-phase-transaction", "25006"),
        ("SELECT nextval('s')", "function-not-allowed", "42501"),
        ("SELECT f()", "function-not-listed", "42501"),
        ("SELECT 1 === 2", "operator-not-listed", "42501"),
        ("SELECT 'x'::app.t", "type-not-listed", "42501"),
        ("SELECT ('x'::text).pg_read_file", "attribute-call", "42501"),
        ("SELECT rolpassword FROM pg_authid", "secret-column", "42501"),
        ("SELECT * FROM pg_hba_file_rules", "secret-relation", "42501"),
        ("SET role = x", "role-change", "42501"),
        ("SET client_encoding = 'LATIN1'", "client-encoding", "42501"),
        ("SET search_path = public, pg_catalog", "setting-value", "42501"),
        ("SET app.tenant = '1'", "setting-not-allowed", "42501"),
        ("SELECT set_config($1, 'x', false)", "setting-not-constant", "42501"),
        ("COPY t TO '/tmp/x'", "copy-server-file", "42501"),
        ("COPY t TO PROGRAM 'x'", "copy-server-file", "42501"),
        ("COPY t FROM STDIN", "write-statement", "25006"),
        ("LOAD 'x'", "server-control", "42501"),
        ("LISTEN c", "not-supported", "0A000"),
        ("selec 1", "syntax-error", "42601"),
    ],
)
def test_rule_and_sqlstate(sql: str, rule: str, sqlstate: str) -> None:
    verdict = ask(sql)
    assert (verdict.allowed, verdict.rule, verdict.sqlstate) == (False, rule, sqlstate)


@pytest.mark.parametrize(
    ("sql", "at"),
    [
        ("SELECT nextval('s')", "nextval"),
        ("SELECT 'é\U0001f600', nextval('s')", "nextval"),
        ("SELECT 1; -- é\n  DELETE FROM t", "DELETE"),
        ("/* x */ UPDATE t SET a = 1", "UPDATE"),
        ("SELECT 'ü' === 'x'", "==="),
        ("SELECT 'ä' FROM t WHERE selec 1", "1"),
        ("WITH d AS (DELETE FROM victim) SELECT 1", "victim"),
        ("SELECT p.rolname, p.rolpassword FROM pg_authid p", "p.rolpassword"),
    ],
)
def test_the_caret_points_at_what_is_refused(sql: str, at: str) -> None:
    assert ask(sql).position == sql.index(at) + 1


def test_syntax_errors_read_as_postgresql_says_them() -> None:
    verdict = ask("SELECT 1 FORM t")
    assert (verdict.message, verdict.position) == ('syntax error at or near "t"', 15)
    assert ask("SELECT (").message == "syntax error at end of input"


@pytest.mark.parametrize("sql", ["", ";", " \n;; ", "-- only a comment", "/* and /* nested */ */"])
@pytest.mark.parametrize("policy", [READ_ONLY, READ_WRITE], ids=["ro", "rw"])
def test_empty_texts_pass(sql: str, policy: Policy) -> None:
    assert ask(sql, policy) == Verdict(True, "allowed", Facts(""), any_literals=True)


def test_bytes_that_are_no_text() -> None:
    for raw in (b"\xff", b"SELECT '\xc0\xa7'", b"SELECT '\xed\xa0\x80'", b"SELECT '\xf4\x90\x80\x80'", b"SELECT '\xe9'"):
        assert (judge(raw, READ_ONLY).rule, judge(raw, READ_WRITE).sqlstate) == ("invalid-utf8", "22021")
    assert judge(b"SELECT 1\0; DROP TABLE t", READ_ONLY).rule == "nul-character"


def test_functions_can_be_listed() -> None:
    listed = Policy(AccessMode.READ_ONLY, frozenset({"app.f", "geo.*", "app.===", "app.t"}))
    for sql in ("SELECT app.f(1)", "SELECT f(1)", "SELECT geo.anything(1)", "SELECT 1 === 2", "SELECT 1 OPERATOR(app.===) 2"):
        assert ask(sql, listed).allowed, sql
    assert ask("SELECT 'x'::app.t, 'y'::geo.point", listed).allowed
    for sql in ("SELECT other.f(1)", "SELECT g(1)", "SELECT app.nextval('s')", "SELECT pg_temp.f()", "SELECT 'x'::app.u"):
        assert not ask(sql, listed).allowed, sql


def test_a_listed_schema_covers_unqualified_names_only_when_nothing_else_is_reachable() -> None:
    whole = Policy(AccessMode.READ_ONLY, frozenset({"public.*"}), frozenset({"public"}))
    assert ask("SELECT f(1)", whole).allowed
    more = Policy(AccessMode.READ_ONLY, frozenset({"public.*"}), frozenset({"public", "app"}))
    assert not ask("SELECT f(1)", more).allowed


def test_a_listed_name_with_a_dot_does_not_stretch() -> None:
    listed = Policy(AccessMode.READ_ONLY, frozenset({"a.b.c"}))
    assert not ask('SELECT "a.b".c()', listed).allowed
    assert not ask('SELECT a."b.c"()', listed).allowed


def test_keywords_of_newer_servers_are_calls_on_older_ones() -> None:
    for sql in ("SELECT json_scalar(1)", "SELECT json_exists('{}'::jsonb, '$.a')", "SELECT json_array(1)"):
        assert ask(sql).allowed
        old = ask(sql, Policy(AccessMode.READ_ONLY, server_major=15))
        assert (old.allowed, old.rule) == (False, "function-not-listed")
    listed = Policy(AccessMode.READ_ONLY, frozenset({"public.json_scalar"}), server_major=15)
    assert ask("SELECT json_scalar(1)", listed).allowed


def test_facts() -> None:
    sql = "WITH c AS (SELECT 1) SELECT lower(a), pg_catalog.count(*) FROM public.t JOIN u ON true JOIN c ON true; SHOW timezone"
    assert ask(sql).facts == Facts("select; show", ("public.t", "u"), ("lower", "pg_catalog.count"))
    assert ask("INSERT INTO a.t SELECT f(b) FROM s").facts == Facts("insert", ("a.t", "s"), ("f",))
    assert ask("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", READ_WRITE).facts == Facts("merge", ("s", "t"), ())
    assert ask(";".join(["SELECT 1"] * 9)).facts.kind == "; ".join(["select"] * 8 + ["..."])


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1) RETURNING *",
        "CREATE TABLE t (a int)",
        "BEGIN READ WRITE",
        "SET default_transaction_read_only = off",
        "SET search_path = a, pg_catalog",
        "SET work_mem = '64GB'",
        "COPY t FROM STDIN",
        "SELECT my.f(nextval('s'))",
        "DO $$ BEGIN END $$",
        "LISTEN c",
        "SET backslash_quote = safe_encoding",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path FROM CURRENT AS 'SELECT 1'",
    ],
)
def test_read_write_sessions_write(sql: str) -> None:
    assert ask(sql, READ_WRITE).allowed


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("SET standard_conforming_strings = off", "setting-value"),
        ("SET client_encoding = 'SJIS'", "client-encoding"),
        ("SET backslash_quote = on", "setting-not-allowed"),
        ("SELECT set_config('client_encoding', 'SJIS', false)", "client-encoding"),
        ("SELECT set_config('standard_conforming_' || 'strings', 'off', false)", "setting-not-constant"),
        ("SET ROLE x", "role-change"),
        ("SET SESSION AUTHORIZATION x", "role-change"),
        ("CREATE USER x PASSWORD 'y'", "role-change"),
        ("ALTER USER x PASSWORD 'y'", "role-change"),
        ("ALTER ROLE x RENAME TO y", "role-change"),
        ("ALTER ROLE x SET search_path = y", "role-change"),
        ("DROP ROLE x", "role-change"),
        ("ALTER DATABASE d SET standard_conforming_strings = off", "setting-value"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql SET client_encoding = 'SJIS' AS 'SELECT 1'", "client-encoding"),
        ("ALTER SYSTEM SET work_mem = 1", "server-control"),
        ("LOAD 'x'", "server-control"),
        ("COPY t FROM PROGRAM 'x'", "copy-server-file"),
        ("COPY (SELECT 1) TO '/tmp/x'", "copy-server-file"),
        ("EXPLAIN ANALYZE CREATE TABLE x AS SELECT set_config('role', 'y', false)", "role-change"),
    ],
)
def test_read_write_sessions_leave_the_gateway_whole(sql: str, rule: str) -> None:
    verdict = ask(sql, READ_WRITE)
    assert (verdict.allowed, verdict.rule, verdict.sqlstate) == (False, rule, "42501")
    assert verdict.hint


def test_parameter_types() -> None:
    assert judge_parameter_types([0, 25, 16383], READ_ONLY) is None
    refused = judge_parameter_types([25, 16384], READ_ONLY)
    assert refused is not None
    assert (refused.rule, refused.sqlstate) == ("parameter-type", "42501")
    assert judge_parameter_types([16384], READ_WRITE) is None


def test_the_revision_follows_everything_that_could_change_a_verdict() -> None:
    base = Policy(AccessMode.READ_ONLY)
    others = [
        Policy(AccessMode.READ_WRITE),
        Policy(AccessMode.READ_ONLY, frozenset({"a.b"})),
        Policy(AccessMode.READ_ONLY, allowed_schemas=frozenset({"a"})),
        Policy(AccessMode.READ_ONLY, allowed_settings=frozenset({"a.b"})),
        Policy(AccessMode.READ_ONLY, server_major=15),
        Policy(AccessMode.READ_ONLY, max_statement_bytes=5),
        Policy(AccessMode.READ_ONLY, caps=Caps(timeout_milliseconds=5)),
    ]
    assert len({policy.revision for policy in (base, *others)}) == len(others) + 1
    assert base.revision == Policy(AccessMode.READ_ONLY).revision


def test_datagrips_question_is_answered_without_a_write() -> None:
    sql = b"select case when pg_is_in_recovery() then null else (pg_catalog.txid_current() % 4294967296)::bigint end"
    verdict = judge(sql, READ_ONLY)
    assert verdict.allowed
    assert verdict.notice == ""
    sent = relabel(sql, verdict, "x")
    assert b"txid_current()" not in sent
    again = judge(sent, READ_ONLY)
    assert (again.allowed, again.edits) == (True, ())


@pytest.mark.parametrize("name", sorted(REFUSED_FUNCTIONS))
def test_a_refused_function_is_refused_in_every_notation(name: str) -> None:
    calls = [f'"{name}"({arguments})' for arguments in ("", "a", "a, b", "a, b, c", "VARIADIC a", "*", "x => a")]
    shapes = [f"pg_catalog.{calls[1]}", f"db.pg_catalog.{calls[0]}", f"{calls[1]} OVER ()", f"{calls[1]} FILTER (WHERE true)"]
    for call in (*calls, *shapes):
        assert not ask(f"SELECT {call} FROM t").allowed, call
    assert not ask(f"SELECT * FROM {calls[1]}").allowed
    assert not ask(f"SELECT * FROM ROWS FROM ({calls[0]}, lower(a)) AS r").allowed
    assert not ask(f"EXECUTE p({calls[1]})").allowed
    assert ask(f"SELECT '{name}(a)'").allowed
    if name in ATTRIBUTE_FUNCTIONS:
        for notation in (
            f'(a)."{name}"',
            f't."{name}"',
            f'(t.a)."{name}"',
            f'(ARRAY[a])[1]."{name}"',
            f'(f(a))."{name}".b',
            f'((a)."{name}").c',
        ):
            assert not ask(f"SELECT {notation} FROM t").allowed, notation
            assert not ask(f"SELECT 1 FROM t ORDER BY {notation}").allowed, notation


def test_messages_are_short_whatever_was_sent() -> None:
    for sql in ("SELECT '" + "x" * 100_000, f"SELECT set_config('{'x' * 100_000}', 'y', false)"):
        verdict = ask(sql)
        assert not verdict.allowed
        assert len(verdict.message) < 600
