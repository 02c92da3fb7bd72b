"""The text of a statement without its small integers: a key under which an allowed verdict may be remembered for all of them.

Sound because of how little it covers. Only texts of plain characters have a shape: no quote, backslash, dollar, comment, control
or non-ASCII character, so that what is left are keywords, unquoted names, operators and numbers. Of the numbers only those of one
to nine digits that touch no letter, digit, underscore or dot are taken out: PostgreSQL reads each of them as one integer
constant, whatever its value. So equal shapes mean equal parse trees up to the values of integer constants. Whether a *verdict*
looked at such a value is another question (`keeps_for_shape`): settings do, expressions of a query do not.
"""

import re
from collections.abc import Callable
from typing import Final

from gateway.compiled import twin_of
from gateway.statements.verdict import Verdict

_PLAIN: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ .,*=<>()+-/%;:[]!"
#: One to nine digits that nothing of a name or number touches. (A digit first, then what stood before it: half the time.)
_INTEGER: Final = re.compile(rb"\d(?<![\w.]\d)\d{0,8}(?![\w.])")
_DASH: Final = ord("-")
_SLASH: Final = ord("/")
_MAX_BYTES: Final = 4096

#: Statements whose integers are plain values of expressions.
_KINDS: Final = frozenset({"select", "insert", "update", "delete"})
#: Functions whose arguments the policy reads.
_LITERAL_SENSITIVE: Final = frozenset({"set_config", "ts_rewrite", "interval_avg"})


def pure_shape_of(sql: bytes) -> bytes | None:
    """The key, or None for a text that has none."""
    if len(sql) > _MAX_BYTES or sql.translate(None, _PLAIN):
        return None
    if (_DASH in sql and b"--" in sql) or (_SLASH in sql and b"/*" in sql):
        return None
    return _INTEGER.sub(b"0", sql)


_twin: Final = twin_of(__name__)
shape_of: Final[Callable[[bytes], bytes | None]] = _twin.shape_of if _twin is not None else pure_shape_of


def keeps_for_shape(verdict: Verdict) -> bool:
    """Whether this verdict holds for every text of the same shape."""
    facts = verdict.facts
    return (
        verdict.allowed
        and not verdict.edits
        and facts.kind in _KINDS
        and _LITERAL_SENSITIVE.isdisjoint(name.rpartition(".")[2] for name in facts.functions)
    )
