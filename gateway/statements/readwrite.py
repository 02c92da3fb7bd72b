"""The rules of read-write sessions: everything that parses, but what would break the gateway's own guarantees.

Those are: how the server reads text, who the session is, what files and programs of the server it reaches, and the database
roles that the gateway logs in with.
"""

from typing import Final

from gateway.statements import assignment, refusal
from gateway.statements.addressed import FUNCTIONS, misplaced
from gateway.statements.parse import Fields, Json, location, strings
from gateway.statements.readonly import Statement
from gateway.statements.refusal import Refusal
from gateway.statements.relation_use import RelationUse
from gateway.statements.verdict import LabelEdit, ValueEdit
from gateway.statements.words import statement_words

_ROLE_STATEMENTS: Final = frozenset({"CreateRoleStmt", "AlterRoleStmt", "AlterRoleSetStmt", "DropRoleStmt"})
_SERVER_STATEMENTS: Final = frozenset({"AlterSystemStmt", "LoadStmt"})


def judge_statement(statement: Statement) -> Refusal | None:
    """None: allowed. Walks the whole tree: a statement can stand inside others (EXPLAIN, CREATE SCHEMA, rules)."""
    stack: list[Json] = [{statement.raw.tag: statement.raw.node}]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
            continue
        if not isinstance(node, dict):
            continue
        for key, value in node.items():
            if isinstance(value, dict):
                found = _node(key, value, statement)
                if found is not None:
                    return found
                stack.append(value)
            elif isinstance(value, list):
                stack.append(value)
    granted = statement.walk.listed.granted
    if granted is None:
        return None
    return RelationUse(granted, None, statement.place, writes=True).judge(statement.raw.tag, statement.raw.node)


def _node(tag: str, node: Fields, statement: Statement) -> Refusal | None:
    place = statement.place
    match tag:
        case "FuncCall":
            return _call(node, statement)
        case "RangeVar" | "relation" | "rel":
            _note(node, statement)
            return None
        case "CommonTableExpr":
            statement.walk.ctes.add(str(node.get("ctename")))
            return None
        case "VariableSetStmt" | "setstmt":
            return _set(node, statement)
        case "CopyStmt" if node.get("filename") is not None or node.get("is_program"):
            return refusal.copy_file(place)
        case "RenameStmt" if node.get("renameType") == "OBJECT_ROLE":
            return refusal.account_change("ALTER ROLE ... RENAME", place)
        case _ if tag in _ROLE_STATEMENTS:
            return refusal.account_change(statement_words(tag, node).upper(), place)
        case _ if tag in _SERVER_STATEMENTS:
            return refusal.server_control(statement_words(tag, node).upper(), place)
        case _:
            return None


def _note(node: Fields, statement: Statement) -> None:
    name = node.get("relname")
    if isinstance(name, str):
        schema = node.get("schemaname")
        statement.walk.tables.add(f"{schema}.{name}" if schema else name)


def _call(node: Fields, statement: Statement) -> Refusal | None:
    parts = strings(node.get("funcname"))
    if not parts:
        return refusal.unknown_syntax("FuncCall", location(node))
    statement.walk.functions.add(".".join(parts))
    if parts[-1] in FUNCTIONS and (found := misplaced(parts, location(node))) is not None:
        return found
    if parts[-1] == "set_config" and (len(parts) == 1 or parts[-2] == "pg_catalog"):
        match assignment.set_config(node, statement.wording, statement.settings):
            case Refusal() as refused:
                return refused
            case LabelEdit() as edit:
                statement.edits.append(edit)
            case None:
                pass
    return None


def _set(node: Fields, statement: Statement) -> Refusal | None:
    top_level = node is statement.raw.node
    match assignment.variable_set(node, statement.wording, statement.raw.end, statement.settings, statement.place):
        case Refusal() as refused:
            # SET ... FROM CURRENT is a fine part of CREATE FUNCTION.
            return None if refused.rule == "not-supported" and not top_level else refused
        case LabelEdit() as edit:
            if not top_level:
                return refusal.label_not_editable(statement.place)
            statement.edits.append(edit)
        case ValueEdit() as lowered:
            statement.edits.append(lowered)
        case None:
            pass
    return None
