"""Which operations on which relations a statement is: SELECT, INSERT, UPDATE, DELETE, MERGE, TRUNCATE. Pure.

What a relation needs is what PostgreSQL would ask of its role, with two differences. A write may look at the rows of its own
target without SELECT (UPDATE ... WHERE), but not show them (RETURNING). And MERGE is an operation of its own, beside those that
its WHEN clauses are. A row lock is an UPDATE. Relations of PostgreSQL's own may be read, those that show tables' values may not;
temporary tables are the session's own.

A statement that is more than operations on rows is refused: what makes or changes objects, what runs code, functions that are
neither PostgreSQL's own and harmless nor listed for the target. What triggers, views, rules, defaults, operators and casts of the
database's owners do is their decision.
"""

from dataclasses import dataclass
from typing import Final

from gateway.statements import names, refusal
from gateway.statements.catalogue import ATTRIBUTE_FUNCTIONS, SYSTEM_RELATIONS
from gateway.statements.names import SYSTEM_SCHEMAS, Listed
from gateway.statements.only_these import DELETE, INSERT, MERGE, SELECT, TRUNCATE, UPDATE
from gateway.statements.parse import Fields, Json, location, string, strings
from gateway.statements.readonly import PLAIN_TRANSACTIONS
from gateway.statements.refusal import Refusal
from gateway.statements.relation_use import LARGE_OBJECTS, VALUES, queries_of
from gateway.statements.row_locks import locked
from gateway.statements.words import statement_words
from gateway.statements.write_modes import TEMPORARY_SCHEMA, is_beyond_rows

_WRITES: Final = {"InsertStmt": INSERT, "UpdateStmt": UPDATE, "DeleteStmt": DELETE, "MergeStmt": MERGE}
_MERGED: Final = {"CMD_INSERT": INSERT, "CMD_UPDATE": UPDATE, "CMD_DELETE": DELETE}
#: Statements whose own relations are not read; the field that holds them.
_OWN: Final = {
    **dict.fromkeys(("CopyStmt", "CreateStmt", "IndexStmt"), "relation"),
    "TruncateStmt": "relations",
    "LockStmt": "relations",
}
_INTO: Final = frozenset({"into", "intoClause"})
#: No DDL, but no operation on rows either: they reach other sessions, or the server.
_NONE_OF_THESE: Final = frozenset({"ListenStmt", "NotifyStmt", "VacuumStmt"})
_SEQUENCE_FUNCTIONS: Final = frozenset({"nextval", "currval", "lastval"})
_ACCESS_SHARE: Final = 1
_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Use:
    """`schema` None: the text does not say. `offset`: where it stands, in bytes of the UTF-8 text."""

    command: str
    schema: str | None
    name: str
    offset: int | None


class Operations:
    """Of one statement. `calls`: what is called is looked at here, by what the target lists; None: it was judged elsewhere."""

    __slots__ = ("_calls", "_place", "found")

    def __init__(self, place: int, calls: Listed | None) -> None:
        """`place`: where the statement begins."""
        self.found: list[Use] = []
        self._place = place
        self._calls = calls

    def collect(self, tag: str, node: Fields) -> Refusal | None:
        """Fill `found`. Why the statement is more than that; None: it is not."""
        stack: list[tuple[str, Json, frozenset[str]]] = [(tag, node, _NOTHING)]
        while stack:
            key, value, scope = stack.pop()
            if isinstance(value, list):
                if key == "indirection" and (called := self._attribute(value, None)) is not None:
                    return called
                stack.extend((key, item, scope) for item in value)
            elif isinstance(value, dict):
                refused = self._node(key, value)
                if refused is None and isinstance(value.get("relname"), str):
                    refused = self._use(SELECT, value, scope)
                if refused is not None:
                    return refused
                inside, queries = queries_of(value, scope) if "withClause" in value else (scope, [])
                stack.extend(queries)
                refused = self._targets(key, value, inside)
                if refused is not None:
                    return refused
                left_out = _left_out(key)
                stack.extend(
                    (name, below, inside)
                    for name, below in value.items()
                    if isinstance(below, dict | list) and name not in left_out
                )
        return None

    # -- what a statement changes --------------------------------------------------------------------------------------

    def _targets(self, key: str, value: Fields, scope: frozenset[str]) -> Refusal | None:
        if (command := _WRITES.get(key)) is not None:
            return self._write(command, value)
        if "lockingClause" in value:
            return self._row_locks(value, scope)
        match key:
            case "TruncateStmt":
                return self._each(TRUNCATE, value.get("relations"))
            case "CopyStmt" if isinstance(relation := value.get("relation"), dict):
                return self._use(INSERT if value.get("is_from") else SELECT, relation, _NOTHING)
            case "LockStmt":
                return self._each(SELECT if value.get("mode") == _ACCESS_SHARE else UPDATE, value.get("relations"))
            case _:
                return None

    def _write(self, command: str, value: Fields) -> Refusal | None:
        target = value.get("relation")
        if not isinstance(target, dict):
            return refusal.unknown_syntax("relation", self._place)
        commands = [command]
        conflict = value.get("onConflictClause")
        if isinstance(conflict, dict) and conflict.get("action") not in ("ONCONFLICT_NOTHING", "ONCONFLICT_NONE"):
            commands.append(UPDATE)
        clauses = value.get("mergeWhenClauses")
        for item in clauses if isinstance(clauses, list) else ():
            clause = item.get("MergeWhenClause") if isinstance(item, dict) else None
            action = clause.get("commandType") if isinstance(clause, dict) else None
            if action != "CMD_NOTHING":
                commands.append(_MERGED.get(str(action), DELETE))
        if value.get("returningList") or value.get("returningClause"):
            commands.append(SELECT)
        for each in dict.fromkeys(commands):
            if (refused := self._use(each, target, _NOTHING)) is not None:
                return refused
        return None

    def _each(self, command: str, relations: Json) -> Refusal | None:
        for item in relations if isinstance(relations, list) else ():
            relation = item.get("RangeVar") if isinstance(item, dict) else None
            if not isinstance(relation, dict):
                return refusal.unknown_syntax("relations", self._place)
            if (refused := self._use(command, relation, _NOTHING)) is not None:
                return refused
        return None

    def _row_locks(self, select: Fields, scope: frozenset[str]) -> Refusal | None:
        """FOR UPDATE and its kin: of the tables in FROM that it names, or of all, in sub-selects, too."""
        clauses = select.get("lockingClause")
        for item in clauses if isinstance(clauses, list) else ():
            clause = item.get("LockingClause") if isinstance(item, dict) else None
            named = clause.get("lockedRels") if isinstance(clause, dict) else None
            for relation in locked(select, named):
                if (refused := self._use(UPDATE, relation, scope)) is not None:
                    return refused
        return None

    # -- a relation ----------------------------------------------------------------------------------------------------

    def _use(self, command: str, node: Fields, scope: frozenset[str]) -> Refusal | None:
        name, schema = str(node.get("relname", "")), node.get("schemaname")
        if node.get("relpersistence") == "t" or schema == TEMPORARY_SCHEMA:
            return None
        known = isinstance(schema, str)
        if not known and name in scope:
            return None
        if command == SELECT and (schema in SYSTEM_SCHEMAS if known else name in SYSTEM_RELATIONS):
            shown = f"{schema}.{name}" if known else name
            return self._refuse(f"reading {shown}", location(node), "RangeVar") if name in VALUES else None
        self.found.append(Use(command, str(schema) if known else None, name, location(node)))
        return None

    # -- what is more --------------------------------------------------------------------------------------------------

    def _node(self, tag: str, node: Fields) -> Refusal | None:
        if tag == "FuncCall":
            return self._function(node)
        if tag == "ColumnRef" and isinstance(fields := node.get("fields"), list) and len(fields) > 1:
            return self._attribute(fields[-1:], location(node))
        if tag in _INTO and not _is_temporary(node.get("rel")):
            return self._refuse("SELECT INTO", self._place, tag)
        if tag.endswith("Stmt") and tag[:1].isupper():
            return self._statement(tag, node)
        return None

    def _statement(self, tag: str, node: Fields) -> Refusal | None:
        words = statement_words(tag, node).upper()
        if tag == "TruncateStmt" and node.get("behavior") == "DROP_CASCADE":
            return self._refuse("TRUNCATE ... CASCADE", self._place, tag)
        if tag == "TransactionStmt" and str(node.get("kind", "TRANS_STMT_BEGIN")) not in PLAIN_TRANSACTIONS:
            return self._refuse(words, self._place, tag)
        if tag in _NONE_OF_THESE or is_beyond_rows(tag, node):
            return self._refuse(words, self._place, tag)
        return None

    def _function(self, node: Fields) -> Refusal | None:
        parts = strings(node.get("funcname"))
        if not parts or self._calls is None:
            return None
        schema, name = names.split(parts)
        own = schema in (None, "pg_catalog")
        if own and name == "set_config":
            return None  # judged as a setting
        if own and name in _SEQUENCE_FUNCTIONS:
            return None
        arguments = node.get("args")
        count = len(arguments) if isinstance(arguments, list) else 0
        if name not in LARGE_OBJECTS and names.check_function(parts, count, self._calls, location(node)) is None:
            return None
        return self._refuse(f"function {names.shown(parts)}", location(node), "FuncCall", _LIST_IT)

    def _attribute(self, fields: list[Json], offset: int | None) -> Refusal | None:
        """`t.name` and `(x).name` are calls of `name` when t or x has no such column."""
        for item in fields if self._calls is not None else ():
            if (name := string(item)) in ATTRIBUTE_FUNCTIONS:
                return self._refuse(f"function {name}", offset or self._place, "ColumnRef", _LIST_IT)
        return None

    def _refuse(self, what: str, offset: int | None, node: str, hint: str = "") -> Refusal:
        return refusal.operation_not_granted(what, hint or _NO_OPERATION, offset, node)


_NO_OPERATION: Final = (
    "A request for operations opens reading and changing rows of the tables that it names. Ask for the statements themselves: "
    "pgbastion request create <target> --sql FILE --scope exact"
)
_LIST_IT: Final = (
    "What a function does cannot be told from the statement. Ask for the statements themselves (pgbastion request create <target> "
    "--sql FILE --scope exact), or have an admin list the function: pgbastion targets allow-function <target> <schema>.<function>"
)


def _left_out(key: str) -> tuple[str, ...]:
    """Fields that are no reading: what is changed, names that were resolved, and WITH queries, which have scopes of their own."""
    if key in _WRITES:
        return ("relation", "withClause")
    if key in _INTO:
        return ("rel",)
    return (_OWN.get(key, "withClause"), "withClause", "lockedRels")


def _is_temporary(relation: Json) -> bool:
    return isinstance(relation, dict) and (
        relation.get("relpersistence") == "t" or relation.get("schemaname") == TEMPORARY_SCHEMA
    )
