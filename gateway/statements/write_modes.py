"""What a grant takes from read-write sessions: objects (no DDL), UPDATE and DELETE without WHERE, more rows than a ceiling.

Deny by default: without DDL a statement class that is not in the table here is refused, also one that stands inside another.
These rules are guards, not walls: bodies of functions and rules are not looked into, so what really keeps a session from DDL is
its role.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gateway.statements import refusal
from gateway.statements.catalogue import REFUSED_FUNCTIONS
from gateway.statements.literals import Wording
from gateway.statements.parse import Fields, Json, location, strings
from gateway.statements.refusal import Refusal
from gateway.statements.words import statement_words

TEMPORARY_SCHEMA: Final = "pg_temp"
_CHANGES: Final = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
_WITHOUT_FILTER: Final = re.compile(rb"update|delete|truncate", re.I)
#: Their inside runs when somebody else calls it, not now.
_KEPT: Final = frozenset({"CreateFunctionStmt", "RuleStmt"})


@dataclass(frozen=True, slots=True)
class WriteRules:
    """What of a policy these rules need. `max_rows` None: no ceiling. `may_truncate`: TRUNCATE is asked for by name elsewhere."""

    allows_ddl: bool
    needs_where: bool
    max_rows: int | None
    may_truncate: bool = False


def judge_writes(tag: str, node: Fields, wording: Wording, rules: WriteRules, *, alone: bool) -> tuple[Refusal | None, bool]:
    """The first refusal, and whether the statement may change rows that its command tag counts.

    `wording` is that of the whole text, `alone`: this is the only statement in it.
    """
    found = None if rules.allows_ddl else _ddl({tag: node})
    if found is None and rules.needs_where and wording.may_say(_WITHOUT_FILTER):
        found = _unfiltered({tag: node}, wording, may_truncate=rules.may_truncate)
    counted = _counted(tag, node)
    if found is None and rules.max_rows is not None:
        found = _uncounted(tag, node, counted, wording, alone=alone)
    return found, counted is not None


def _nodes(root: Json, skips: Callable[[str, Fields], bool] | None = None) -> Iterator[tuple[str, Fields]]:
    """Every node and struct below `root`, by its class or the name of its field, but not what is kept for later.

    Of a node that `skips` is true of, nothing below it.
    """
    stack: list[Json] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            for tag, value in node.items():
                if isinstance(value, dict):
                    yield tag, value
                    if skips is not None and skips(tag, value):
                        continue
                if tag not in _KEPT:
                    stack.append(value)


def _place(tag: str, node: Fields) -> int | None:
    """Where the relation stands that a statement is about, or the node itself."""
    relation = node.get("relation")
    if isinstance(relation, dict):
        return location(relation)
    relations = node.get("relations")
    first = relations[0] if isinstance(relations, list) and relations else None
    inner = first.get("RangeVar") if isinstance(first, dict) else None
    if isinstance(inner, dict):
        return location(inner)
    return location(node) if tag == "FuncCall" else None


# No DDL


def _ddl(root: Json) -> Refusal | None:
    for tag, node in _nodes(root):
        if tag.endswith("Stmt") and tag[:1].isupper():
            if is_beyond_rows(tag, node):
                return refusal.ddl_not_granted(statement_words(tag, node).upper(), _place(tag, node), tag)
        elif tag == "intoClause" and not _is_temporary(node.get("rel")):
            return refusal.ddl_not_granted("SELECT INTO", None, tag)
        elif tag == "FuncCall" and _runs_text(node):
            return refusal.ddl_not_granted(f"function {strings(node.get('funcname'))[-1]}", _place(tag, node), tag)
    return None


def is_beyond_rows(tag: str, node: Fields) -> bool:
    """Whether a statement of this class may do more than read and change rows: make objects that stay, or run what is not seen."""
    allows = _WITHOUT_DDL.get(tag, _never)
    return allows is not None and not allows(node)


def _never(_node: Fields) -> bool:
    return False


def _is_temporary(relation: Json) -> bool:
    return isinstance(relation, dict) and (
        relation.get("relpersistence") == "t" or relation.get("schemaname") == TEMPORARY_SCHEMA
    )


def _makes_temporary(node: Fields) -> bool:
    """INHERITS and PARTITION OF would mark the parent."""
    return _is_temporary(node.get("relation")) and "inhRelations" not in node and "partbound" not in node


def _fills_temporary(node: Fields) -> bool:
    into = node.get("into")
    return isinstance(into, dict) and _is_temporary(into.get("rel")) and node.get("objtype") == "OBJECT_TABLE"


def _drops_temporary(node: Fields) -> bool:
    objects = node.get("objects")
    names = [_qualified(item) for item in objects] if isinstance(objects, list) else []
    return (
        node.get("removeType") in ("OBJECT_TABLE", "OBJECT_INDEX", "OBJECT_SEQUENCE", "OBJECT_VIEW")
        and bool(names)
        and all(len(name) == 2 and name[0] == TEMPORARY_SCHEMA for name in names)
    )


def _qualified(item: Json) -> tuple[str, ...]:
    inner = item.get("List") if isinstance(item, dict) else None
    return strings(inner.get("items")) if isinstance(inner, dict) else ()


def _indexes_temporary(node: Fields) -> bool:
    return _is_temporary(node.get("relation"))


#: Statement classes of a session without DDL; None: whatever its form. What is inside is looked at by itself.
_WITHOUT_DDL: Final[dict[str, Callable[[Fields], bool] | None]] = {
    **dict.fromkeys(("SelectStmt", *sorted(_CHANGES), "TruncateStmt", "CopyStmt"), None),
    **dict.fromkeys(("ExplainStmt", "PrepareStmt", "ExecuteStmt", "DeallocateStmt"), None),
    **dict.fromkeys(("DeclareCursorStmt", "FetchStmt", "ClosePortalStmt"), None),
    **dict.fromkeys(("TransactionStmt", "ConstraintsSetStmt", "LockStmt"), None),
    **dict.fromkeys(("VariableSetStmt", "VariableShowStmt", "DiscardStmt"), None),
    **dict.fromkeys(("ListenStmt", "UnlistenStmt", "NotifyStmt", "VacuumStmt"), None),
    "CreateStmt": _makes_temporary,
    "CreateTableAsStmt": _fills_temporary,
    "DropStmt": _drops_temporary,
    "IndexStmt": _indexes_temporary,
}


def _runs_text(node: Fields) -> bool:
    """A function of PostgreSQL that runs SQL given to it as text."""
    parts = strings(node.get("funcname"))
    return bool(parts) and REFUSED_FUNCTIONS.get(parts[-1]) == "text"


# WHERE


def _executed(root: Json, wording: Wording) -> Iterator[tuple[str, Fields]]:
    """The nodes that run when the statement does: not those of a plain EXPLAIN."""
    return _nodes(root, lambda tag, node: tag == "ExplainStmt" and not analyzes(node, wording))


def analyzes(explain: Fields, wording: Wording) -> bool:
    """Whether it is an EXPLAIN that runs what it explains."""
    options = explain.get("options")
    for option in options if isinstance(options, list) else ():
        element = option.get("DefElem") if isinstance(option, dict) else None
        if isinstance(element, dict) and element.get("defname") == "analyze" and not wording.is_false(element.get("arg")):
            return True
    return False


def _unfiltered(root: Json, wording: Wording, *, may_truncate: bool) -> Refusal | None:
    for tag, node in _executed(root, wording):
        if tag in ("UpdateStmt", "DeleteStmt") and "whereClause" not in node:
            return refusal.where_missing(statement_words(tag, node).upper(), _place(tag, node), tag)
        if tag == "TruncateStmt" and not may_truncate:
            return refusal.truncates_all(_place(tag, node))
    return None


# The ceiling


def _counted(tag: str, node: Fields) -> Fields | None:
    """The node whose rows the command tag counts; None: no rows are changed by the statement itself."""
    if tag in _CHANGES or tag == "ExecuteStmt":
        return node
    query = node.get("query") if tag == "PrepareStmt" else None
    if isinstance(query, dict):
        for inner, fields in query.items():
            if inner in _CHANGES and isinstance(fields, dict):
                return fields
    return None


def _uncounted(tag: str, node: Fields, counted: Fields | None, wording: Wording, *, alone: bool) -> Refusal | None:
    if counted is not None and tag != "PrepareStmt" and not alone:
        return refusal.row_ceiling_uncounted(
            f"{statement_words(tag, node).upper()} beside other statements in one text", "Send it by itself.", None, tag
        )
    for inner, fields in _executed({tag: node}, wording):
        what = _why_uncounted(inner, fields, counted, wording)
        if what:
            return refusal.row_ceiling_uncounted(what, _COUNTED_ALONE, _place(inner, fields), inner)
    return None


_COUNTED_ALONE: Final = "Write it as one plain INSERT, UPDATE, DELETE or MERGE, whose rows are counted."


def _why_uncounted(tag: str, node: Fields, counted: Fields | None, wording: Wording) -> str:
    if tag in _CHANGES and node is not counted:
        return f"{statement_words(tag, node).upper()} inside of another statement"
    match tag:
        case "DoStmt" | "CallStmt" | "TruncateStmt":
            return statement_words(tag, node).upper()
        case "CopyStmt" if node.get("is_from"):
            return "COPY ... FROM"
        case "ExplainStmt" if analyzes(node, wording):
            query = node.get("query")
            return "EXPLAIN ANALYZE EXECUTE" if isinstance(query, dict) and "ExecuteStmt" in query else ""
        case "FuncCall" if _runs_text(node):
            return f"function {strings(node.get('funcname'))[-1]}, which runs a text,"
        case _:
            return ""
