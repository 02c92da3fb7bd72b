"""Rules see the values of literals through `Wording` alone, which remembers that they asked."""

import ast
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode, GrantOption
from gateway.statements import literals
from gateway.statements.policy import Policy, judge

_FOLDER = Path(literals.__file__).parent
_VALUES = {"sval", "ival", "fval", "bsval", "boolval"}
#: `parse` reads names, which are String nodes and no constants.
_READERS = {"literals.py", "parse.py"}
PG_DUMP = (
    "select set_config(name, 'view, foreign-table', false) from pg_settings where name = 'restrict_nonsystem_relation_kind'"
)


def test_no_other_module_takes_a_literal_from_the_tree() -> None:
    for path in _FOLDER.glob("*.py"):
        if path.name in _READERS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Constant) and node.value in _VALUES), (path.name, node.value)
            if isinstance(node, ast.Attribute) and node.attr in ("_sql", "may_say"):
                assert (path.name, node.attr) == ("write_modes.py", "may_say")  # which words cannot be there, and no more


def test_the_text_itself_is_read_by_its_judges_only() -> None:
    """Who has its bytes could read a literal off them. Rules get a `Wording`."""
    holders = {
        path.name
        for path in _FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.arg) and node.arg == "sql"
    }
    judges = {"policy.py", "whole_text.py", "hygiene.py", "shape.py", "edits.py", "literals.py", "definitions.py"}
    # Whose password a refused text is about is no part of any verdict.
    assert holders == judges | {"password_change.py"}


@pytest.mark.parametrize(
    ("sql", "looked_at"),
    [
        ("SELECT 'a', 1, 1.5, true, date '2020-01-01', 'pg_class'::regclass, interval '1 day' LIMIT 5", False),
        ("SELECT current_setting('work_mem'), to_regclass('x'), has_table_privilege('t', 'select')", False),
        ("SELECT set_config('timezone', 'UTC', true)", True),
        ("SELECT set_config('timezone', $1, true)", True),
        ("SET timezone = 'UTC'", True),
        ("SET timezone TO DEFAULT", False),
        ("BEGIN READ ONLY", True),
        (PG_DUMP, True),
        ("SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE (txid_current() % 10)::text END", True),
    ],
)
def test_who_looks_is_remembered(sql: str, looked_at: bool) -> None:
    verdict = judge(sql.encode(), Policy(AccessMode.READ_ONLY))
    assert verdict.allowed, verdict.message
    assert verdict.any_literals is not looked_at


def test_whether_explain_analyzes_is_a_look() -> None:
    policy = Policy(AccessMode.READ_WRITE, options=frozenset({GrantOption.NO_DDL}))
    assert judge(b"EXPLAIN (ANALYZE 'off') DELETE FROM t", policy).allowed
    assert not judge(b"EXPLAIN (ANALYZE 'off') DELETE FROM t", policy).any_literals
    assert not judge(b"EXPLAIN (ANALYZE 'on') DELETE FROM t", policy).allowed
    assert judge(b"DELETE FROM t WHERE a = 'truncate'", policy).any_literals
