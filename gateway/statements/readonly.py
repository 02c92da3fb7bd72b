"""The rules of read-only sessions, statement by statement. Deny by default: a statement class that is not here is a write."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.statements import assignment, refusal
from gateway.statements.attribute_calls import attribute_use
from gateway.statements.catalogue import SAFE_FUNCTIONS
from gateway.statements.closed_columns import closed_use
from gateway.statements.compat import without_mapping_options
from gateway.statements.literals import Wording
from gateway.statements.names import SYSTEM_SCHEMAS, Listed
from gateway.statements.parse import Fields, Json, RawStatement, location
from gateway.statements.refusal import Refusal
from gateway.statements.relation_use import RelationUse
from gateway.statements.secret_columns import secret_use
from gateway.statements.settings import SettingRules
from gateway.statements.verdict import LabelEdit, ValueEdit
from gateway.statements.walk import Walk
from gateway.statements.words import statement_words

_ACCESS_SHARE: Final = 1
PLAIN_TRANSACTIONS: Final = frozenset(
    f"TRANS_STMT_{kind}" for kind in ("BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "ROLLBACK_TO")
)


@dataclass(frozen=True, slots=True)
class Exceptions:
    """What a session may do besides reading: rules for statement classes, which go before those here, and which classes may stand
    inside of EXPLAIN and PREPARE.
    """

    rules: "Mapping[str, Rule]"
    inner: frozenset[str]


@dataclass(slots=True)
class Temporary:
    """What a statement does with temporary tables (see `Verdict`)."""

    made: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    lifts: bool = False


@dataclass(slots=True)
class Statement:
    """One statement under judgement. `place` is where its first word starts, in bytes. `temporary`: not None in sessions with
    temporary tables, whose rules are `exceptions`. `nested`: it stands inside of another.
    """

    raw: RawStatement
    wording: Wording
    place: int
    settings: SettingRules
    walk: Walk
    edits: list[LabelEdit | ValueEdit] = field(default_factory=list)
    exceptions: Exceptions | None = None
    temporary: Temporary | None = None
    nested: bool = False

    def plain(self) -> Refusal | None:
        """By the rules of a session without exceptions."""
        return _RULES[self.raw.tag](self)


Rule = Callable[[Statement], Refusal | None]


def new_walk(listed: Listed, server_major: int, wording: Wording, rules: SettingRules) -> Walk:
    return Walk(listed, server_major, lambda call: assignment.set_config(call, wording, rules), wording)


def judge_statement(statement: Statement) -> Refusal | None:
    """None: allowed. What was found on the way is in `statement.walk` and `statement.edits`."""
    tag, exceptions = statement.raw.tag, statement.exceptions
    rule = exceptions.rules.get(tag) if exceptions is not None else None
    if rule is None:
        rule = _RULES.get(tag)
    if rule is None:
        return _refused_class(statement)
    found = rule(statement)
    if found is None:
        found = _second_looks(statement)
    if found is None and (granted := statement.walk.listed.granted) is not None:
        use = RelationUse(granted, statement.walk.listed.existing_schemas, statement.place, writes=False)
        found = use.judge(tag, statement.raw.node)
    statement.edits.extend(statement.walk.edits)
    return found


def _second_looks(statement: Statement) -> Refusal | None:
    """At what the walk noted: columns that are secret, or of closed types, calls that look like columns."""
    walk = statement.walk
    root: Json = [{statement.raw.tag: statement.raw.node}]
    if "pg_user_mappings" in walk.secret and not walk.is_definition:
        statement.edits.extend(without_mapping_options(root, statement.wording))
    found = secret_use(root, frozenset(walk.secret)) if walk.secret else None
    openings = walk.listed.openings
    if openings is None or found is not None:
        return found
    if walk.dotted:
        found = attribute_use(root, walk.dotted, walk.listed, openings, walk.relied)
    if found is None and walk.closed:
        found = closed_use(root, walk.closed, openings.relations.is_open_field, shows=not walk.keeps)
    if found is None and openings.stale:
        found = _stale_use(statement)
    return replace(found, node="ColumnRef") if found is not None and not found.node else found


def _stale_use(statement: Statement) -> Refusal | None:
    """Under a catalog that is too old: whatever is not PostgreSQL's own may have become something else."""
    walk = statement.walk
    for name in sorted(walk.tables - walk.ctes):
        schema, dot, _ = name.rpartition(".")
        if schema not in SYSTEM_SCHEMAS and (dot or not name.startswith("pg_")):
            return refusal.stale_catalog(f"relation {name}", statement.place)
    for name in sorted(walk.functions):
        if name.rpartition(".")[2] not in SAFE_FUNCTIONS:
            return refusal.stale_catalog(f"function {name}", statement.place)
    return None


def _refused_class(statement: Statement) -> Refusal:
    tag, node, place = statement.raw.tag, statement.raw.node, statement.place
    match tag:
        case "LoadStmt" | "CheckPointStmt" | "AlterSystemStmt":
            return refusal.server_control(statement_words(tag, node).upper(), place)
        case "ListenStmt":
            return refusal.unsupported("LISTEN in a read-only session", refusal.READ_WRITE_HINT, place)
        case "DoStmt" | "CallStmt":
            what = f"{statement_words(tag, node).upper()} (it runs code that is not judged)"
            return refusal.write_statement(what, place)
        case "CreateStmt" | "CreateTableAsStmt" if statement.exceptions is None and _is_temporary(node):
            words = statement_words(tag, node).upper().replace("CREATE TABLE", "CREATE TEMP TABLE")
            return refusal.write_statement(words, place, refusal.TEMPORARY_GRANT_HINT)
        case _ if tag.endswith("Stmt"):
            return refusal.write_statement(statement_words(tag, node).upper(), place)
        case _:
            return refusal.unknown_syntax(tag, place)


def _is_temporary(node: Fields) -> bool:
    into = node.get("into")
    relation = into.get("rel") if isinstance(into, dict) else node.get("relation")
    return isinstance(relation, dict) and relation.get("relpersistence") == "t"


def _query(statement: Statement, query: Json, inner: frozenset[str], exceptions: Exceptions | None = None) -> Refusal | None:
    """The statement inside EXPLAIN, PREPARE, DECLARE or COPY: of a class in `inner`, and then by its own rule.

    `exceptions`: where those of the session hold inside, too.
    """
    if not isinstance(query, dict) or len(query) != 1:
        return refusal.unknown_syntax("query", statement.place)
    ((tag, node),) = query.items()
    if not isinstance(node, dict):
        return refusal.unknown_syntax(tag, statement.place)
    nested = Statement(
        RawStatement(tag, node, statement.raw.start, statement.raw.end),
        statement.wording,
        statement.place,
        statement.settings,
        statement.walk,
        exceptions=exceptions,
        temporary=statement.temporary,
        nested=True,
    )
    if exceptions is not None and (tag in exceptions.inner or tag == "SelectStmt"):
        return exceptions.rules[tag](nested)
    if tag not in inner:
        return _refused_class(nested)
    return _RULES[tag](nested)


def _select(statement: Statement) -> Refusal | None:
    openings = statement.walk.listed.openings
    found = openings.casts.everywhere if openings is not None else None
    if found is None:
        found = statement.walk.run(statement.raw.node)
    if found is not None and found.offset is None:
        return replace(found, offset=statement.place)
    return found


def _explain(statement: Statement) -> Refusal | None:
    inner = frozenset({"SelectStmt", "DeclareCursorStmt", "ExecuteStmt"})
    return _query(statement, statement.raw.node.get("query"), inner, statement.exceptions)


def _prepare(statement: Statement) -> Refusal | None:
    types = statement.walk.run(statement.raw.node.get("argtypes"))
    return types or _query(statement, statement.raw.node.get("query"), frozenset({"SelectStmt"}), statement.exceptions)


def _declare(statement: Statement) -> Refusal | None:
    return _query(statement, statement.raw.node.get("query"), frozenset({"SelectStmt"}))


def _execute(statement: Statement) -> Refusal | None:
    return statement.walk.run(statement.raw.node.get("params"))


def _copy(statement: Statement) -> Refusal | None:
    node = statement.raw.node
    if node.get("filename") is not None or node.get("is_program"):
        return refusal.copy_file(statement.place)
    if node.get("is_from"):
        return refusal.write_statement("COPY ... FROM", statement.place)
    if "whereClause" in node:
        return refusal.unknown_syntax("COPY ... WHERE", statement.place)
    if "query" in node:
        return _query(statement, node["query"], frozenset({"SelectStmt"}))
    relation = node.get("relation")
    if not isinstance(relation, dict):
        return refusal.unknown_syntax("CopyStmt", statement.place)
    found = statement.walk.relation(relation)
    if found is None and statement.walk.secret and "attlist" not in node:
        return refusal.secret_column(str(relation.get("relname")), location(relation))
    return found


def _lock(statement: Statement) -> Refusal | None:
    node = statement.raw.node
    if node.get("mode") != _ACCESS_SHARE:
        return refusal.write_statement("LOCK TABLE in a mode above ACCESS SHARE", statement.place)
    return statement.walk.run(node.get("relations"))


def _transaction(statement: Statement) -> Refusal | None:
    node: Fields = statement.raw.node
    if str(node.get("kind", "TRANS_STMT_BEGIN")) not in PLAIN_TRANSACTIONS:
        return refusal.two_phase(statement.place)
    if assignment.transaction_options_write(node.get("options"), statement.wording):
        return refusal.read_write_transaction(statement.place)
    return None


def _set(statement: Statement) -> Refusal | None:
    raw = statement.raw
    match assignment.variable_set(raw.node, statement.wording, raw.end, statement.settings, statement.place):
        case Refusal() as refused:
            return refused
        case LabelEdit() | ValueEdit() as edit:
            statement.edits.append(edit)
        case None:
            pass
    return None


def _harmless(_statement: Statement) -> Refusal | None:
    return None


_RULES: Final[dict[str, Rule]] = {
    "SelectStmt": _select,
    "ExplainStmt": _explain,
    "PrepareStmt": _prepare,
    "ExecuteStmt": _execute,
    "DeclareCursorStmt": _declare,
    "CopyStmt": _copy,
    "LockStmt": _lock,
    "TransactionStmt": _transaction,
    "VariableSetStmt": _set,
    "VariableShowStmt": _harmless,
    "DeallocateStmt": _harmless,
    "FetchStmt": _harmless,
    "ClosePortalStmt": _harmless,
    "DiscardStmt": _harmless,
    "ConstraintsSetStmt": _harmless,
    "UnlistenStmt": _harmless,
}
ALLOWED_CLASSES: Final = frozenset(_RULES)
