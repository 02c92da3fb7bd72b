"""The text of a statement without the values of its literals: a key under which an allowed verdict may be remembered for them all.

A shape is a text itself. In it each string is '' and each number 0, or 9999999999 where it is beyond 32 bits (PostgreSQL has
another class of node for that). Equal shapes that were kept mean equal parse trees up to the values of constants:

- Only texts of plain characters have a shape: no double quote, no backslash, nothing but printable ASCII, tabs and newlines.
- A number is a run of digits that touches no letter, digit or underscore. Around a dot such runs make a decimal number,
  whatever they are.
- No shape is kept with a comment, a dollar sign or an unusual operator, a quote that touches a word (E'x', X'x'), or "float(",
  where the number decides on the type. Each stands in the shape as it does in the text, so no text that has one comes to a kept
  shape; and up to the first of them a text is read here as PostgreSQL reads it.

Whether a *verdict* depends on the value of a literal is what it says itself (`Verdict.any_literals`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from gateway.compiled import twin_of
from gateway.statements.verdict import Verdict

MAX_BYTES: Final = 4096
"""No longer text has a shape."""

_OUTSIDE: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ .,*=<>()+-/%;:[]!|'\t\n"
_PLAIN: Final = _OUTSIDE + b"#$&?@^`{}~"
_STRING: Final = re.compile(rb"'[^']*'")
#: Up to 1999999999: an integer of 32 bits. (A digit first, then what stood before it: half the time.)
_INTEGER: Final = re.compile(rb"\d(?<!\w\d)(?:\d{0,8}|(?<=1)\d{9})(?!\w)")
#: From 3000000000 on: none. What lies between, and what has so many digits by zeros in front, stays as it is.
_BEYOND: Final = re.compile(rb"\d{10}(?<!\w\d{10})(?:(?<![0-2]\d{9})|(?<!0\d{9})\d+)(?!\w)")
_NOT_KEPT: Final = re.compile(rb"--|/\*|'[\w.]|[\w.]'|float\s*\(", re.I)

#: Statements whose literals are plain values of expressions.
_KINDS: Final = frozenset({"select", "insert", "update", "delete"})


def pure_shape_of(sql: bytes) -> bytes | None:
    """The shape, or None for a text that has none."""
    if len(sql) > MAX_BYTES or sql.translate(None, _PLAIN):
        return None
    if b"'" in sql:
        sql = _STRING.sub(b"''", sql)
    return _BEYOND.sub(b"9999999999", _INTEGER.sub(b"0", sql))


_twin: Final = twin_of(__name__)
shape_of: Final[Callable[[bytes], bytes | None]] = _twin.shape_of if _twin is not None else pure_shape_of


_Kept = TypeVar("_Kept")


def kept_like(shapes: Mapping[bytes, _Kept], sql: bytes) -> _Kept | None:
    """What `shapes`, of kept shapes alone, holds under the shape of this text of at most MAX_BYTES."""
    # A kept shape is plain, and its own shape. Without strings a text has the characters of its shape, up to digits: one that
    # comes to a kept shape by its small numbers alone has that very shape.
    if _twin is None and b"'" not in sql and (like := shapes.get(_INTEGER.sub(b"0", sql))) is not None:
        return like
    shape = shape_of(sql)
    return shapes.get(shape) if shape is not None else None


def is_sound(shape: bytes) -> bool:
    """Whether all texts of this shape have one parse tree up to the values of constants, where they are statements of `_KINDS`."""
    return not shape.translate(None, _OUTSIDE) and _NOT_KEPT.search(shape) is None


def kept_shape(sql: bytes, verdict: Verdict) -> bytes | None:
    """The shape under which this verdict on `sql` holds for every text of that shape; None: for this text only."""
    if not (verdict.allowed and verdict.any_literals and not verdict.edits and verdict.facts.kind in _KINDS):
        return None
    shape = shape_of(sql)
    return shape if shape is not None and is_sound(shape) else None
