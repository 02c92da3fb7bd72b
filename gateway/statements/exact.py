"""Nothing but certain statements: which a statement is, and what may run beside them.

Two statements are the same whose parse trees are equal, literals included (see `sameness`). A statement of the grant may also be
prepared under a name, declared as a cursor, and explained (not by EXPLAIN ANALYZE, which runs it). Beside them passes what clients
need and what changes nothing but the session: plain transaction control, SHOW, SET within `settings.STEADY`, RESET, FETCH, CLOSE,
EXECUTE without values, DEALLOCATE, DISCARD, UNLISTEN, and a SELECT of constants or of who and where one is. Settings that could
give a statement another meaning (search_path before all) stay as they are, also at the beginning of a session.
"""

from typing import Final

from gateway.statements import refusal
from gateway.statements.literals import Wording
from gateway.statements.parse import Fields, Json, RawStatement, strings
from gateway.statements.readonly import PLAIN_TRANSACTIONS
from gateway.statements.refusal import Refusal
from gateway.statements.sameness import digest
from gateway.statements.words import statement_words
from gateway.statements.write_modes import analyzes

_OF_THE_SESSION: Final = frozenset(
    ("VariableShowStmt", "DeallocateStmt", "DiscardStmt", "FetchStmt", "ClosePortalStmt", "UnlistenStmt")
)
_SETS: Final = frozenset({"VAR_SET_VALUE", "VAR_SET_DEFAULT", "VAR_RESET", "VAR_RESET_ALL"})
_SETS_OF_TRANSACTIONS: Final = frozenset({"TRANSACTION", "SESSION CHARACTERISTICS"})
#: What drivers and pools ask to see whether anybody is there, and who and where they are.
_PROBES: Final = frozenset(
    (
        "version",
        "current_schema",
        "current_database",
        "pg_backend_pid",
        "pg_is_in_recovery",
        "inet_server_addr",
        "inet_server_port",
    )
)
_PROBE_FIELDS: Final = frozenset({"targetList", "limitOption", "op"})
_PROBE_CALL: Final = frozenset({"funcname", "funcformat", "location"})


def is_one_of(raw: RawStatement, wording: Wording, statements: frozenset[str]) -> bool:
    """Whether this is a statement of the grant, as it stands, prepared, as a cursor, or to be explained. Raises RecursionError."""
    if digest(raw).hex() in statements:
        return True
    inner = _inner(raw, wording)
    return inner is not None and digest(inner).hex() in statements


def _inner(raw: RawStatement, wording: Wording) -> RawStatement | None:
    node = raw.node
    match raw.tag:
        case "PrepareStmt" if "argtypes" not in node:
            pass
        case "DeclareCursorStmt":
            pass
        case "ExplainStmt" if not analyzes(node, wording):
            pass
        case _:
            return None
    query = node.get("query")
    if not isinstance(query, dict) or len(query) != 1:
        return None
    ((tag, fields),) = query.items()
    return RawStatement(tag, fields, raw.start, raw.end) if isinstance(fields, dict) else None


def beside(raw: RawStatement, place: int) -> Refusal | None:
    """None: a statement that may run beside those of the grant. Its settings are judged where all are."""
    tag, node = raw.tag, raw.node
    match tag:
        case "TransactionStmt" if str(node.get("kind", "TRANS_STMT_BEGIN")) in PLAIN_TRANSACTIONS:
            return None
        case "VariableSetStmt" if _is_plain_set(node):
            return None
        case "ExecuteStmt" if not node.get("params"):
            return None
        case "SelectStmt" if _is_probe(node):
            return None
        case _ if tag in _OF_THE_SESSION:
            return None
    return refusal.statement_not_granted(f"this {statement_words(tag, node).upper()}", place)


def _is_plain_set(node: Fields) -> bool:
    kind = str(node.get("kind", "VAR_SET_VALUE"))
    return kind in _SETS or (kind == "VAR_SET_MULTI" and node.get("name") in _SETS_OF_TRANSACTIONS)


def _is_probe(node: Fields) -> bool:
    targets = node.get("targetList")
    if node.keys() - _PROBE_FIELDS or node.get("op") != "SETOP_NONE" or not isinstance(targets, list):
        return False
    return all(_is_harmless(target) for target in targets)


def _is_harmless(target: Json) -> bool:
    shown = target.get("ResTarget") if isinstance(target, dict) else None
    value = shown.get("val") if isinstance(shown, dict) else None
    if not isinstance(shown, dict) or not isinstance(value, dict) or "indirection" in shown or len(value) != 1:
        return False
    ((tag, node),) = value.items()
    if tag in ("A_Const", "SQLValueFunction"):
        return True
    if tag != "FuncCall" or not isinstance(node, dict) or node.keys() - _PROBE_CALL:
        return False
    parts = strings(node.get("funcname"))
    return parts[-1:] != () and parts[-1] in _PROBES and parts[:-1] in ((), ("pg_catalog",))
