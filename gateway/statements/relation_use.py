"""Whether a grant that opens only some relations (`GrantedRelations`) opens all that a statement names.

A relation counts where it is named: what a granted view, a table's partitions or a listed function reads beneath is the owner's
decision; a view that is not granted is refused whatever it reads. An unqualified name passes only if it is that of a WITH query in
its scope, of a relation of PostgreSQL's own, or granted in every schema where it could be found; where search_path may be anything
(read-write sessions) it must be written with its schema. Closed are statistics that show values, and what reads tables or large
objects beside the statement's tree. In read-write sessions so are statements that make or change objects, or run code, but for
temporary tables: what they make could read anything.
"""

from typing import Final

from gateway.statements import refusal
from gateway.statements.catalogue import REFUSED_FUNCTIONS, SYSTEM_RELATIONS
from gateway.statements.granted_relations import GrantedRelations
from gateway.statements.parse import Fields, Json, location, strings
from gateway.statements.refusal import Refusal
from gateway.statements.words import statement_words
from gateway.statements.write_modes import TEMPORARY_SCHEMA, is_beyond_rows

_SYSTEM_SCHEMAS: Final = frozenset({"pg_catalog", "information_schema"})
#: They show values of tables, whichever the login may read.
VALUES: Final = frozenset(
    ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs", "pg_statistic", "pg_statistic_ext_data", "pg_largeobject")
)
LARGE_OBJECTS: Final = frozenset({"lo_get", "lo_open", "loread"})
#: Why a function is refused in read-only sessions, as far as it reads tables that the statement does not name.
_BESIDE: Final = frozenset({"file", "large-object", "page", "remote", "replication", "text"})
#: Of a statement, the field with what it changes; never a WITH query.
_TARGETS: Final = {
    **dict.fromkeys(("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"), "relation"),
    **dict.fromkeys(("CreateStmt", "IndexStmt"), "relation"),
    **dict.fromkeys(("into", "intoClause"), "rel"),
    "TruncateStmt": "relations",
    "VacuumStmt": "rels",
}
_ALIASES: Final = "lockedRels"  # FOR UPDATE OF: names of the FROM clause
_NOTHING: Final[frozenset[str]] = frozenset()


class RelationUse:
    """`schemas`: where an unqualified name may be found; None: anywhere. `writes`: the session may change tables (where not, what
    a statement changes was judged to be a temporary table).
    """

    __slots__ = ("_granted", "_place", "_schemas", "_writes")

    def __init__(self, granted: GrantedRelations, schemas: frozenset[str] | None, place: int, *, writes: bool) -> None:
        """`place`: where the statement begins."""
        self._granted = granted
        self._schemas = schemas
        self._place = place
        self._writes = writes

    def judge(self, tag: str, node: Fields) -> Refusal | None:
        """Why the statement is refused; None: all that it names is open."""
        stack: list[tuple[str, Json, frozenset[str]]] = [(tag, node, _NOTHING)]
        while stack:
            key, value, scope = stack.pop()
            if isinstance(value, list):
                stack.extend((key, item, scope) for item in value)
            elif isinstance(value, dict):
                found = self._node(key, value, scope)
                if found is not None:
                    return found
                inside, queries = queries_of(value, scope) if "withClause" in value else (scope, [])
                stack.extend(queries)
                target = _TARGETS.get(key)
                for name, below in value.items():
                    if name == target:
                        if self._writes:
                            stack.append((name, below, _NOTHING))
                    elif name not in ("withClause", _ALIASES) and isinstance(below, dict | list):
                        stack.append((name, below, inside))
        return None

    def _node(self, tag: str, node: Fields, scope: frozenset[str]) -> Refusal | None:
        if tag == "FuncCall":
            return self._function(node)
        if self._writes and tag.endswith("Stmt") and tag[:1].isupper():
            return self._statement(tag, node)
        if isinstance(name := node.get("relname"), str):
            return self._relation(name, node, scope)
        return None

    def _function(self, node: Fields) -> Refusal | None:
        """In read-only sessions what is refused there was refused before, or runs a text that was judged like this one."""
        name = (strings(node.get("funcname")) or ("",))[-1]
        beside = name in LARGE_OBJECTS or (self._writes and REFUSED_FUNCTIONS.get(name) in _BESIDE)
        return self._refuse(f"what function {name} reads", location(node), "FuncCall") if beside else None

    def _statement(self, tag: str, node: Fields) -> Refusal | None:
        if tag == "TruncateStmt" and node.get("behavior") == "DROP_CASCADE":
            return self._refuse("what TRUNCATE ... CASCADE reaches", self._place, tag)
        if is_beyond_rows(tag, node):
            return self._refuse(f"what {statement_words(tag, node).upper()} may reach", self._place, tag)
        return None

    def _relation(self, name: str, node: Fields, scope: frozenset[str]) -> Refusal | None:
        schema = node.get("schemaname")
        if node.get("relpersistence") == "t" or schema == TEMPORARY_SCHEMA:
            return None
        if isinstance(schema, str):
            if schema in _SYSTEM_SCHEMAS:
                return self._refuse(f"{schema}.{name}", location(node), "RangeVar") if name in VALUES else None
            return None if self._granted.has(schema, name) else self._refuse(f"{schema}.{name}", location(node), "RangeVar")
        if name in scope:
            return None
        if name in SYSTEM_RELATIONS:
            return self._refuse(name, location(node), "RangeVar") if name in VALUES else None
        if self._schemas and all(self._granted.has(each, name) for each in self._schemas):
            return None
        known = self._granted.named(name)
        if known:
            hint = f"Write it with its schema: {' or '.join(known)}. Without one the name could mean another table."
            if self._granted.asked_for:
                return refusal.operation_not_granted(f"reading {name}", hint, location(node), "RangeVar")
            return refusal.table_not_granted(name, hint, location(node), "RangeVar")
        return self._refuse(name, location(node), "RangeVar")

    def _refuse(self, what: str, offset: int | None, node: str) -> Refusal:
        if self._granted.asked_for:
            return refusal.operation_not_granted(
                f"reading {what}", refusal.ask_for_more(f"select {self._granted.in_words()}"), offset, node
            )
        hint = (
            f"It opens: {self._granted.in_words()}. Write names with their schema (temporary tables: pg_temp.<name>). "
            "An admin who may change grants on <target> can open more: pgbastion grants update ... --table <schema>.<table>"
        )
        return refusal.table_not_granted(what, hint, offset, node)


def queries_of(value: Fields, scope: frozenset[str]) -> tuple[frozenset[str], list[tuple[str, Json, frozenset[str]]]]:
    """What a statement with a WITH clause sees besides relations; and its queries, each with what that one sees.

    Each sees those before it, or all of a WITH RECURSIVE; the statement sees all.
    """
    clause = value["withClause"]
    queries = clause.get("ctes") if isinstance(clause, dict) else None
    recursive = isinstance(clause, dict) and bool(clause.get("recursive"))
    found: list[tuple[str, Json]] = []
    for item in queries if isinstance(queries, list) else ():
        query = item.get("CommonTableExpr") if isinstance(item, dict) else None
        if isinstance(query, dict):
            found.append((str(query.get("ctename")), query))
    every = scope.union(name for name, _ in found)
    seen = every if recursive else scope
    each_with_its_own = []
    for name, query in found:
        each_with_its_own.append(("CommonTableExpr", query, seen))
        seen = seen | {name}
    return every, each_with_its_own
