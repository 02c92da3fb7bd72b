"""How a temporary table of a read-only session may be defined: columns of open types, and nothing that reaches beyond it.

Types, defaults, conditions and generated columns are judged like expressions of a query: they run when rows are put in.
"""

from typing import Final

from gateway.statements import refusal
from gateway.statements.parse import Fields, Json, location, string
from gateway.statements.readonly import Statement
from gateway.statements.refusal import Refusal
from gateway.statements.temporary_writes import TEMPORARY_SCHEMA
from gateway.statements.walk import Walk

_SERIALS: Final = frozenset({"smallserial", "serial2", "serial", "serial4", "bigserial", "serial8"})
_STORAGE: Final = frozenset({"fillfactor", "autovacuum_enabled", "oids"})
_SEQUENCE: Final = frozenset({"start", "increment", "minvalue", "maxvalue", "cache", "cycle"})
_CONSTRAINTS: Final = frozenset(
    f"CONSTR_{kind}"
    for kind in (
        *("NULL", "NOTNULL", "DEFAULT", "IDENTITY", "GENERATED", "CHECK", "PRIMARY", "UNIQUE"),
        *("ATTR_DEFERRABLE", "ATTR_NOT_DEFERRABLE", "ATTR_DEFERRED", "ATTR_IMMEDIATE"),
    )
)
_CONSTRAINT_FIELDS: Final = frozenset(
    {
        *("contype", "conname", "location", "keys", "including", "is_no_inherit", "is_enforced", "initially_valid"),
        *("skip_validation", "deferrable", "initdeferred", "nulls_not_distinct", "generated_when", "generated_kind"),
        *("raw_expr", "options"),
    }
)


def is_temporary(relation: Json) -> bool:
    if not isinstance(relation, dict) or "catalogname" in relation:
        return False
    schema, kind = relation.get("schemaname"), relation.get("relpersistence")
    return (kind == "t" and schema in (None, TEMPORARY_SCHEMA)) or (kind == "p" and schema == TEMPORARY_SCHEMA)


def form(what: str, offset: int | None) -> Refusal:
    return refusal.temporary_form(what, offset)


FORMS: Final = {
    "inhRelations": "INHERITS or PARTITION OF",
    "partbound": "PARTITION OF",
    "partspec": "PARTITION BY",
    "ofTypename": "OF a type",
    "tablespacename": "TABLESPACE",
    "tableSpaceName": "TABLESPACE",
    "tableSpace": "TABLESPACE",
    "indexspace": "USING INDEX TABLESPACE",
    "concurrent": "CONCURRENTLY",
}


def first_of(node: Fields, known: set[str]) -> str:
    """A field of the node beyond those known; "" when there is none."""
    return next((name for name in node if name not in known), "")


def storage(options: Json, method: Json, offset: int | None) -> Refusal | None:
    names = [option(item) for item in options] if isinstance(options, list) else []
    for name in names:
        if name not in _STORAGE:
            return form(f"WITH ({name or '...'})", offset)
    return form(f"USING {method}", offset) if method not in (None, "heap") else None


def option(item: Json) -> str:
    """The name of a DefElem that names no other schema."""
    element = item.get("DefElem") if isinstance(item, dict) else None
    return str(element.get("defname", "")) if isinstance(element, dict) and "defnamespace" not in element else ""


def judge_element(element: Json, statement: Statement) -> Refusal | None:
    ((tag, node),) = element.items() if isinstance(element, dict) and len(element) == 1 else (("element", None),)
    if not isinstance(node, dict):
        return refusal.unknown_syntax(tag, statement.place)
    match tag:
        case "ColumnDef":
            return _column(node, statement.walk)
        case "Constraint":
            return _constraint(node, statement.walk)
        case "TableLikeClause" if node.keys() <= {"relation"} and isinstance(source := node.get("relation"), dict):
            return statement.walk.relation(source)
        case "TableLikeClause":
            return form("LIKE ... INCLUDING", statement.place)
        case _:
            return refusal.unknown_syntax(tag, statement.place)


def _column(node: Fields, walk: Walk) -> Refusal | None:
    offset = location(node)
    if extra := first_of(node, {"colname", "typeName", "is_local", "constraints", "collClause", "location", "compression"}):
        return form(extra, offset)
    kind = node.get("typeName")
    if not isinstance(kind, dict):
        return refusal.unknown_syntax("ColumnDef", offset)
    found = None
    if not (kind.keys() <= {"names", "typemod", "location"} and _is_serial(kind.get("names"))):
        found = walk.run({"typeName": kind})
    constraints = node.get("constraints")
    for item in constraints if isinstance(constraints, list) else ():
        constraint = item.get("Constraint") if isinstance(item, dict) else None
        if not isinstance(constraint, dict):
            return refusal.unknown_syntax("Constraint", offset)
        found = found or _constraint(constraint, walk)
    return found or walk.run(node.get("collClause"))


def _is_serial(names: Json) -> bool:
    return isinstance(names, list) and len(names) == 1 and string(names[0]) in _SERIALS


def _constraint(node: Fields, walk: Walk) -> Refusal | None:
    offset = location(node)
    kind = str(node.get("contype", ""))
    if kind not in _CONSTRAINTS:
        return form(_KINDS.get(kind, "this kind of constraint"), offset)
    if extra := first_of(node, set(_CONSTRAINT_FIELDS)):
        return form(FORMS.get(extra, extra), offset)
    options = node.get("options")
    names = {option(item) for item in options} if isinstance(options, list) else set()
    if names - (_SEQUENCE if kind == "CONSTR_IDENTITY" else frozenset()):
        return form("this option of a constraint", offset)
    openings = walk.listed.openings
    assigned = openings.casts.assigning if openings is not None and "raw_expr" in node else None
    return assigned or walk.run(node.get("raw_expr"))


_KINDS: Final = {"CONSTR_FOREIGN": "a foreign key", "CONSTR_EXCLUSION": "EXCLUDE"}
