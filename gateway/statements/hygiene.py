"""What must hold of a text before the parser sees it: valid UTF-8, no NUL, bounded size and comment depth."""

import re
from typing import Final

MAX_COMMENT_DEPTH: Final = 32
# The server's lexer is quadratic in nested comments and in runs of operator characters; long ones leave the event loop.
_TOKEN: Final = re.compile(
    r"""/\*|\*/|--[^\n\r]*|(?<![A-Za-z0-9_$\x80-\U0010ffff])[eE]'(?:[^'\\]|\\.|'')*'?|'[^']*'?|"[^"]*"?|"""
    r"""(?<![A-Za-z0-9_$\x80-\U0010ffff])\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$""",
    re.DOTALL,
)


def comment_depth(text: str) -> int:
    """How deep comments nest, as the server's lexer sees them (assuming standard_conforming_strings = on)."""
    if text.count("/*") <= MAX_COMMENT_DEPTH:
        return 0
    depth = deepest = place = 0
    while found := _TOKEN.search(text, place) if depth == 0 else _COMMENT_MARK.search(text, place):
        mark = found[0]
        place = found.end()
        if mark == "/*":
            depth += 1
            deepest = max(deepest, depth)
        elif mark == "*/":
            depth = max(0, depth - 1)
        elif mark.startswith("$"):
            end = text.find(mark, place)
            if end < 0:
                return deepest
            place = end + len(mark)
    return deepest


_COMMENT_MARK: Final = re.compile(r"/\*|\*/")

_OPERATOR_RUN: Final = re.compile(rb"[-+*/<>=~!@#%^&|`?]{48}")
_SMALL_WORK: Final = 900
_ALWAYS_SMALL_BYTES: Final = 256
# Over-estimates of how many nodes the tree gets. Measured: about 5 microseconds each (tests/policy/test_policy_bounds.py).
_PUNCTUATION: Final = b",([$"
_OPERATORS: Final = b"-+*/<>=~!@#%^&|`?:;"
_WORDS: Final = re.compile(
    rb"\b(?:not|union|intersect|except|join|case|is|collate|at|isnull|notnull|like|ilike|in|between|and|or|as|select)\b", re.I
)


def is_small(sql: bytes, inline_bytes: int) -> bool:
    """True when judging `sql` surely takes no more than a few milliseconds. Linear in `sql`; never raises."""
    size = len(sql)
    if size > inline_bytes:
        return False
    if size <= _ALWAYS_SMALL_BYTES:
        return True
    work = size - len(sql.translate(None, _PUNCTUATION)) + sql.count(b"'") + sql.count(b'"') // 2
    work += 2 * (size - len(sql.translate(None, _OPERATORS)))
    if work > _SMALL_WORK or sql.count(b"/*") > MAX_COMMENT_DEPTH or _OPERATOR_RUN.search(sql) is not None:
        return False
    return work + 2 * len(_WORDS.findall(sql)) <= _SMALL_WORK
