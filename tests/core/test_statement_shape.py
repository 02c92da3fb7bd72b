"""Equal shapes mean equal parse trees up to integer constants, and equal verdicts."""

import json
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pglast import parser as pglast

from gateway.access_mode import AccessMode
from gateway.session.verdicts import PolicyInForce
from gateway.statements.policy import Policy, judge
from gateway.statements.shape import keeps_for_shape, shape_of

POLICY = Policy(
    mode=AccessMode.READ_ONLY,
    allowed_functions=frozenset(),
    allowed_schemas=frozenset({"public"}),
    allowed_settings=frozenset(),
)

_TEMPLATES = (
    "SELECT a FROM t WHERE id = {}",
    "SELECT a, {} FROM t WHERE id = {} ORDER BY {} LIMIT {} OFFSET {}",
    "SELECT count(*) FROM t a JOIN u b ON a.x = b.y + {} WHERE a.z IN ({}, {}, {})",
    "SELECT x::numeric({},{}) FROM t GROUP BY {}",
    "SELECT CASE WHEN a > {} THEN {} ELSE -{} END FROM t FETCH FIRST {} ROWS ONLY",
    "SELECT a[{}], b[{}:{}] FROM t TABLESAMPLE system ({})",
    "SELECT interval({}) FROM t; SELECT {}",
)
_NUMBER = st.integers(min_value=0, max_value=999_999_999).map(str)


def tree(sql: str) -> object:
    """The parse tree without places and without the values of integer constants."""
    text = re.sub(r'"(\w*location|stmt_len|\w*list_start|\w*list_end)":-?\d+', '"place":0', pglast.parse_sql_json(sql))
    text = re.sub(r'"ival":\{("ival":-?\d+)?\}|"ival":-?\d+', '"ival":0', text)
    return json.loads(text)


@given(template=st.sampled_from(_TEMPLATES), data=st.data())
def test_texts_of_one_template_share_shape_tree_and_verdict(template, data):
    def filled() -> str:
        return template.format(*(data.draw(_NUMBER) for _ in range(template.count("{}"))))

    one, other = filled(), filled()
    assert shape_of(one.encode()) == shape_of(other.encode()) is not None
    try:
        trees = tree(one), tree(other)
    except pglast.ParseError:
        return
    assert trees[0] == trees[1]
    assert judge(one.encode(), POLICY).rule == judge(other.encode(), POLICY).rule


_NUMERIC = ("1", "23", "007", "4.5", ".5", "5.", "1e5", "0x1F", "1_000", "1abc", "12345678901")
_OTHER = ("SELECT", "a1", "a", "t.1", "-", "+", "*", "(", ")", ",", "::int", "%", "<", "=", "[", "]", ":", ";", " ")
_PIECES = st.sampled_from((*_NUMERIC, *_OTHER, " "))


@settings(max_examples=400)
@given(st.lists(_PIECES, max_size=12), st.data())
def test_replacing_what_the_shape_left_out_never_changes_the_tree(pieces, data):
    one = "SELECT " + "".join(pieces)
    shape = shape_of(one.encode())
    assume(shape is not None)
    assert shape is not None
    other = re.sub(r"(?<![\w.])0(?![\w.])", lambda _: data.draw(_NUMBER), shape.decode())
    assert shape_of(other.encode()) == shape
    try:
        first = tree(one)
    except pglast.ParseError:
        return
    assert tree(other) == first


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'a'", 'SELECT "a"', "SELECT $1", "SELECT 1 -- x", "SELECT /* x */ 1", "SELECT E'\\1'",
        "SELECT 1\n", "SELECT ä", "SELECT 1\0",
        "SELECT $$1$$", "SELECT `1`", "SELECT 1 @ 2",
    ],
)  # fmt: skip
def test_anything_unusual_has_no_shape(sql):
    assert shape_of(sql.encode()) is None


@pytest.mark.parametrize(
    "sql",
    [
        "SET statement_timeout = 5",
        "FETCH 5 FROM c",
        "SHOW work_mem",
        "DELETE FROM t WHERE id = 5",
        "SELECT nextval(5)",
        "BEGIN",
    ],
)
def test_only_allowed_queries_are_kept_by_shape(sql):
    assert not keeps_for_shape(judge(sql.encode(), POLICY))


def test_a_kept_shape_answers_for_other_integers_and_tells_the_audit_the_text_itself():
    in_force = PolicyInForce(POLICY, 100, 1_000_000, 65_536)
    first = in_force.judge(b"SELECT a FROM t WHERE id = 1")
    found = in_force.by_shape(b"SELECT a FROM t WHERE id = 4711")
    assert found is not None
    like, fragment = found
    assert like is first
    assert like.passes
    record = json.loads(b"{%b}" % fragment)
    whole = json.loads(b"{%b}" % in_force.remember(b"SELECT a FROM t WHERE id = 4711", first.verdict).fragment)
    assert record == whole
    assert record["sql"] == "SELECT a FROM t WHERE id = 4711"
    assert in_force.by_shape(b"SELECT a FROM t WHERE id = 1.5") is None
    assert in_force.by_shape(b"SELECT b FROM t WHERE id = 1") is None
