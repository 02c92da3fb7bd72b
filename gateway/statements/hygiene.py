"""What must hold of a text before the parser sees it: bounds on what would keep the lexer or the parser busy, or kill it."""

import re
from collections.abc import Iterator
from itertools import repeat
from typing import Final

from gateway.statements.limits import Bounds

# The lexer matches a run of operator characters (comment marks among them) as far as it goes, and then takes only its first
# token: so many single steps it may make again and again. About 10 ns each.
_MAX_LEXER_STEPS: Final = 20_000_000
_OPERATOR_CHARACTERS: Final = r"[-+*/<>=~!@#%^&|`?]"
_RUN: Final = re.compile(_OPERATOR_CHARACTERS + "++")
_LONG_RUN: Final = re.compile(_OPERATOR_CHARACTERS + "{128}")
_STRIDE: Final = 64  # a run of 128 shows at two of the places that are so far apart
_TWO: Final = re.compile(_OPERATOR_CHARACTERS + "{2}")
_BEFORE_WORD: Final = r"(?<![A-Za-z0-9_$\x80-\U0010ffff])"
_COMMENT_OR_TEXT: Final = (
    r"--[^\n\r]*|/\*|"
    rf"{_BEFORE_WORD}[eE]'(?:[^'\\]|\\.|'')*+'?|'[^']*+'?|\"[^\"]*+\"?|"
    rf"{_BEFORE_WORD}\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*+)?\$"
)
_MARK: Final = re.compile(rf"{_COMMENT_OR_TEXT}|\*/|(?:(?!--|/\*){_OPERATOR_CHARACTERS})++", re.DOTALL)
_BRACKET: Final = re.compile(rf"{_COMMENT_OR_TEXT}|[\[(\])]", re.DOTALL)
_TOKEN: Final = re.compile(rf"{_COMMENT_OR_TEXT}|\$?[A-Za-z0-9_.\x80-\U0010ffff]++|[^\s]", re.DOTALL)
_COMMENT_MARK: Final = re.compile(r"/\*|\*/")


def too_tangled(text: str, bounds: Bounds) -> str | None:
    """What makes `text` too much for the lexer or the parser (the server's, too), in words; None: nothing does.

    Deeply nested comments and long runs of operator characters are quadratic; strings may hold either. Brackets within
    brackets take stack, words take time and memory. Assumes standard_conforming_strings = on.
    """
    long_run = len(text) >= 2 * _STRIDE and _TWO.search(text[::_STRIDE]) and _LONG_RUN.search(text)
    if long_run or text.count("/*") > bounds.comment_depth:
        found = _slow_for_the_lexer(text, bounds.comment_depth)
        if found is not None:
            return found
    if len(text) > bounds.nesting and text.count("(") + text.count("[") > bounds.nesting and _nests(text, bounds.nesting):
        return f"brackets nest deeper than {bounds.nesting} levels"
    if len(text) > bounds.tokens and _holds_more(text, bounds.tokens):
        return f"it has more than {bounds.tokens} words, numbers and signs"
    return None


def _slow_for_the_lexer(text: str, comment_depth: int) -> str | None:
    place = steps = 0
    while found := _MARK.search(text, place):
        mark = found[0]
        place = found.end()
        if mark == "/*":
            run = _RUN.match(text, found.start())
            steps += len(run[0]) if run else 0
            place = _comment_end(text, place, comment_depth)
            if place < 0:
                return f"comments nest deeper than {comment_depth} levels"
        elif mark[0] == "$":
            place = _text_end(text, mark, place)
        elif mark[0] not in "'\"eE" and not mark.startswith("--"):
            steps += len(mark) * len(mark) // 2
        if steps > _MAX_LEXER_STEPS:
            return "too many operator characters or comment marks in a row"
    return None


def _comment_end(text: str, place: int, limit: int) -> int:
    """Where the comment ends whose inside starts at `place`; -1 when it nests more than `limit` levels."""
    depth = 1
    while depth and (found := _COMMENT_MARK.search(text, place)):
        depth += 1 if found[0] == "/*" else -1
        place = found.end()
        if depth > limit:
            return -1
    return place if depth == 0 else len(text)


def _text_end(text: str, mark: str, place: int) -> int:
    """Where the text ends whose inside starts at `place`, after the dollar quote `mark`."""
    end = text.find(mark, place)
    return end + len(mark) if end >= 0 else len(text)


def _pieces(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """What `pattern` finds, comments left out, and of dollar-quoted texts the quote that opens them."""
    place = 0
    while found := pattern.search(text, place):
        mark, place = found[0], found.end()
        if mark == "/*":
            place = _comment_end(text, place, len(text))
            continue
        if mark[0] == "$" == mark[-1] and len(mark) > 1:
            place = _text_end(text, mark, place)
        if not mark.startswith("--"):
            yield mark


def _nests(text: str, limit: int) -> bool:
    depth = 0
    for mark in _pieces(_BRACKET, text):
        if mark in "([":
            depth += 1
            if depth > limit:
                return True
        elif mark in ")]":
            depth -= 1
    return False


def _holds_more(text: str, limit: int) -> bool:
    return any(number > limit for number, _ in enumerate(_pieces(_TOKEN, text), 1))


_LONG_RUN_BYTES: Final = 48
_OPERATOR_RUN: Final = re.compile(_OPERATOR_CHARACTERS.encode() + b"{%d}" % _LONG_RUN_BYTES)
_SMALL_WORK: Final = 800
_FEW_COMMENTS: Final = 32
_ALWAYS_SMALL_BYTES: Final = 256
# Over-estimates of how many nodes the tree gets. Measured: about 2 microseconds each (tests/core/test_policy_bounds.py).
_PUNCTUATION: Final = b",([$"
_OPERATORS: Final = b"-+*/<>=~!@#%^&|`?:;"
# Words that nest: a tree this deep must still fit the interpreter's recursion limit.
_WORK_OF_WORDS: Final = dict.fromkeys(
    b"not union intersect except join case when is collate at isnull notnull like ilike in between and or as".split(), 3
) | {b"select": 9}
#: Letters, digits and _ in lower case; a blank for all else.
_WORDS_ONLY: Final = (
    bytes(byte if (char := chr(byte)).isalnum() or char == "_" else 32 for byte in bytes(range(128)).lower()) + b" " * 128
)


def is_small(sql: bytes, inline_bytes: int) -> bool:
    """True when judging `sql` surely takes no more than a millisecond or two. Linear in `sql`; never raises."""
    size = len(sql)
    if size > inline_bytes:
        return False
    if size <= _ALWAYS_SMALL_BYTES:
        return True
    work = size - len(sql.translate(None, _PUNCTUATION)) + sql.count(b"'") + sql.count(b'"') // 2
    # Calls, subscripts and qualified names: several nodes each.
    work += 3 * (sql.count(b"(") + sql.count(b"[")) + sql.count(b".")
    operators = size - len(sql.translate(None, _OPERATORS))
    work += 3 * operators
    if work > _SMALL_WORK or sql.count(b"/*") > _FEW_COMMENTS or (operators >= _LONG_RUN_BYTES and _OPERATOR_RUN.search(sql)):
        return False
    return work + sum(map(_WORK_OF_WORDS.get, sql.translate(_WORDS_ONLY).split(), repeat(0))) <= _SMALL_WORK
