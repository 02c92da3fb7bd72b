"""Equal shapes that are kept mean equal parse trees up to the values of constants, and equal verdicts."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pglast import parser as pglast

from gateway.access_mode import AccessMode, GrantOption
from gateway.session.verdicts import PolicyInForce
from gateway.statements.policy import Policy, judge
from gateway.statements.shape import MAX_BYTES, is_sound, kept_like, kept_shape, shape_of
from tests.bench.first_verdict import describe_queries
from tests.bench.workloads.statements import LITERALS, report, report_names
from tests.core.test_policy_corpus import entries, step_sql
from tests.generated.grammar import grammar
from tests.generated.queries import Honest

POLICY = Policy(AccessMode.READ_ONLY)
POLICIES = (
    POLICY,
    Policy(AccessMode.READ_ONLY, server_major=13, options=frozenset({GrantOption.TEMPORARY_TABLES})),
    Policy(AccessMode.READ_WRITE),
    Policy(AccessMode.READ_WRITE, options=frozenset({GrantOption.NO_DDL, GrantOption.REPORT_ONLY}), max_changed_rows=5),
)
_KINDS = {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt"}


def plain(value: object) -> object:
    """A parse tree without places, and without the values of constants; what class they are of stays."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, inner in value.items():
        if re.fullmatch(r"\w*location|stmt_len|\w*list_start|\w*list_end", key):
            continue
        if key in ("A_Const", "Integer", "Float"):
            found[key] = sorted(kind for kind, held in inner.items() if isinstance(held, dict) or kind == "isnull")
        elif key == "SQLValueFunction":
            found[key] = {**plain(inner), "typmod": 0}  # type: ignore[dict-item]
        else:
            found[key] = plain(inner)
    return found


def tree(sql: str) -> object:
    """Raises ParseError."""
    return plain(json.loads(pglast.parse_sql_json(sql)))


def kinds(sql: str) -> set[str]:
    return {tag for each in json.loads(pglast.parse_sql_json(sql))["stmts"] for tag in each["stmt"]}


_LETTERS = "abcXYZ019 .,*=<>()+-/%;:[]!|\t\n#$&?@^`{}~_"
_LITERAL = re.compile(r"(?:'[^']*')+|(?<![\w])\d+(?![\w])")


def other_string(random: Random) -> str:
    inside = "".join(random.choice(_LETTERS) for _ in range(random.randint(0, 12)))
    return random.choice((inside, inside, "", "-- x", "/*", "default_transaction_read_only", "off", "UTC", "pg_authid"))


def other(literal: str, random: Random) -> str:
    """Another literal of the same class."""
    if literal[0] == "'":
        return "'" + "''".join(other_string(random) for _ in range(literal.count("''", 1, -1) + 1)) + "'"
    size = len(literal)
    if size <= 9 or (size == 10 and literal[0] == "1"):
        return random.choice(("0", "1", "007", "1999999999", str(random.randint(0, 1_999_999_999))))
    if literal[0] != "0" and int(literal) >= 3_000_000_000:
        return random.choice(("3000000000", "9223372036854775808", str(random.randint(3_000_000_000, 10**30))))
    return literal


def changed(sql: str, random: Random) -> str:
    """Like `literals` of the shape: a string with quotes in it is several for it, with nothing between."""
    return _LITERAL.sub(lambda found: other(found[0], random), sql)


def corpus() -> Iterator[str]:
    for entry in entries():
        for step in entry.steps:
            sql = step_sql(step)
            if sql is not None and len(sql) <= MAX_BYTES:
                yield sql.decode("utf-8", "replace").rstrip(";")
    yield from (text.decode() for text in describe_queries())
    yield from (report(name) for name in report_names())
    yield from re.split(r";\s*\n", (Path(__file__).parent.parent / "policy" / "select_syntax.sql").read_text())


def generated(count: int, seed: str) -> Iterator[str]:
    for number in range(count):
        random = Random(f"{seed} {number}")
        made = Honest(grammar("objects", 18, xml=True), random)
        yield str(made.query(random.randint(0, 2), (), None)[0])


def check(sql: str, random: Random) -> bool:
    """All that is claimed of one text, with other literals. False: it has no shape that would be kept."""
    shape = shape_of(sql.encode())
    if shape is None or not is_sound(shape):
        return False
    assert shape_of(shape) == shape
    another = changed(sql, random)
    assert len(another) > MAX_BYTES or shape_of(another.encode()) == shape, (sql, another)
    try:
        first = tree(sql)
    except pglast.ParseError:
        return False
    if kinds(sql) - _KINDS:
        return False
    assert tree(another) == first, (sql, another)
    assert tree(shape.decode()) == first, sql
    for policy in POLICIES:
        verdict = judge(sql.encode(), policy)
        if kept_shape(sql.encode(), verdict) is not None:
            assert judge(another.encode(), policy) == verdict, (sql, another)
            assert judge(shape, policy) == verdict, sql
    return True


@pytest.mark.parametrize("texts", [corpus, lambda: generated(800, "shape")], ids=["corpus", "generated"])
def test_other_literals_change_neither_the_tree_nor_the_verdict(texts: Callable[[], Iterator[str]]) -> None:
    random = Random(5)
    covered = [check(sql, random) for sql in texts()]
    assert sum(covered) > 100


_TEMPLATES = (
    "SELECT a FROM t WHERE id = {n}",
    "SELECT a, {n} FROM t WHERE id = {n} ORDER BY {n} LIMIT {n} OFFSET {n}",
    "SELECT count(*) FROM t a JOIN u b ON a.x = b.y + {n} WHERE a.z IN ({n}, {n}, -{n})",
    "SELECT x::numeric({n},{n}), x::varchar({n}), x::bit({n}), x::int[{n}], current_time({n}) FROM t GROUP BY {n}",
    "SELECT CASE WHEN a > {n} THEN {n} ELSE -{n} END FROM t FETCH FIRST {n} ROWS ONLY",
    "SELECT a[{n}], b[{n}:{n}] FROM t TABLESAMPLE system ({n}) REPEATABLE ({n})",
    "SELECT interval({n}) {s}, timestamp({n}) {s}, interval {s} second({n}), time({n}) with time zone {s}",
    "SELECT {s} || {s}, date {s}, {s}::regclass, CAST({s} AS text), {s}\n{s} FROM t WHERE a LIKE {s} ESCAPE {s}",
    "SELECT extract({s} FROM a), a AT TIME ZONE {s}, position({s} IN a), trim({s} FROM a), a SIMILAR TO {s} FROM t",
    "SELECT * FROM json_table(a, {s} COLUMNS (b text PATH {s} DEFAULT {s} ON EMPTY)) j",
    "SELECT * FROM xmltable({s} PASSING a COLUMNS b text PATH {s}, c int DEFAULT {n}) x",
    "SELECT {n}.{n}, .{n}, {n}., -{n}.{n}, +{n}, {n}..{n}",
    "WITH RECURSIVE w AS (SELECT {n} UNION ALL SELECT {n} FROM w) CYCLE n SET c TO {s} DEFAULT {s} USING p SELECT * FROM w",
    "INSERT INTO t VALUES ({n}, {s}), (-{n}, {s}) ON CONFLICT DO NOTHING RETURNING {n}, {s}",
    "UPDATE t SET a = {s}, b[{n}] = {n} WHERE c = {s}",
    "DELETE FROM t WHERE a = {s} OR b > {n}",
    "SELECT a FROM t WINDOW w AS (ORDER BY {n} ROWS BETWEEN {n} PRECEDING AND {n} FOLLOWING)",
    "SELECT set_config({s}, {s}, true)",
    "SELECT set_config({s}, {s} || {s}, true)",
    "select set_config(name, {s}, false) from pg_settings where name = {s}",
    "SELECT x::float({n}), CAST(x AS float ({n})), float({n}) {s}",
)  # fmt: skip
_STRINGS = st.text(st.sampled_from(_LETTERS), max_size=8).map(lambda inside: f"'{inside}'")
_SMALL = st.one_of(st.integers(0, 1_999_999_999), st.integers(1, 60)).map(str)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(_TEMPLATES), st.data())
def test_texts_of_one_template_share_shape_tree_and_verdict(template: str, data: st.DataObject) -> None:
    text = re.sub(r"\{(\w)\}", lambda kind: data.draw(_STRINGS if kind[1] == "s" else _SMALL), template)
    check(text, Random(data.draw(st.integers(0, 1000))))


_NUMERIC = ("1", "23", "007", "4.5", ".5", "5.", "1e5", "0x1F", "1_000", "1abc", "2147483648", "12345678901", "00000000000001")
_OTHER = ("SELECT", "a1", "a", "t.1", "::int", "||", "float(", *"-+*(),%<=[]:;en")
_QUOTED = ("'a'", "'", "''", "'1'", "e'\n'", "x'0'", "u&'", "--", "/*", "*/", "\n", "\t", "$1", "$$", "#", "@", "'\n'")
_PIECES = st.sampled_from((*_NUMERIC, *_OTHER, *_QUOTED, " ", " "))


@settings(max_examples=2000, deadline=None)
@given(st.lists(_PIECES, max_size=14), st.integers(0, 1000))
def test_a_kept_shape_determines_the_tree(pieces: list[str], seed: int) -> None:
    """Whatever stands between the literals: from the shape back to any text of it."""
    one = "SELECT " + "".join(pieces)
    shape = shape_of(one.encode())
    assume(shape is not None)
    assert shape is not None
    if is_sound(shape):
        check(one, Random(seed))
        check(shape.decode(), Random(seed))


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT "a"', "SELECT $1", "SELECT 1 -- x", "SELECT /* x */ 1", "SELECT E'\\1'", "SELECT 'a\\b'",
        "SELECT e'a'", "SELECT b'1'", "SELECT X'1F'", "SELECT n'a'", "SELECT u&'a'", "SELECT U&'a' UESCAPE '!'", "SELECT 'a'b",
        "SELECT 1\r", "SELECT ä", "SELECT 'ä'", "SELECT 1\0", "SELECT 'a\"b'", "SELECT '\x7f'",
        "SELECT $$1$$", "SELECT `1`", "SELECT 1 @ 2", "SELECT 1 & 2", "SELECT a::float(3)", "SELECT a::FLOAT\n (53)",
        "SELECT '" + "x" * MAX_BYTES + "'",
    ],
)  # fmt: skip
def test_anything_unusual_is_kept_by_its_text(sql: str) -> None:
    shape = shape_of(sql.encode())
    assert shape is None or not is_sound(shape)


@pytest.mark.parametrize(
    "sql",
    [
        "SET statement_timeout = 5",
        "FETCH 5 FROM c",
        "SHOW work_mem",
        "DELETE FROM t WHERE id = 5",
        "SELECT nextval(5)",
        "BEGIN",
        "SELECT 1; SELECT 2",
        "EXPLAIN SELECT 1",
        "COPY t TO STDOUT (DELIMITER ';')",
        "SELECT set_config('timezone', 'UTC', true)",
        "SELECT a FROM t WHERE b = set_config('timezone', 'UTC', true)",
        "select set_config(name, 'view, foreign-table', false) from pg_settings where name = 'restrict_nonsystem_relation_kind'",
    ],
)
def test_only_allowed_queries_that_looked_at_no_literal_are_kept_by_shape(sql: str) -> None:
    for policy in POLICIES[:2]:
        assert kept_shape(sql.encode(), judge(sql.encode(), policy)) is None
    assert sql.startswith("DELETE") or kept_shape(sql.encode(), judge(sql.encode(), POLICIES[2])) is None or "nextval" in sql


@pytest.mark.parametrize(
    ("one", "another", "third"),
    [
        ("SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = 4711", "SELECT a FROM t WHERE id = 1.5"),
        ("SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = 1999999999", "SELECT a FROM t WHERE id = 4294967296"),
        ("SELECT a FROM t\n\tWHERE b = 'x'", "SELECT a FROM t\n\tWHERE b = 'O:\n\t3;'", "SELECT a FROM t\n\tWHERE b = 'O''N'"),
        ("SELECT 10000000000 + 0.5", "SELECT 20000000000000000000000 + 17.25", "SELECT 2000000000 + 0.5"),
    ],
)  # fmt: skip
def test_a_kept_shape_answers_for_other_literals_and_tells_the_audit_the_text_itself(
    one: str, another: str, third: str
) -> None:
    in_force = PolicyInForce(POLICY, 100, 1_000_000, 65_536)
    first = in_force.judge(one.encode())
    found = in_force.by_shape(another.encode())
    assert found is not None
    like, fragment = found
    assert like is first
    assert like.passes
    record = json.loads(b"{%b}" % fragment)
    whole = json.loads(b"{%b}" % in_force.remember(another.encode(), first.verdict).fragment)
    assert record == whole
    assert record["sql"] == another
    assert in_force.by_shape(third.encode()) is None
    assert in_force.by_shape(one.replace(" a ", " b ").replace("+", "-").encode()) is None


@pytest.mark.parametrize(
    "secret", ["host=h password=abc", "postgres://joe:abc@h/d", "PassWord=abc", "x client_secret=abc", "passphrase: abc"]
)
def test_what_the_audit_masks_is_not_answered_by_shape(secret: str) -> None:
    in_force = PolicyInForce(POLICY, 100, 1_000_000, 65_536)
    in_force.judge(b"SELECT a FROM t WHERE b = 'x'")
    assert in_force.by_shape(f"SELECT a FROM t WHERE b = '{secret}'".encode()) is None
    in_force.judge(b"SELECT a FROM t WHERE password = 'x'")
    assert in_force.by_shape(b"SELECT a FROM t WHERE password = 'y'") is None


def test_texts_beyond_a_limit_are_not_answered_by_shape() -> None:
    for policy, audit_bytes in ((Policy(AccessMode.READ_ONLY, max_statement_bytes=40), 1000), (POLICY, 40)):
        in_force = PolicyInForce(policy, 100, 1_000_000, audit_bytes)
        in_force.judge(b"SELECT a FROM t WHERE b = 'x'")
        assert in_force.by_shape(b"SELECT a FROM t WHERE b = 'xx'") is not None
        assert in_force.by_shape(b"SELECT a FROM t WHERE b = 'xxxxxxxxxxxxxx'") is None


def test_the_workload_of_changing_literals_is_answered_by_shape() -> None:
    for script in LITERALS:
        sql = script.rsplit("\n", 2)[-2].rstrip(";").encode()
        texts = [re.sub(rb":[a-z]\w*", str(number).encode(), sql) for number in (7, 1234, 99999)]
        in_force = PolicyInForce(POLICY, 100, 1_000_000, 65_536)
        assert in_force.judge(texts[0]).passes
        assert all(in_force.by_shape(text) is not None for text in texts)


_DIGITS = st.text("0129 a_.,'$\"\\é", max_size=16) | st.integers(0, 10**11).map(str)


@given(st.lists(_DIGITS, max_size=4).map(" ".join), st.lists(_DIGITS, max_size=4).map(" ".join))
@settings(max_examples=1000)
def test_a_text_finds_what_was_kept_under_its_shape_and_nothing_else(one: str, another: str) -> None:
    shapes = {
        shape: shape
        for text in (one, "0", "9999999999", "0 9999999999")
        if (shape := shape_of(text.encode())) and is_sound(shape)
    }
    for text in (one, another):
        sql = text.encode()
        assert kept_like(shapes, sql) == shapes.get(shape_of(sql) or b"no shape")
