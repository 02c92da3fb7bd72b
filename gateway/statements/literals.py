"""How a text is worded: the values of its literals, and its bytes. Rules that look at either ask here.

Whoever asks is remembered: a verdict that looked at the wording holds for that very text, any other one for every text that
differs from it in nothing but the values of literals (see `shape`). No other module of the policy may take a literal's value
from the tree (tests/core/test_statement_literals.py).
"""

import re
from typing import Final

from gateway.statements.parse import Fields, Json

#: The fields of a constant's node: what its value is in there, and what it is when the parser left it out.
_VALUES: Final = (("sval", ""), ("ival", "0"), ("fval", "0"), ("boolval", "false"))
_FALSE: Final = frozenset({"0", "off", "false"})


class Wording:
    """Of one text. `looked_at`: whether a rule asked for something of it, whatever the answer was."""

    __slots__ = ("_sql", "looked_at")

    def __init__(self, sql: bytes) -> None:
        self._sql = sql
        self.looked_at = False

    @property
    def sql(self) -> bytes:
        """The text itself."""
        self.looked_at = True
        return self._sql

    def may_say(self, words: re.Pattern[bytes]) -> bool:
        """False: these keywords are not in the text. True says nothing (they may stand in a literal), so that it is no look."""
        return words.search(self._sql) is not None

    def constant(self, node: Json) -> str | None:
        """The value of an A_Const as SET takes it; None for anything else."""
        self.looked_at = True
        inner = _constant(node)
        for kind, absent in _VALUES:
            value = inner.get(kind)
            if isinstance(value, dict):
                found = str(value.get(kind, absent))
                return found.lower() if kind == "boolval" else found
        return None

    def text(self, node: Json) -> str | None:
        """The value of a string constant; None for anything else."""
        value = self.constant(node)
        return value if "sval" in _constant(node) else None

    def is_false(self, option: Json) -> bool:
        """Whether the argument of an option (a DefElem's: no constant, but a word or a number) switches it off."""
        self.looked_at = True
        for tag, kind, absent in (("String", "sval", ""), ("Integer", "ival", "0"), ("Boolean", "boolval", "false")):
            inner = option.get(tag) if isinstance(option, dict) else None
            if isinstance(inner, dict):
                return str(inner.get(kind, absent)).lower() in _FALSE
        return False


def _constant(node: Json) -> Fields:
    inner = node.get("A_Const") if isinstance(node, dict) else None
    return inner if isinstance(inner, dict) else {}
