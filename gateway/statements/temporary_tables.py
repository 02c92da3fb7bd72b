"""Temporary tables in read-only sessions whose grant adds them: what may be made, filled and dropped.

PostgreSQL lets a READ ONLY transaction change the rows of temporary tables, and refuses the rest: so CREATE, DROP, TRUNCATE and
CREATE INDEX need a transaction that may write (`lifts`). Each table that is written to is named with its schema before the
server sees it (pg_temp.x): the name then means a temporary table, or nothing. Names that hide something are refused, since a
temporary table comes first wherever its name stands.
"""

from dataclasses import replace
from typing import Final

from gateway.quoting import quoted
from gateway.statements import refusal
from gateway.statements.catalogue import BUILT_IN_TYPES
from gateway.statements.parse import Fields, Json, location, strings
from gateway.statements.readonly import Exceptions, Statement
from gateway.statements.refusal import Refusal
from gateway.statements.temporary_definition import FORMS, first_of, form, is_temporary, judge_element, option, storage
from gateway.statements.temporary_writes import CHANGES, RULES, TEMPORARY_SCHEMA, target
from gateway.statements.verdict import ValueEdit
from gateway.statements.words import statement_words

_OPERATOR_CLASSES: Final = frozenset({"text_pattern_ops", "varchar_pattern_ops", "bpchar_pattern_ops"})


def _create(statement: Statement) -> Refusal | None:
    node = statement.raw.node
    if not is_temporary(node.get("relation")):
        return _permanent(statement)
    extra = first_of(node, {"relation", "tableElts", "oncommit", "if_not_exists", "options", "accessMethod"})
    found = (
        _making(statement, node.get("relation"), node.get("oncommit"))
        or (form(FORMS.get(extra, extra), statement.place) if extra else None)
        or storage(node.get("options"), node.get("accessMethod"), statement.place)
    )
    elements = node.get("tableElts")
    for item in elements if isinstance(elements, list) else ():
        found = found or judge_element(item, statement)
    if found is None and statement.walk.closed:
        found = refusal.closed_column(sorted(statement.walk.closed)[0], statement.place)
    return found


def _create_as(statement: Statement) -> Refusal | None:
    node = statement.raw.node
    into, query = node.get("into"), node.get("query")
    if not isinstance(into, dict) or not is_temporary(into.get("rel")) or node.get("objtype") != "OBJECT_TABLE":
        return _permanent(statement)
    if not isinstance(query, dict) or query.keys() != {"SelectStmt"}:
        return form("AS EXECUTE", statement.place)
    if extra := first_of(node, {"into", "query", "objtype", "if_not_exists"}):
        return refusal.unknown_syntax(extra, statement.place)
    return _into(statement, into) or _carry(statement, query["SelectStmt"])


def _select(statement: Statement) -> Refusal | None:
    select, into = _without_into(statement.raw.node)
    if into is None:
        return _carry(statement, select) if _writes(select) else statement.plain()
    if statement.nested or not is_temporary(into.get("rel")):
        return statement.plain()
    return _into(statement, into) or _carry(statement, select)


def _writes(select: Json) -> bool:
    """Whether a SELECT has INSERT, UPDATE ... in its outermost WITH (the only place that the grammar and the server allow)."""
    clause = select.get("withClause") if isinstance(select, dict) else None
    ctes = clause.get("ctes") if isinstance(clause, dict) else None
    for item in ctes if isinstance(ctes, list) else ():
        expression = item.get("CommonTableExpr") if isinstance(item, dict) else None
        query = expression.get("ctequery") if isinstance(expression, dict) else None
        if isinstance(query, dict) and "SelectStmt" not in query:
            return True
    return False


def _change(statement: Statement) -> Refusal | None:
    """INSERT, UPDATE, DELETE, MERGE."""
    return _carry(statement, {statement.raw.tag: statement.raw.node})


def _carry(statement: Statement, root: Json) -> Refusal | None:
    """A query whose values go into a temporary table: the read-only walk, and no column of a closed type at all."""
    walk = statement.walk
    walk.keeps = True
    openings = walk.listed.openings
    found = (openings.casts.everywhere or openings.casts.assigning) if openings is not None else None
    # Changes stand where the mode is not lifted only: there the server has its own no.
    rules = None if statement.temporary is None or statement.temporary.lifts else RULES
    found = found or walk.run(root, rules)
    return replace(found, offset=statement.place) if found is not None and found.offset is None else found


def _drop(statement: Statement) -> Refusal | None:
    """Said anew, with the schema: DROP TABLE x could mean another table by the time it runs."""
    node, noted = statement.raw.node, statement.temporary
    objects = node.get("objects")
    kind = node.get("removeType")
    if kind not in ("OBJECT_TABLE", "OBJECT_INDEX") or noted is None or not isinstance(objects, list):
        return _permanent(statement)
    names = [_qualified(item) for item in objects]
    if not all(len(name) == 1 or (len(name) == 2 and name[0] == TEMPORARY_SCHEMA) for name in names):
        return _permanent(statement)
    statement.walk.tables.update(f"{TEMPORARY_SCHEMA}.{name[-1]}" for name in names)
    if kind == "OBJECT_TABLE" and not node.get("missing_ok"):
        noted.used.extend(name[0] for name in names if len(name) == 1)
    noted.lifts = True
    # Nothing outside of the session can depend on them: without CASCADE.
    listed = ", ".join(f"{TEMPORARY_SCHEMA}.{quoted(name[-1])}" for name in names)
    exists = "IF EXISTS " if node.get("missing_ok") else ""
    word = "TABLE" if kind == "OBJECT_TABLE" else "INDEX"
    statement.edits.append(ValueEdit(statement.place, statement.raw.end, f"DROP {word} {exists}{listed}"))
    return None


def _index(statement: Statement) -> Refusal | None:
    node = statement.raw.node
    known = {"idxname", "relation", "accessMethod", "indexParams", "indexIncludingParams", "whereClause", "unique", "options"}
    extra = first_of(node, known | {"if_not_exists", "nulls_not_distinct"})
    if extra:
        return form(FORMS.get(extra, extra), statement.place)
    if node.get("accessMethod", "btree") not in ("btree", "hash"):
        return form(f"an index of method {node.get('accessMethod')}", statement.place)
    found = target(statement.walk, node.get("relation")) or storage(node.get("options"), None, statement.place)
    parts = [node.get("indexParams"), node.get("indexIncludingParams")]
    for item in [each for part in parts if isinstance(part, list) for each in part]:
        element = item.get("IndexElem") if isinstance(item, dict) else None
        if not isinstance(element, dict) or not _is_plain_class(element):
            found = found or form("an operator class by name", statement.place)
    walk = statement.walk
    found = found or walk.run(node.get("whereClause")) or walk.run(parts, RULES)
    if statement.temporary is not None:
        statement.temporary.lifts = True
    return found


def _is_plain_class(element: Fields) -> bool:
    names = strings(element.get("opclass"))
    return "opclassopts" not in element and (not names or (len(names) == 1 and names[0] in _OPERATOR_CLASSES))


def _truncate(statement: Statement) -> Refusal | None:
    node = statement.raw.node
    if node.get("behavior") == "DROP_CASCADE":
        return form("CASCADE", statement.place)
    if statement.temporary is not None:
        statement.temporary.lifts = True
    return _targets(statement, node.get("relations"), "RangeVar")


def _analyze(statement: Statement) -> Refusal | None:
    node = statement.raw.node
    options, relations = node.get("options"), node.get("rels")
    names = [option(item) for item in options] if isinstance(options, list) else []
    if node.get("is_vacuumcmd") or not isinstance(relations, list) or set(names) - {"verbose"}:
        return _permanent(statement)
    return _targets(statement, relations, "VacuumRelation")


def _targets(statement: Statement, items: Json, tag: str) -> Refusal | None:
    for item in items if isinstance(items, list) else ():
        inner = item.get(tag) if isinstance(item, dict) else None
        relation = inner.get("relation") if tag == "VacuumRelation" and isinstance(inner, dict) else inner
        found = target(statement.walk, relation)
        if found is not None:
            return found
    return None


def _copy(statement: Statement) -> Refusal | None:
    node = statement.raw.node
    if not node.get("is_from") or node.get("filename") is not None or node.get("is_program"):
        return statement.plain()
    openings = statement.walk.listed.openings
    found = (openings.casts.everywhere or openings.casts.assigning) if openings is not None else None
    return found or target(statement.walk, node.get("relation")) or statement.walk.run(node.get("whereClause"))


EXCEPTIONS: Final = Exceptions(
    {
        "CreateStmt": _create,
        "CreateTableAsStmt": _create_as,
        "SelectStmt": _select,
        "DropStmt": _drop,
        "IndexStmt": _index,
        "TruncateStmt": _truncate,
        "VacuumStmt": _analyze,
        "CopyStmt": _copy,
        **dict.fromkeys(sorted(CHANGES), _change),
    },
    CHANGES,
)
"""What a read-only session may do besides reading."""


def _permanent(statement: Statement) -> Refusal:
    what = statement_words(statement.raw.tag, statement.raw.node).upper()
    return refusal.beyond_temporary(what, statement.place)


def _making(statement: Statement, relation: Json, on_commit: Json) -> Refusal | None:
    """Note the table that is made. Refused: a name that would hide what already has it."""
    fields: Fields = relation if isinstance(relation, dict) else {}
    name, walk, noted = str(fields.get("relname", "")), statement.walk, statement.temporary
    walk.tables.add(f"{TEMPORARY_SCHEMA}.{name}")
    openings = walk.listed.openings
    if name.startswith(("pg_", "_")) or name in BUILT_IN_TYPES:
        return refusal.hiding_name(name, "a name of PostgreSQL's own", location(fields))
    if openings is not None:
        for each in openings.catalog.types.get(name, ()):
            if each.schema in openings.schemas:
                return refusal.hiding_name(name, f"{each.schema}.{name}", location(fields))
    if noted is not None:
        noted.lifts = True
        if on_commit != "ONCOMMIT_DROP":  # gone again when its own transaction ends
            noted.made.append(name)
    return None


def _into(statement: Statement, into: Fields) -> Refusal | None:
    extra = first_of(into, {"rel", "colNames", "options", "onCommit", "skipData", "accessMethod"})
    return (
        _making(statement, into.get("rel"), into.get("onCommit"))
        or (form(FORMS.get(extra, extra), statement.place) if extra else None)
        or storage(into.get("options"), into.get("accessMethod"), statement.place)
    )


def _without_into(select: Fields) -> tuple[Fields, Fields | None]:
    """The query of SELECT ... INTO, and its INTO. Of a UNION and its kin it stands in the first one."""
    path = [select]
    while isinstance(first := path[-1].get("larg"), dict):
        path.append(first)
    into = path[-1].get("intoClause")
    if not isinstance(into, dict):
        return select, None
    kept: Fields = {name: value for name, value in path.pop().items() if name != "intoClause"}
    for outer in reversed(path):
        kept = {**outer, "larg": kept}
    return kept, into


def _qualified(item: Json) -> tuple[str, ...]:
    inner = item.get("List") if isinstance(item, dict) else None
    return strings(inner.get("items")) if isinstance(inner, dict) else ()
