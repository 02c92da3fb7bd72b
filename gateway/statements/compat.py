"""What particular programs send and could not do without, made harmless by an edit instead of being refused.

DataGrip and its siblings read `txid_current()` on a primary to see what has changed since the last look. The call assigns a
transaction id, which is a write; the next id to be assigned tells them the same and assigns nothing.

psql's \\deu+ and every pg_dump of a database with a foreign server spread out the options of user mappings, passwords among them.
They are given NULL, which is what the view itself shows to whom they do not concern.
"""

import re
from typing import Final

from gateway.statements.literals import Wording
from gateway.statements.parse import Fields, Json, location, strings
from gateway.statements.verdict import ValueEdit

_ASKED_ON_A_PRIMARY: Final = re.compile(rb"pg_is_in_recovery\s*\(\s*\)\s+then\s+null\s+else\b[^;]*txid_current", re.I)
_CALL: Final = re.compile(rb"(?:pg_catalog\s*\.\s*)?txid_current\s*\(\s*\)", re.I)
_NEXT_ID: Final = "pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())"


def next_id_instead(name: str, offset: int | None, wording: Wording) -> ValueEdit | None:
    """The edit for a call of the function `name` at `offset`, when it is this question; else None."""
    if name != "txid_current" or offset is None or not _ASKED_ON_A_PRIMARY.search(wording.sql):
        return None
    found = _CALL.match(wording.sql, offset)
    return ValueEdit(*found.span(), _NEXT_ID) if found else None


_OPTIONS_COLUMN: Final = "umoptions"
_OPTIONS_SPREAD: Final = "pg_options_to_table"
_COLUMN: Final = re.compile(rb"(?:[A-Za-z_][A-Za-z0-9_]*\.)?umoptions(?![A-Za-z0-9_$.\x80-\xff])", re.I)


def without_mapping_options(root: Json, wording: Wording) -> list[ValueEdit]:
    """The edits that put NULL in place of the column where it is spread out, or only asked whether it is there.

    The tree is changed likewise: it is then that of the text to be forwarded. Elsewhere the column stays, to be refused.
    """
    edits = []
    stack: list[Json] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            column = _spread_column(node)
            if column is not None and (edit := _null_instead(column, wording)) is not None:
                edits.append(edit)
            stack.extend(node.values())
    return edits


def _spread_column(node: Fields) -> Fields | None:
    """The node {"ColumnRef": ...} that the call or test `node` is about."""
    if isinstance(call := node.get("FuncCall"), dict) and strings(call.get("funcname"))[-1:] == (_OPTIONS_SPREAD,):
        arguments = call.get("args")
        found = arguments[0] if isinstance(arguments, list) and len(arguments) == 1 else None
    else:
        found = test.get("arg") if isinstance(test := node.get("NullTest"), dict) else None
    return found if isinstance(found, dict) and "ColumnRef" in found else None


def _null_instead(column: Fields, wording: Wording) -> ValueEdit | None:
    reference = column["ColumnRef"]
    if not isinstance(reference, dict) or strings(reference.get("fields"))[-1:] != (_OPTIONS_COLUMN,):
        return None
    offset = location(reference)
    found = None if offset is None else _COLUMN.match(wording.sql, offset)
    if found is None:
        return None
    column.clear()
    column["A_Const"] = {"isnull": True}
    return ValueEdit(*found.span(), "NULL")
