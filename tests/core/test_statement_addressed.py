"""Which texts are for the gateway itself, and what they ask; everything else is not touched."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access_mode import AccessMode, GrantOption
from gateway.judging.codec import LENGTH, decode_reply, encode_reply
from gateway.statements.addressed import Addressed, AskAccess, GiveBack, Show, Shown
from gateway.statements.only_these import OnlyThese
from gateway.statements.parse import parse
from gateway.statements.policy import Policy, judge
from gateway.statements.verdict import Verdict
from tests.core.test_policy_corpus import entries, step_sql

POLICIES = (
    Policy(AccessMode.READ_ONLY),
    Policy(AccessMode.READ_ONLY, allowed_functions=frozenset({"pgbastion.*", "pgbastion.request"})),
    Policy(AccessMode.READ_WRITE),
    Policy(AccessMode.READ_WRITE, options=frozenset({GrantOption.REPORT_ONLY, GrantOption.NO_DDL}), metered=True),
    Policy(AccessMode.READ_ONLY, only=OnlyThese(statements=frozenset({"ab"}))),
)


def of(sql: str, policy: Policy = POLICIES[0]) -> Verdict:
    return judge(sql.encode(), policy)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("sql", "asked"),
    [
        ("SHOW pgbastion.session", Show(Shown.SESSION)),
        ("show PGBASTION.Grants ;", Show(Shown.GRANTS)),
        ('SHOW "pgbastion.requests"', Show(Shown.REQUESTS)),
        ('/* me */ SHOW "PgBastion"."Requests" -- mine', Show(Shown.REQUESTS)),
        ("SELECT pgbastion.request('rw')", AskAccess(AccessMode.READ_WRITE)),
        ("SELECT pgbastion.request('read_write', '1h', 'why')", AskAccess(AccessMode.READ_WRITE, 3600, "why")),
        (
            "SELECT * FROM pgbastion.request(mode => 'read-only', duration := '1d 12h', reason => E'it''s\\n')",
            AskAccess(AccessMode.READ_ONLY, 129_600, "it's"),
        ),
        ("select * from PgBastion.Request(code => 'k7m2x9qa') as result", AskAccess(code="k7m2x9qa")),
        (
            "SELECT pgbastion.request(sql => 'DELETE FROM a WHERE b = 1', scope => 'exact', ticket => 17, target => NULL) AS x",
            AskAccess(statements="DELETE FROM a WHERE b = 1", scope="exact", ticket="17"),
        ),
        (
            "SELECT pgbastion.request(role => 'reporting'::text, target => 'shop')",
            AskAccess(database_role="reporting", target="shop"),
        ),
        ("SELECT pgbastion.relinquish(17)", GiveBack(17)),
        ("SELECT * FROM pgbastion.relinquish(number => '17');", GiveBack(17)),
    ],
)
def test_what_they_ask(sql: str, asked: Addressed, policy: Policy) -> None:
    verdict = of(sql, policy)
    assert (verdict.allowed, verdict.rule, verdict.addressed) == (True, "gateway-statement", asked), verdict.message
    assert (verdict.metered, verdict.any_literals, verdict.edits, verdict.row_ceiling) == (False, False, (), 0)
    assert decode_reply(encode_reply(verdict)[LENGTH.size :]) == verdict


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("sql", "sqlstate", "said"),
    [
        ("SHOW pgbastion.rights", "42704", "pgbastion.rights"),
        ("SHOW pgbastion.", "42601", ""),
        ("SHOW pgbastion.a.b", "42704", "pgbastion.a.b"),
        ("SELECT pgbastion.request()", "22023", "must say what"),
        ("SELECT pgbastion.request(reason => 'x')", "22023", "must say what"),
        ("SELECT pgbastion.request(mode => 'admin')", "22023", "read_only or read_write"),
        ("SELECT pgbastion.request('rw', '60')", "22023", "duration"),
        ("SELECT pgbastion.request('rw', '0h')", "22023", "duration"),
        ("SELECT pgbastion.request('rw', '-1h')", "22023", "duration"),
        ("SELECT pgbastion.request('rw', $1)", "0A000", "literal"),
        ("SELECT pgbastion.request(mode => lower('RW'))", "0A000", "literal"),
        ("SELECT pgbastion.request(mode => (SELECT 'rw'))", "0A000", "literal"),
        ("SELECT pgbastion.request('rw', '1h', 'a' || 'b')", "0A000", "literal"),
        ("SELECT pgbastion.request('rw', for_user => 'bob')", "42883", "for_user"),
        ("SELECT pgbastion.request('rw', mode => 'ro')", "42883", "twice"),
        ("SELECT pgbastion.request('rw', '1h', 'r', 'role')", "42883", "$4"),
        ("SELECT pgbastion.request(code => 'a', sql => 'b')", "22023", "one of these"),
        ("SELECT pgbastion.request(code => 'a', mode => 'rw')", "22023", "one of these"),
        ("SELECT pgbastion.request(sql => 'a', scope => 'all')", "22023", "scope"),
        ("SELECT pgbastion.relinquish()", "22023", "number"),
        ("SELECT pgbastion.relinquish(-1)", "22023", "number"),
        ("SELECT pgbastion.relinquish(0)", "22023", "number"),
        ("SELECT pgbastion.relinquish(99999999999999999999)", "22023", "number"),
        ("SELECT pgbastion.relinquish(17, 18)", "42883", "$2"),
        # part of something else
        ("SET timezone = 'UTC'; SHOW pgbastion.grants", "0A000", "only one of its text"),
        ("SHOW pgbastion.grants; SHOW pgbastion.session", "0A000", "only one of its text"),
        ("SELECT pgbastion.request('rw'); SELECT 1", "0A000", "only one of its text"),
        ("SELECT pgbastion.request('rw'), 1", "0A000", "part of another"),
        ("SELECT 1 + pgbastion.relinquish(17)", "0A000", "part of another"),
        ("SELECT (pgbastion.request('rw')).number", "0A000", "part of another"),
        ("SELECT pgbastion.request('rw') WHERE true", "0A000", "part of another"),
        ("SELECT pgbastion.request('rw') LIMIT 0", "0A000", "part of another"),
        ("SELECT DISTINCT pgbastion.request('rw')", "0A000", "part of another"),
        ("SELECT pgbastion.request('rw') UNION SELECT pgbastion.request('rw')", "0A000", "part of another"),
        ("SELECT number FROM pgbastion.request('rw')", "0A000", "part of another"),
        ("SELECT r.* FROM pgbastion.request('rw') r", "0A000", "part of another"),
        ("SELECT * FROM pgbastion.request('rw') WITH ORDINALITY", "0A000", "part of another"),
        ("SELECT * FROM pgbastion.request('rw') AS r (a, b)", "0A000", "part of another"),
        ("SELECT * FROM LATERAL pgbastion.request('rw')", "0A000", "part of another"),
        ("SELECT * FROM ROWS FROM (pgbastion.request('rw'), generate_series(1, 2))", "0A000", "part of another"),
        ("SELECT * FROM t, pgbastion.request('rw')", "0A000", "part of another"),
        ("SELECT pgbastion.request(VARIADIC '{rw}'::text[])", "0A000", "part of another"),
        ("SELECT pgbastion.request(DISTINCT 'rw')", "0A000", "part of another"),
        ("SELECT pgbastion.request('rw') FILTER (WHERE true)", "0A000", "part of another"),
        ("SELECT shop.pgbastion.request('rw')", "0A000", "part of another"),
        ("WITH a AS (SELECT 1) SELECT pgbastion.request('rw')", "0A000", "part of another"),
        ("SELECT a FROM t WHERE a = pgbastion.relinquish(17)", "0A000", "part of another"),
        ("PREPARE p AS SELECT pgbastion.request('rw')", "0A000", "part of another"),
        ("EXPLAIN SELECT pgbastion.request('rw')", "0A000", "part of another"),
        ("DECLARE c CURSOR FOR SELECT pgbastion.request('rw')", "0A000", "part of another"),
        ("COPY (SELECT pgbastion.request('rw')) TO STDOUT", "0A000", "part of another"),
    ],
)
def test_what_is_refused_with_a_hint(sql: str, sqlstate: str, said: str, policy: Policy) -> None:
    verdict = of(sql, policy)
    assert (verdict.allowed, verdict.sqlstate, verdict.addressed) == (False, sqlstate, None)
    assert said in verdict.message
    if sqlstate != "42601":
        assert verdict.rule == "gateway-statement"
        assert verdict.hint


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t SELECT pgbastion.relinquish(17)",
        "CREATE TABLE t AS SELECT pgbastion.request('rw')",
        "CREATE VIEW v AS SELECT * FROM pgbastion.request('rw')",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT pgbastion.relinquish(17); END",
        "ALTER TABLE t ADD CHECK (pgbastion.relinquish(17))",
    ],
)
def test_within_what_only_a_writer_may_send(sql: str) -> None:
    assert of(sql).sqlstate in ("25006", "42501", "0A000")
    assert (of(sql, POLICIES[2]).sqlstate, of(sql, POLICIES[2]).rule) == ("0A000", "gateway-statement")


@pytest.mark.parametrize(
    ("sql", "reader", "writer"),
    [
        ("SHOW ALL", True, True),
        ("SHOW pgbastions.session", True, True),
        ("SHOW session", True, True),
        ("SELECT 'SHOW pgbastion.session'", True, True),
        ("SELECT current_setting('pgbastion.session', true)", True, True),
        ("SELECT * FROM pgbastion.requests", True, True),
        ("SELECT request FROM pgbastion.request", True, True),
        ("SELECT request(1)", False, True),
        ("SELECT pgbastion.requests(1)", False, True),
        ("SELECT other.request('rw')", False, True),
        ("SELECT other.relinquish(17)", False, True),
        ("CALL pgbastion.request('rw')", False, True),  # a procedure is none of ours
        ("DO $$BEGIN PERFORM pgbastion.request('rw'); END$$", False, True),  # upstream's own, if there is one
        ("CREATE FUNCTION pgbastion.request(text) RETURNS int LANGUAGE sql AS 'SELECT 1'", False, True),
    ],
)
def test_all_else_is_not_ours(sql: str, reader: bool, writer: bool) -> None:
    for policy, allowed in ((POLICIES[0], reader), (POLICIES[2], writer)):
        verdict = of(sql, policy)
        assert (verdict.allowed, verdict.addressed) == (allowed, None)
        assert verdict.rule != "gateway-statement"


def test_no_text_of_the_corpus_is_taken_for_one() -> None:
    texts = [(sql, entry.policy) for entry in entries() for step in entry.steps if (sql := step_sql(step)) is not None]
    assert len(texts) > 1000
    assert not [sql for sql, policy in texts if judge(sql, policy).addressed is not None]


_PIECES = st.sampled_from(
    [
        *(
            "SELECT ",
            "* ",
            "FROM ",
            ", ",
            "; ",
            "(",
            ")",
            " AS x",
            "1",
            "t",
            " WHERE true",
            "EXPLAIN ",
            "PREPARE p AS ",
            "WITH a AS ",
        ),
        *(
            "pgbastion.request('rw')",
            "pgbastion.relinquish(17)",
            "pgbastion.request(",
            "'rw'",
            "mode => ",
            "$1",
            "NULL",
            "::text",
        ),
        *(
            "SHOW ",
            "pgbastion.grants",
            "pgbastion.session",
            "ALL",
            "/* */",
            "-- \n",
            " UNION ",
            "DISTINCT ",
            "LIMIT 1",
            "$$",
            "E'\\''",
        ),
    ]
)


@settings(max_examples=1000, deadline=None)
@given(st.lists(_PIECES, max_size=7))
def test_only_what_is_nothing_else_is_taken_for_one(pieces: list[str]) -> None:
    sql = "".join(pieces)
    verdict = of(sql, POLICIES[2])
    if verdict.addressed is None:
        return
    found = parse(sql)
    assert isinstance(found, tuple)
    ((statement),) = found
    tree = json.dumps({statement.tag: statement.node})
    assert tree.count('"FuncCall"') == (0 if isinstance(verdict.addressed, Show) else 1)
    assert not any(
        f'"{other}"' in tree for other in ("ParamRef", "SubLink", "RangeVar", "WithClause", "whereClause", "limitCount")
    )
