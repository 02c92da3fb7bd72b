"""Columns with secrets in system relations: a second look at the rare statement that names such a relation.

Coarse on purpose: whatever could show a secret column of a relation named anywhere in the statement is a hit - the column by
name, a star, a whole row, renamed columns, a natural join. Columns named one by one pass.
"""

from gateway.statements import refusal
from gateway.statements.catalogue import OPEN_COLUMNS, SECRET_COLUMNS
from gateway.statements.parse import Fields, Json, location, string, strings, tagged_nodes
from gateway.statements.refusal import Refusal


def secret_use(root: Json, relations: frozenset[str]) -> Refusal | None:
    """The first use of a secret below `root`; `relations` are those of SECRET_COLUMNS that it names."""
    nodes = _nodes(root)
    rows = _row_names(nodes, relations)
    secret = frozenset().union(*(SECRET_COLUMNS[name] for name in relations))
    shown = sorted(relations)[0]
    for tag, value in nodes:
        if tag == "ColumnRef":
            hit = _column_hit(value, rows, secret)
        elif tag == "String":
            hit = string({tag: value}) in secret
        elif tag == "RangeVar":
            alias = value.get("alias")
            hit = value.get("relname") in relations and isinstance(alias, dict) and "colnames" in alias
        elif tag == "JoinExpr":
            alias = value.get("alias")
            hit = bool(value.get("isNatural")) or (isinstance(alias, dict) and "colnames" in alias)
        else:
            hit = False
        if hit:
            return refusal.secret_column(shown, location(value) if "location" in value else None)
    return None


def _nodes(root: Json) -> list[tuple[str, Fields]]:
    """A field that holds a relation counts as one."""
    return [(tag if tag != "relation" or "relname" not in node else "RangeVar", node) for tag, node in tagged_nodes(root)]


def _row_names(nodes: list[tuple[str, Fields]], relations: frozenset[str]) -> dict[str, frozenset[str]]:
    """Names that stand for a whole row with secrets in it, and the columns that may be taken from each."""
    rows: dict[str, frozenset[str]] = {}
    for tag, value in nodes:
        alias = value.get("alias")
        aliased = str(alias.get("aliasname", "")) if isinstance(alias, dict) else ""
        if tag == "RangeVar" and (name := str(value.get("relname", ""))) in relations:
            rows[aliased or name] = OPEN_COLUMNS[name]
            rows.setdefault(name, OPEN_COLUMNS[name])
        elif tag == "JoinExpr" and aliased:
            rows[aliased] = frozenset().union(*(OPEN_COLUMNS[name] for name in relations))
    return rows


def _column_hit(value: Fields, rows: dict[str, frozenset[str]], secret: frozenset[str]) -> bool:
    fields = value.get("fields")
    if not isinstance(fields, list) or not fields:
        return True
    last = fields[-1]
    if isinstance(last, dict) and "A_Star" in last:
        return len(fields) == 1 or string(fields[-2]) in rows
    parts = strings(fields)
    if parts[-1] in secret or parts[-1] in rows:
        return True
    # `row.name` with no such column is a call of name(row), which sees the whole row.
    return len(parts) > 1 and parts[-2] in rows and parts[-1] not in rows[parts[-2]]
