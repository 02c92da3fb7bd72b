"""Places in a text that must be changed before it is forwarded: the session's label, and values lowered to a cap.

A place is found by the parser's location and read again by one strict pattern; what does not fit the pattern is not editable.
"""

import re
from collections.abc import Sequence
from typing import Final

from gateway.statements.verdict import LabelEdit, ValueEdit, Verdict

# One SET value as people and programs write it: a plain literal, a number, a word or a quoted name.
_VALUE: Final = re.compile(
    rb"""'(?:[^']|'')*+'|[eE]'(?:[^'\\]|\\.|'')*+'|[-+]?[0-9][0-9A-Za-z_.]*+|"""
    rb"""[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*+|"(?:[^"]|"")*+\"""",
    re.DOTALL,
)
# Then only blanks and comments may follow, so that nothing of the value is left behind.
_REST: Final = re.compile(rb"(?:\s|--[^\n\r]*|/\*[^*/]*\*/)*+\Z")
_LITERAL_START: Final = re.compile(rb"'|[eEnN]'|[uU]&'|\$")


def value_range(sql: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The bytes of a SET's only value that starts at `start` in a statement that ends at `end`; None: not editable."""
    found = _VALUE.match(sql, start, end)
    if not found or not _REST.match(sql[found.end() : end]):
        return None
    return found.span()


def starts_literal(sql: bytes, start: int) -> bool:
    """True when a string literal or a parameter starts there, so that an expression may be put before it."""
    return _LITERAL_START.match(sql, start) is not None


def quote(text: str) -> str:
    """A string literal that reads the same whatever standard_conforming_strings is. NUL cannot be in it."""
    plain = text.replace("'", "''").replace("\0", "")
    if "\\" in plain:
        return " E'" + plain.replace("\\", "\\\\") + "'"
    return "'" + plain + "'"


def relabel(sql: bytes, verdict: Verdict, label: str) -> bytes:
    """The text to forward in place of `sql`: every edit of the verdict made, `label` in front of each application_name."""
    if not verdict.edits:
        return sql
    return _apply(sql, verdict.edits, label)


def _apply(sql: bytes, edits: Sequence[LabelEdit | ValueEdit], label: str) -> bytes:
    pieces = []
    place = 0
    for edit in sorted(edits, key=lambda e: e.start):
        pieces.append(sql[place : edit.start])
        match edit:
            case LabelEdit():
                pieces.append((quote(f"{label} {edit.value}") + edit.after).encode())
            case ValueEdit():
                pieces.append(edit.text.encode())
        place = edit.end
    pieces.append(sql[place:])
    return b"".join(pieces)
