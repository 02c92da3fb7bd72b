"""What must hold of a text before the parser sees it: valid UTF-8, no NUL, bounded size and comment depth."""

import re
from typing import Final

MAX_COMMENT_DEPTH: Final = 32
# The lexer matches a run of operator characters (comment marks among them) as far as it goes, and then takes only its first
# token: so many single steps it may make again and again. About 10 ns each.
_MAX_LEXER_STEPS: Final = 20_000_000
_OPERATOR_CHARACTERS: Final = r"[-+*/<>=~!@#%^&|`?]"
_RUN: Final = re.compile(_OPERATOR_CHARACTERS + "++")
_LONG_RUN: Final = re.compile(_OPERATOR_CHARACTERS + "{128}")
_BEFORE_WORD: Final = r"(?<![A-Za-z0-9_$\x80-\U0010ffff])"
_MARK: Final = re.compile(
    r"--[^\n\r]*|/\*|\*/|"
    rf"(?:(?!--|/\*){_OPERATOR_CHARACTERS})++|"
    rf"{_BEFORE_WORD}[eE]'(?:[^'\\]|\\.|'')*+'?|'[^']*+'?|\"[^\"]*+\"?|"
    rf"{_BEFORE_WORD}\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*+)?\$",
    re.DOTALL,
)
_COMMENT_MARK: Final = re.compile(r"/\*|\*/")


def too_tangled(text: str) -> str | None:
    """What makes `text` quadratic for the lexer (the server's, too), in words; None: nothing does.

    Comments that nest deeply, and long runs of operator characters; strings may hold either. Assumes
    standard_conforming_strings = on.
    """
    if text.count("/*") <= MAX_COMMENT_DEPTH and _LONG_RUN.search(text) is None:
        return None
    place = steps = 0
    while found := _MARK.search(text, place):
        mark = found[0]
        place = found.end()
        if mark == "/*":
            run = _RUN.match(text, found.start())
            steps += len(run[0]) if run else 0
            place = _comment_end(text, place)
            if place < 0:
                return f"comments nest deeper than {MAX_COMMENT_DEPTH} levels"
        elif mark[0] == "$":
            end = text.find(mark, place)
            place = end + len(mark) if end >= 0 else len(text)
        elif mark[0] not in "'\"eE" and not mark.startswith("--"):
            steps += len(mark) * len(mark) // 2
        if steps > _MAX_LEXER_STEPS:
            return "too many operator characters or comment marks in a row"
    return None


def _comment_end(text: str, place: int) -> int:
    """Where the comment ends whose inside starts at `place`; -1 when it nests too deeply."""
    depth = 1
    while depth and (found := _COMMENT_MARK.search(text, place)):
        depth += 1 if found[0] == "/*" else -1
        place = found.end()
        if depth > MAX_COMMENT_DEPTH:
            return -1
    return place if depth == 0 else len(text)


_OPERATOR_RUN: Final = re.compile(_OPERATOR_CHARACTERS.encode() + rb"{48}")
_SMALL_WORK: Final = 900
_ALWAYS_SMALL_BYTES: Final = 256
# Over-estimates of how many nodes the tree gets. Measured: about 5 microseconds each (tests/policy/test_policy_bounds.py).
_PUNCTUATION: Final = b",([$"
_OPERATORS: Final = b"-+*/<>=~!@#%^&|`?:;"
# Words that nest: a tree this deep must still fit the interpreter's recursion limit.
_WORDS: Final = re.compile(
    rb"\b(?:not|union|intersect|except|join|case|when|is|collate|at|isnull|notnull|like|ilike|in|between|and|or|as)\b", re.I
)
_SELECT: Final = re.compile(rb"\bselect\b", re.I)
_WORK_PER_WORD: Final = 3
_WORK_PER_SELECT: Final = 9


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
    work += _WORK_PER_WORD * len(_WORDS.findall(sql)) + _WORK_PER_SELECT * len(_SELECT.findall(sql))
    return work <= _SMALL_WORK
