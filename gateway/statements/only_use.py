"""Whether a statement is what an access request was granted: one of its statements, or of its operations.

The rules of the access mode hold besides.
"""

from dataclasses import dataclass, replace
from typing import Final

from gateway.access_mode import AccessMode
from gateway.statements import exact, refusal
from gateway.statements.literals import Wording
from gateway.statements.names import Listed
from gateway.statements.only_these import OnlyThese
from gateway.statements.operations import Operations, Use
from gateway.statements.parse import RawStatement
from gateway.statements.refusal import Refusal
from gateway.statements.settings import SettingRules
from gateway.statements.write_modes import WriteRules

_WITHOUT_SCHEMA: Final = "Without one the name could mean another table."


@dataclass(frozen=True, slots=True)
class Surroundings:
    """By what a statement is judged by the rules of its mode."""

    listed: Listed
    settings: SettingRules
    writes: WriteRules | None


@dataclass(frozen=True, slots=True)
class OnlyRules:
    """`exactly`: of a statement that was asked for word by word; whoever approved it has read it, so that it needs no WHERE.

    `otherwise`: of all others. In read-only sessions these open just the relations that may be read.
    """

    these: OnlyThese
    exactly: Surroundings
    otherwise: Surroundings

    def has(self, raw: RawStatement, wording: Wording) -> bool:
        """Whether it is a statement of the grant. Raises RecursionError."""
        return bool(self.these.statements) and exact.is_one_of(raw, wording, self.these.statements)

    def judge(self, raw: RawStatement, place: int) -> Refusal | None:
        """A statement that is none of those, and that the rules of the mode let pass."""
        if not self.these.operations:
            return exact.beside(raw, place)
        if self.otherwise.writes is None:
            return None  # it reads nothing but what is open: that was judged with the rest
        operations = Operations(place, self.otherwise.listed)
        refused = operations.collect(raw.tag, raw.node)
        return refused or next(filter(None, map(self._judge_use, operations.found)), None)

    def _judge_use(self, use: Use) -> Refusal | None:
        if use.schema is not None and (use.command, use.schema, use.name) in self.these.operations:
            return None
        name = use.name if use.schema is None else f"{use.schema}.{use.name}"
        known = self.these.named(use.command, use.name) if use.schema is None else []
        hint = (
            f"Write it with its schema: {' or '.join(known)}. {_WITHOUT_SCHEMA}"
            if known
            else refusal.ask_for_more(self.these.in_words())
        )
        return refusal.operation_not_granted(f"{use.command.upper()} of {name}", hint, use.offset, "RangeVar")


def only_rules(these: OnlyThese, mode: AccessMode, plain: Surroundings) -> OnlyRules:
    """`plain`: by what the statements of a grant without such a list would be judged."""
    narrow, writes = plain.listed, plain.writes
    if mode is AccessMode.READ_ONLY and these.operations:
        readable = these.readable
        if narrow.granted is not None:
            readable = replace(readable, tables=frozenset(each for each in readable.tables if narrow.granted.has(*each)))
        narrow = replace(narrow, granted=readable)
    exactly = replace(plain, writes=None if writes is None else replace(writes, needs_where=False))
    truncates = None if writes is None else replace(writes, may_truncate=True)
    return OnlyRules(these, exactly, replace(plain, listed=narrow, writes=truncates))
