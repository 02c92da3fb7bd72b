"""Is it the very statement that somebody was allowed to run? Two are the same whose parse trees are equal, literals included.

Blanks, comments, and how keywords and names that fold are written make no difference; a number, a string, a name do. What the
parser adds in a later version and is not known here makes a difference, too: that refuses, and lets nothing through.
"""

import hashlib
import json
from typing import Final

import orjson

from gateway.statements.parse import Json, ParseFailure, RawStatement, parse

#: Fields that tell where something stands in the text, of all nodes.
PLACES: Final = frozenset(("location", "arg_location", "conninfo_location", "name_location", "payload_location")) | frozenset(
    ("stmt_location", "stmt_len", "list_start", "list_end", "rexpr_list_start", "rexpr_list_end")
)


def digests(text: str) -> tuple[bytes, ...] | None:
    """SHA-256 of each statement of `text`, in order; None when it is none, cannot be read, or is nested too deeply."""
    found = parse(text)
    if isinstance(found, ParseFailure) or not found:
        return None
    try:
        return tuple(digest(each) for each in found)
    except RecursionError:
        return None


def digest(statement: RawStatement) -> bytes:
    """SHA-256 of what the parser made of it. Raises RecursionError."""
    tree = _without_places({statement.tag: statement.node})
    try:
        text = orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError):  # more levels, or larger numbers, than it writes
        text = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode("ascii")
    return hashlib.sha256(text).digest()


def _without_places(node: Json) -> Json:
    if isinstance(node, dict):
        return {key: _without_places(value) for key, value in node.items() if key not in PLACES}
    if isinstance(node, list):
        return [_without_places(each) for each in node]
    return node
