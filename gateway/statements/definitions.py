"""Statements that the database keeps: views, conditions of policies, domains and indexes, as the server prints them.

They are printed under an empty search_path, so an unqualified name is PostgreSQL's own, and they hold no calls in attribute
notation. The rules are those of a reader's statement, whatever the session's mode.
"""

from typing import Final

from gateway.access_mode import AccessMode
from gateway.statements import refusal
from gateway.statements.limits import Caps
from gateway.statements.literals import Wording
from gateway.statements.names import Listed
from gateway.statements.openings import Openings
from gateway.statements.parse import Fields, Json, ParseFailure, RawStatement, parse
from gateway.statements.readonly import Statement, judge_statement
from gateway.statements.refusal import Refusal
from gateway.statements.settings import SettingRules
from gateway.statements.walk import Walk

_RULES: Final = SettingRules(AccessMode.READ_ONLY, frozenset(), frozenset(), Caps())
_MAX_CHARACTERS: Final = 64 * 1024  # they are judged on the event loop, where nobody may wait for them
_RUN_WHEN_CONSTANT: Final = ("FuncCall", "A_Expr", "TypeCast")


def judge_definition(sql: str, openings: Openings) -> Refusal | None:
    """All of a kept statement. What cannot be read is refused."""
    raw = _parsed(sql)
    if isinstance(raw, Refusal):
        return raw
    return judge_statement(Statement(raw, Wording(sql.encode()), 0, _RULES, _walk(sql, openings)))


def judge_constants(sql: str, openings: Openings) -> Refusal | None:
    """The parts of a kept statement that no column is in: what the planner works out beforehand."""
    raw = _parsed(sql)
    if isinstance(raw, Refusal):
        return raw
    stack: list[Json] = [raw.node]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            for tag, value in node.items():
                if tag in _RUN_WHEN_CONSTANT and not _has_column(value):
                    found = _walk(sql, openings).run({tag: value})
                    if found is not None:
                        return found
                else:
                    stack.append(value)
    return None


def _parsed(sql: str) -> RawStatement | Refusal:
    """The only statement of `sql`, which must be a SELECT."""
    statements = parse(sql) if "\0" not in sql and len(sql) <= _MAX_CHARACTERS else ()
    if isinstance(statements, ParseFailure) or len(statements) != 1 or statements[0].tag != "SelectStmt":
        return refusal.unsupported(
            "a stored definition that this gateway cannot read", "Ask an admin to list it by name.", None
        )
    return statements[0]


def _walk(sql: str, openings: Openings) -> Walk:
    listed = Listed(openings.entries, frozenset(), openings, openings.hides_activity)
    return Walk(listed, openings.catalog.server_major, _no_set_config, Wording(sql.encode()), is_definition=True)


def _no_set_config(_call: Fields) -> Refusal:
    return refusal.setting_not_constant(None)


def _has_column(node: Json) -> bool:
    stack: list[Json] = [node]
    while stack:
        each = stack.pop()
        if isinstance(each, list):
            stack.extend(each)
        elif isinstance(each, dict):
            if "ColumnRef" in each:
                return True
            stack.extend(each.values())
    return False
