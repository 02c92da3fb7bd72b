"""The walk's rules for INSERT, UPDATE, DELETE and MERGE on temporary tables: only in sessions whose grant adds those.

Each node says which of its fields hold nodes and which plain values; any other field is refused, as everywhere in the walk.
"""

from dataclasses import dataclass, field
from typing import Final

from gateway.statements import refusal
from gateway.statements.parse import Fields, Json, location
from gateway.statements.refusal import Refusal
from gateway.statements.verdict import ValueEdit
from gateway.statements.walk import Walk
from gateway.statements.walk_rules import Push, Rule, with_rules

TEMPORARY_SCHEMA: Final = "pg_temp"
CHANGES: Final = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})


def target(walk: Walk, relation: Json) -> Refusal | None:
    """The table that is written to: named with its schema, or a name that the session must have made and that gets it."""
    if not isinstance(relation, dict):
        return refusal.unknown_syntax("relation", None)
    name, schema, offset = str(relation.get("relname", "")), relation.get("schemaname"), location(relation)
    walk.tables.add(f"{schema or TEMPORARY_SCHEMA}.{name}")
    if "catalogname" in relation or schema not in (None, TEMPORARY_SCHEMA) or offset is None:
        return refusal.beyond_temporary(f"writing to {schema or TEMPORARY_SCHEMA}.{name}", offset)
    if schema is None:
        walk.written.append(name)
        walk.edits.append(ValueEdit(offset, offset, f"{TEMPORARY_SCHEMA}."))
    return None


@dataclass(frozen=True, slots=True)
class _Shape:
    """The fields of a node."""

    nested: frozenset[str]
    plain: frozenset[str] = field(default_factory=frozenset)
    writes: bool = False

    def rule(self, walk: Walk, value: Json, push: Push) -> Refusal | None:
        if not isinstance(value, dict):
            return refusal.unknown_syntax("node", None)
        for name, inner in value.items():
            if name == "relation" and self.writes:
                found = target(walk, inner)
                if found is not None:
                    return found
                push(_alias(inner))
            elif name in self.nested and name in _STRUCTS:
                found = SHAPES[_STRUCTS[name]](walk, inner, push)
                if found is not None:
                    return found
            elif name in self.nested:
                push(inner)
            elif name not in self.plain:
                return refusal.unknown_syntax(name, None)
        return None


def _alias(relation: Json) -> Json:
    fields: Fields = relation if isinstance(relation, dict) else {}
    return {"alias": fields["alias"]} if "alias" in fields else None


def _shape(nested: str, plain: str = "", *, writes: bool = False) -> Rule:
    return _Shape(frozenset(nested.split()), frozenset(plain.split()), writes).rule


SHAPES: Final[dict[str, Rule]] = {
    "InsertStmt": _shape("cols selectStmt onConflictClause returningClause returningList withClause", "override", writes=True),
    "UpdateStmt": _shape("targetList whereClause fromClause returningClause returningList withClause", writes=True),
    "DeleteStmt": _shape("usingClause whereClause returningClause returningList withClause", writes=True),
    "MergeStmt": _shape("sourceRelation joinCondition mergeWhenClauses returningClause returningList withClause", writes=True),
    "MergeWhenClause": _shape("condition targetList values", "matchKind commandType override"),
    "OnConflictClause": _shape("infer targetList whereClause", "action location"),
    "InferClause": _shape("indexElems whereClause", "conname location"),
    "IndexElem": _shape("expr", "name indexcolname collation opclass ordering nulls_ordering"),
    "ReturningClause": _shape("options exprs"),
    "ReturningOption": _shape("", "option value location"),
    "MultiAssignRef": _shape("source", "colno ncolumns"),
    "SetToDefault": _shape("", "location"),
    "CurrentOfExpr": _shape("", "cursor_name cursor_param cvarno"),
}
"""Node classes that the walk does not know otherwise. (OnConflictClause, InferClause and ReturningClause stand in fields only.)"""

_STRUCTS: Final = {"onConflictClause": "OnConflictClause", "infer": "InferClause", "returningClause": "ReturningClause"}

RULES: Final = with_rules(SHAPES)
"""The walk's own rules, and these."""
