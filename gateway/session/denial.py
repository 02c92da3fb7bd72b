"""A denial that keeps the session in step: the blocked message is replaced by one that always fails upstream, and the error it
raises is swapped for ours on the way back. Order, aborted transactions, skip-until-Sync and the status then come from PostgreSQL.

The replacement begins with a single-use word that no SQL statement can begin with, so that PostgreSQL calls it a syntax error *at
that word*, which the swap then looks for. It names the product and the rule, for whoever reads upstream's log, and nothing of the
user's text.
"""

from dataclasses import dataclass
from typing import Final

from gateway.statements.verdict import Verdict
from gateway.wire.backend import ErrorFields, build_error
from gateway.wire.frontend import build_parse, build_query
from gateway.wire.sqlstate import SYNTAX_ERROR

#: A statement name that clients may not use, so that a replaced Bind or Execute disturbs no statement of theirs.
RESERVED_NAME: Final = b"pgbastion_denied"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the client shall read instead of the replacement's syntax error, which carries `mark`."""

    fields: ErrorFields
    rule: str
    mark: bytes

    @property
    def _poison(self) -> bytes:
        return self.mark + b" rule " + self.rule.encode()

    def as_query(self) -> bytes:
        return build_query(self._poison)

    def as_parse(self, name: bytes = RESERVED_NAME) -> bytes:
        """Under the blocked Parse's own name (an error drops the unnamed statement as a real one would), else the reserved."""
        return build_parse(name, self._poison)

    def matches(self, sqlstate: str, error_body: bytes) -> bool:
        return sqlstate == SYNTAX_ERROR and self.mark in error_body

    def message(self) -> bytes:
        return build_error(self.fields)


def fields_of(verdict: Verdict, target: str, way_out: str = "") -> ErrorFields:
    """The policy knows no target, and writes `<target>` where its name belongs. `way_out`: a sentence more for the hint."""
    return ErrorFields(
        "ERROR",
        verdict.sqlstate,
        verdict.message,
        hint=f"{verdict.hint.replace('<target>', target)} {way_out}".strip(),
        position=verdict.position,
    )
