"""Columns of types that are not open: a second look at the rare statement that names a relation with such a column.

Showing a value as it is runs nothing of users' (the output function of a type is C code of the server's owner), and neither does
taking a field of it. Whatever else is done with it could: so the column may stand as it is in a list of output columns, or as
(column).field, and nowhere else. Coarse on purpose, by name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.statements import refusal
from gateway.statements.parse import Fields, Json, location, string, strings, tagged_nodes
from gateway.statements.refusal import Refusal

_MAX_ROUNDS = 8


@dataclass(slots=True)
class _Statement:
    """`bare`: ids of the ColumnRef nodes that stand as they are in a list of output columns, `idle`: of those in x IS NULL and
    count(x), which look at no value, and in (x).field. `rows`: what stands for a row that may have such a column. `tables`: (name,
    relation). `taken`: columns in (x).name, with the names.
    """

    closed: set[str]
    relations: frozenset[str]
    columns: list[Fields] = field(default_factory=list)
    selects: list[Fields] = field(default_factory=list)
    compared: list[Fields] = field(default_factory=list)
    rows: set[str] = field(default_factory=set)
    bare: set[int] = field(default_factory=set)
    idle: set[int] = field(default_factory=set)
    tables: list[tuple[str, str]] = field(default_factory=list)
    ctes: set[str] = field(default_factory=set)
    joined: list[Fields] = field(default_factory=list)
    taken: list[tuple[Fields, tuple[str, ...]]] = field(default_factory=list)
    renames: bool = False
    merges: bool = False


def closed_use(
    root: Json, closed: dict[str, frozenset[str]], is_field: Callable[[str], bool], *, shows: bool = True
) -> Refusal | None:
    """The first use below `root` of a closed column that is more than showing it. `closed`: relations and their closed columns.

    `is_field`: whether (x).name can be nothing but a field, whose value may be used freely. `shows`: the output goes to the
    client, not into a table.
    """
    statement = _Statement(set().union(*closed.values()), frozenset(closed))
    _read(root, statement)
    statement.rows.update(name for name, table in statement.tables if table in statement.relations or table in statement.ctes)
    _follow_names(statement)
    if not statement.renames:
        for column, names in statement.taken:
            if all(name and name not in statement.closed and is_field(name) for name in names):
                statement.idle.add(id(column))
    statement.columns = [column for column in statement.columns if id(column) not in statement.idle]
    shown = sorted(statement.closed)[0]
    for join in statement.joined:
        if join.get("isNatural") or not statement.closed.isdisjoint(strings(join.get("usingClause"))):
            return refusal.closed_column(shown, None)
    for column in statement.columns:
        if (not shows or id(column) not in statement.bare) and _is_closed(column, statement):
            return refusal.closed_column(string(_last(column)) or shown, location(column))
    carried = [column for column in statement.columns if _is_closed(column, statement)]
    if carried and (statement.merges or statement.renames):
        return refusal.closed_column(shown, location(carried[0]))
    for select in statement.compared:
        for column in _bare_columns(select):
            if _is_closed(column, statement):
                return refusal.closed_column(shown, location(column))
    return None


def _read(root: Json, statement: _Statement) -> None:
    for tag, value in tagged_nodes(root):
        _note(tag, value, statement)


def _note(tag: str, value: Fields, statement: _Statement) -> None:
    match tag:
        case "ColumnRef":
            statement.columns.append(value)
        case "SelectStmt" | "larg" | "rarg":
            statement.selects.append(value)
            statement.bare.update(map(id, _bare_columns(value)))
            merges = "distinctClause" in value or (value.get("op", "SETOP_NONE") != "SETOP_NONE" and not _only_appends(value))
            statement.merges = statement.merges or merges or _has_ordinal(value)
        case "SubLink" if value.get("subLinkType") != "EXISTS_SUBLINK":
            inner = value.get("subselect")
            select = inner.get("SelectStmt") if isinstance(inner, dict) else None
            statement.compared.extend(_arms(select))
        case "A_Indirection":
            names = strings(value.get("indirection"))  # "" for a star or an index
            statement.taken.extend((column, names) for column in _columns([value.get("arg")]))
        case "NullTest":
            statement.idle.update(map(id, _columns([value.get("arg")])))
        case "FuncCall" if strings(value.get("funcname"))[-1:] == ("count",) and not value.get("agg_distinct"):
            arguments = value.get("args")
            statement.idle.update(map(id, _columns(arguments if isinstance(arguments, list) else [])))
        case "JoinExpr":
            statement.joined.append(value)
        case "CommonTableExpr":
            statement.ctes.add(str(value.get("ctename", "")))
            _rename(value.get("aliascolnames"), statement)
    _note_alias(tag, value, statement)


def _note_alias(tag: str, value: Fields, statement: _Statement) -> None:
    alias = value.get("alias")
    name = str(alias.get("aliasname", "")) if isinstance(alias, dict) else ""
    if tag == "RangeVar" or (tag == "relation" and "relname" in value):
        table = str(value.get("relname", ""))
        statement.tables.append((name or table, table))
    elif name and tag != "RangeFunction":
        statement.rows.add(name)
    if isinstance(alias, dict) and tag != "RangeFunction":
        _rename(alias.get("colnames"), statement)


def _rename(names: Json, statement: _Statement) -> None:
    """A list of new names for columns: any of them may be a closed one's."""
    if names:
        statement.closed.update(strings(names))
        statement.renames = True


def _arms(select: Json) -> list[Fields]:
    """The plain selects of a query with UNION and its kin."""
    found: list[Fields] = []
    stack = [select]
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            if "larg" in each:
                stack += [each["larg"], each.get("rarg")]
            else:
                found.append(each)
    return found


def _only_appends(select: Fields) -> bool:
    """UNION ALL of columns that keep their names. (The first arm names the output, whatever the others put under it.)"""
    if select.get("op") != "SETOP_UNION" or not select.get("all"):
        return False
    lists = [_own_names(arm) for arm in _arms(select)]
    return None not in lists and len(set(lists)) == 1


def _own_names(select: Fields) -> tuple[str, ...] | None:
    """The output's names where it is nothing but columns under their own names ("*" for a star alone); else None."""
    targets = select.get("targetList")
    names = []
    for item in targets if isinstance(targets, list) else ():
        target = _dict(_dict(item).get("ResTarget"))
        last = _last(_dict(_dict(target.get("val")).get("ColumnRef")))
        name = "*" if isinstance(last, dict) and "A_Star" in last else string(last)
        if not name or target.get("name", name) != name:
            return None
        names.append(name)
    return tuple(names) or None


def _bare_columns(select: Fields) -> list[Fields]:
    targets = select.get("targetList")
    items = targets if isinstance(targets, list) else []
    return _columns([_dict(_dict(item).get("ResTarget")).get("val") for item in items])


def _columns(nodes: list[Json]) -> list[Fields]:
    """Those of the nodes that are nothing but a reference to a column."""
    found = (_dict(node).get("ColumnRef") for node in nodes)
    return [column for column in found if isinstance(column, dict)]


def _has_ordinal(select: Fields) -> bool:
    """ORDER BY 1 and GROUP BY 1 name an output without its name."""
    for clause in ("sortClause", "groupClause"):
        items = select.get(clause)
        for item in items if isinstance(items, list) else ():
            inner = item.get("SortBy", item) if isinstance(item, dict) else None
            if isinstance(inner, dict) and ("A_Const" in inner or "A_Const" in _dict(inner.get("node"))):
                return True
    return False


def _dict(value: Json) -> Fields:
    return value if isinstance(value, dict) else {}


def _follow_names(statement: _Statement) -> None:
    """An output column with another name carries the closed column on under it."""
    for _ in range(_MAX_ROUNDS):
        before = len(statement.closed)
        for select in statement.selects:
            targets = select.get("targetList")
            for item in targets if isinstance(targets, list) else ():
                target = _dict(_dict(item).get("ResTarget"))
                column = _dict(target.get("val")).get("ColumnRef")
                if "name" in target and isinstance(column, dict) and _is_closed(column, statement):
                    statement.closed.add(str(target["name"]))
        if len(statement.closed) == before:
            return
    statement.renames = True  # too far to follow


def _last(column: Fields) -> Json:
    fields = column.get("fields")
    return fields[-1] if isinstance(fields, list) and fields else None


def _is_closed(column: Fields, statement: _Statement) -> bool:
    """A closed column, a star that may hold one, or a whole row."""
    last = _last(column)
    if isinstance(last, dict) and "A_Star" in last:
        fields = column.get("fields")
        return not isinstance(fields, list) or len(fields) == 1 or string(fields[-2]) in statement.rows
    name = string(last)
    return name in statement.closed or name in statement.rows
