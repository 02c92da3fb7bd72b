"""The tree of a text is the same whichever of the two JSON readers reads it."""

import json
import sys
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pglast import parser as pglast

from gateway.access_mode import AccessMode
from gateway.statements.parse import ParseFailure, RawStatement, parse
from gateway.statements.policy import Policy, judge
from tests.core.test_statement_shape import corpus, generated


@pytest.fixture
def _deep() -> Iterator[None]:
    """As in the process that judges deep texts."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    yield
    sys.setrecursionlimit(before)


def same(one: object, other: object) -> bool:
    """Equality without recursion, and without 1 == True."""
    stack = [(one, other)]
    while stack:
        left, right = stack.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, dict) and isinstance(right, dict):
            if list(left) != list(right):
                return False
            stack.extend(zip(left.values(), right.values(), strict=True))
        elif isinstance(left, list) and isinstance(right, list):
            if len(left) != len(right):
                return False
            stack.extend(zip(left, right, strict=True))
        elif left != right:
            return False
    return True


def check(sql: str) -> bool:
    """False: the parser refuses it."""
    found = parse(sql)
    if isinstance(found, ParseFailure):
        with pytest.raises(pglast.ParseError):
            pglast.parse_sql_json(sql)
        return False
    expected = json.loads(pglast.parse_sql_json(sql))["stmts"]
    assert len(found) == len(expected)
    for raw, entry in zip(found, expected, strict=True):
        assert same({raw.tag: raw.node}, entry["stmt"]), sql
        assert raw.start == entry.get("stmt_location", 0)
        assert raw.end - raw.start == entry.get("stmt_len", len(sql.encode()) - raw.start)
    return True


def test_both_readers_give_the_same_trees() -> None:
    texts = [sql for sql in (*corpus(), *generated(200, "parse")) if "\0" not in sql]
    assert sum(map(check, texts)) > 800


@given(st.text(st.characters(exclude_characters="\0'\"", exclude_categories=["Cs"])))
def test_odd_characters(text: str) -> None:
    check(f"SELECT '{text}' AS \"{text or 'a'}\" -- {text}")
    check(text)


@pytest.mark.parametrize(
    "text", ["\u2028", "\ufeff", "\ufffe", "\U0010ffff", "\x01\x1f\x7f", "e\u0301", "\\", "\\u0041", "\u0085"]
)
def test_characters_that_json_escapes(text: str) -> None:
    assert check(f"SELECT '{text}' AS \"{text}\"")
    assert check(f"SELECT E'\\x01\\t\\u00e9', U&'\\+01F600', $q${text}$q$")


@pytest.mark.usefixtures("_deep")
def test_deep_trees() -> None:
    """Also those beyond what the quick reader takes."""
    for depth in (10, 300, 500, 520, 1500):
        assert check("SELECT " + "1 + " * depth + "1")
        assert check("SELECT " + "NOT " * depth + "true")
        assert check("SELECT " + "- a " + "- a" * depth)
    deep = pglast.parse_sql_json("SELECT " + "NOT " * 1500 + "true")
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(deep)


def test_what_neither_reader_takes_is_refused() -> None:
    sql = "SELECT " + "NOT " * 3000 + "true"
    assert isinstance(parse(sql), ParseFailure)
    assert judge(sql.encode(), Policy(AccessMode.READ_ONLY)).rule == "statement-too-complex"


def test_no_statement_at_all() -> None:
    assert parse("") == parse(" ; -- x") == ()
    assert parse("SELECT 1; ;SELECT 2") == (
        RawStatement("SelectStmt", parse("SELECT 1")[0].node, 0, 8),  # type: ignore[index]
        parse("SELECT 1; ;SELECT 2")[1],  # type: ignore[index]
    )
