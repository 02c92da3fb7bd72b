"""`t.name`: a column, or a call of name(t)? A second look at the rare reference whose name a closed function of users has, too.

A column wins over a function, so it is enough to see that everything called `t` in the statement has a column of that name.
"""

from dataclasses import dataclass, field

from gateway.statements import refusal
from gateway.statements.names import Listed
from gateway.statements.openings import Openings
from gateway.statements.parse import Fields, Json, location, string, strings, tagged_nodes
from gateway.statements.refusal import Refusal


@dataclass(slots=True)
class _Sources:
    """What stands in FROM anywhere in a statement, by the name it goes by there."""

    ranges: dict[str, list[Fields]] = field(default_factory=dict)
    queries: dict[str, list[Fields]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    ctes: dict[str, list[Fields]] = field(default_factory=dict)
    has_function: bool = False
    relied: set[str] = field(default_factory=set)


def attribute_use(
    root: Json, dotted: list[Fields], listed: Listed, openings: Openings, relied: set[str] | None = None
) -> Refusal | None:
    """The first of the references `dotted` that cannot be shown to be a column.

    To `relied` are added the relations, named without a schema, whose columns show it: each must be what the catalog says.
    """
    sources = _sources(root)
    if relied is not None:
        sources.relied = relied
    for reference in dotted:
        parts = strings(reference.get("fields"))
        name, row = parts[-1], parts[-2]
        if not sources.has_function and not openings.takes_a_row(name):
            continue  # without a function in FROM `row` stands for a row
        if not _is_column(name, row, sources, listed, openings):
            return refusal.attribute_of_users(name, openings.attribute_names[name], location(reference))
    return None


def _sources(root: Json) -> _Sources:
    found = _Sources()
    for tag, value in tagged_nodes(root):
        _note(tag, value, found)
    return found


def _note(tag: str, value: Fields, found: _Sources) -> None:
    alias = value.get("alias")
    name = str(alias.get("aliasname", "")) if isinstance(alias, dict) else ""
    if tag == "RangeVar" or (tag == "relation" and "relname" in value):
        found.ranges.setdefault(name or str(value.get("relname", "")), []).append(value)
    elif tag == "RangeSubselect":
        found.queries.setdefault(name, []).append(value)
    elif tag == "CommonTableExpr":
        found.ctes.setdefault(str(value.get("ctename", "")), []).append(value)
    elif tag == "RangeFunction":
        found.has_function = True
        found.others.add(name)
    elif tag == "FuncCall":
        # In FROM a function without an alias goes by its own name.
        found.others.update(strings(value.get("funcname"))[-1:])
    elif name:
        found.others.add(name)
    for other in ("join_using_alias",):
        inner = value.get(other)
        if isinstance(inner, dict):
            found.others.add(str(inner.get("aliasname", "")))


def _is_column(name: str, row: str, sources: _Sources, listed: Listed, openings: Openings) -> bool:
    ranges, queries = sources.ranges.get(row, []), sources.queries.get(row, [])
    if row in sources.others or not (ranges or queries):
        return False
    return all(_range_has(each, name, sources, listed, openings) for each in ranges) and all(
        _query_has(each.get("subquery"), each.get("alias"), name) for each in queries
    )


def _range_has(value: Fields, name: str, sources: _Sources, listed: Listed, openings: Openings) -> bool:
    alias = value.get("alias")
    if isinstance(alias, dict) and "colnames" in alias:
        return False
    relation, schema = str(value.get("relname", "")), value.get("schemaname")
    if schema is not None:
        return (str(schema), relation, name) in openings.catalog.named_columns
    ctes = sources.ctes.get(relation, [])
    if not all(
        _query_has(each.get("ctequery"), {"colnames": each["aliascolnames"]} if "aliascolnames" in each else None, name)
        for each in ctes
    ):
        return False
    # Every relation has a row type of its name: so these are the schemas that have such a relation.
    homes = {each.schema for each in openings.catalog.types.get(relation, ()) if each.kind == "c"} & listed.schemas
    if not homes and not ctes:
        homes = {"pg_catalog"}
    sources.relied.add(relation)
    return all((home, relation, name) in openings.catalog.named_columns for home in homes)


def _query_has(query: Json, alias: Json, name: str) -> bool:
    """Whether a query in FROM has an output of this name for certain."""
    if isinstance(alias, dict) and "colnames" in alias:
        return name in strings(alias["colnames"])
    select = query.get("SelectStmt") if isinstance(query, dict) else None
    while isinstance(select, dict) and "larg" in select:
        select = select["larg"]
    targets = select.get("targetList") if isinstance(select, dict) else None
    for item in targets if isinstance(targets, list) else ():
        target = item.get("ResTarget") if isinstance(item, dict) else None
        if not isinstance(target, dict):
            continue
        if "name" in target:
            if target["name"] == name:
                return True
            continue
        value = target.get("val")
        column = value.get("ColumnRef") if isinstance(value, dict) else None
        fields = column.get("fields") if isinstance(column, dict) else None
        if isinstance(fields, list) and string(fields[-1]) == name:
            return True
    return False
