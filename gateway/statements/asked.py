"""What a file of SQL needs, to ask for just that: the access mode, the operations on relations, or the statements themselves.

Pure. What comes out was tried: each text is judged under what would be granted, and is let through. Against a session it is judged
once more, by what is in the database then; that may refuse what nobody can see in a text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from gateway.access_mode import AccessMode
from gateway.statements import exact as exact_rules
from gateway.statements import refusal
from gateway.statements.hygiene import too_tangled
from gateway.statements.only_these import OnlyThese, operations_in_words
from gateway.statements.operations import Operations, Use
from gateway.statements.parse import Json, ParseFailure, RawStatement, parse, tagged_nodes
from gateway.statements.policy import Policy, judge
from gateway.statements.refusal import Refusal
from gateway.statements.sameness import digest
from gateway.statements.verdict import Verdict
from gateway.statements.words import statement_words

MAX_STATEMENTS: Final = 200
MAX_BYTES: Final = 128 * 1024
_SHOWN: Final = 60

PolicyOf: TypeAlias = Callable[[AccessMode], Policy]
"""The target's policy of a mode, under a grant that carries nothing."""


@dataclass(frozen=True, slots=True)
class AskedStatement:
    """One statement, for people who are to approve it. `operations` are (command, schema, table). `not_read_only`: the rule that
    refuses it in a read-only session, with its message; "" for one that may run there.
    """

    text: str
    kind: str
    operations: tuple[tuple[str, str, str], ...]
    not_read_only: str
    why_not: str


@dataclass(frozen=True, slots=True)
class Derived:
    """`mode`: the narrowest that lets all of it run. Of `only` just one part is filled."""

    mode: AccessMode
    only: OnlyThese
    statements: tuple[AskedStatement, ...]

    @property
    def in_words(self) -> str:
        if not self.only.statements:
            return operations_in_words(self.only.operations)
        count = len(self.statements)
        return f"{count} statement{'' if count == 1 else 's'}, word by word"


@dataclass(frozen=True, slots=True)
class NotDerived:
    """Why this cannot be asked for. `statement`: which, from 1 (0: the whole); `position`: the character in its text, from 1."""

    rule: str
    message: str
    hint: str
    statement: int = 0
    position: int = 0


def derive(texts: Sequence[str], policy_of: PolicyOf, *, exact: bool) -> Derived | NotDerived:
    """`exact`: to ask for nothing but these statements, literals included; else for the operations that they are."""
    read = _read(texts, policy_of(AccessMode.READ_ONLY))
    if isinstance(read, NotDerived):
        return read
    reading = [judge(each.text.encode(), policy_of(AccessMode.READ_ONLY)) for each in read]
    mode = AccessMode.READ_ONLY if all(each.allowed for each in reading) else AccessMode.READ_WRITE
    policy = policy_of(mode)
    found = _exactly(read) if exact else _operations(read, policy)
    if isinstance(found, NotDerived):
        return found
    only, uses = found
    refused = _tried(read, replace(policy, only=only))
    if refused is not None:
        return refused
    statements = tuple(
        AskedStatement(each.text, statement_words(each.raw.tag, each.raw.node), its_own, *_why_not(verdict))
        for each, verdict, its_own in zip(read, reading, uses, strict=True)
    )
    return Derived(mode, only, statements)


@dataclass(frozen=True, slots=True)
class _Statement:
    """`text`: its own; `start`: where that begins, in bytes of the text that it was read from."""

    raw: RawStatement
    text: str
    start: int

    @classmethod
    def of(cls, raw: RawStatement, whole: bytes) -> "_Statement":
        own = whole[raw.start : raw.end]
        return cls(raw, own.decode().strip(), raw.start + len(own) - len(own.lstrip()))

    @property
    def is_beside(self) -> bool:
        """Whether it needs no asking for."""
        return exact_rules.beside(self.raw, self.start) is None

    def position(self, offset: int | None) -> int:
        if offset is None or offset < self.start:
            return 0
        return len(self.text.encode()[: offset - self.start].decode("utf-8", "replace")) + 1


_Read: TypeAlias = list[_Statement]
_Found: TypeAlias = tuple[OnlyThese, list[tuple[tuple[str, str, str], ...]]]


def _read(texts: Sequence[str], policy: Policy) -> _Read | NotDerived:
    """Each statement with its own text."""
    if sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) > MAX_BYTES:
        return NotDerived("request-too-long", f"the statements are longer than {MAX_BYTES} bytes", "Ask for them in parts.")
    found: _Read = []
    for text in texts:
        statements = _parsed(text, policy)
        if isinstance(statements, NotDerived):
            return replace(statements, statement=len(found) + 1)
        found += [_Statement.of(raw, text.encode()) for raw in statements]
    if not found:
        return NotDerived("nothing-asked", "there is no statement in it", "Name what you want to run.")
    if len(found) > MAX_STATEMENTS:
        words = f"there are {len(found)} statements, more than {MAX_STATEMENTS}"
        return NotDerived("request-too-long", words, "Ask for them in parts.")
    return found


def _parsed(text: str, policy: Policy) -> tuple[RawStatement, ...] | NotDerived:
    tangled = too_tangled(text, policy.bounds) if is_text(text) else "it holds characters that PostgreSQL does not take"
    if tangled is not None:
        return NotDerived("statement-too-complex", f"the text cannot be read: {tangled}", "Write it more plainly.")
    statements = parse(text)
    if isinstance(statements, ParseFailure):
        place = 0 if statements.index is None else statements.index + 1
        return NotDerived("syntax-error", statements.message, "Correct it, and ask again.", position=place)
    return statements


def is_text(text: str) -> bool:
    """Whether a server could be sent it."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


# -- the statements themselves


def _exactly(read: _Read) -> _Found | NotDerived:
    for number, each in enumerate(read, 1):
        why = _not_exact(each.raw)
        if why is not None:
            return replace(why, statement=number)
    try:
        digests = frozenset(digest(each.raw).hex() for each in read if not each.is_beside)
    except RecursionError:
        return NotDerived("statement-too-complex", "a statement is nested too deeply", "Write it more plainly.")
    if not digests:
        return NotDerived("nothing-asked", "what is in it needs no asking for", "Name what you want to run.")
    return OnlyThese(statements=digests), [() for _ in read]


def _not_exact(raw: RawStatement) -> NotDerived | None:
    root: Json = {raw.tag: raw.node}
    if any(tag == "ParamRef" for tag, _ in tagged_nodes(root)):
        text = "a statement with parameters ($1) says not what it will run with"
        return NotDerived("parameter-not-exact", text, "Write the values into the statement, or ask for operations.")
    match raw.tag:
        case "CopyStmt" if raw.node.get("is_from"):
            text = "what COPY ... FROM STDIN puts there stands in no statement"
            return NotDerived("statement-not-exact", text, "Write it as INSERT, or ask for operations.")
        case "ExecuteStmt" if raw.node.get("params"):
            text = "EXECUTE with values runs another statement than it is"
            return NotDerived("statement-not-exact", text, "Ask for the statement itself, with its values.")
        case _:
            return None


# -- operations


def _operations(read: _Read, policy: Policy) -> _Found | NotDerived:
    uses: list[tuple[tuple[str, str, str], ...]] = []
    for number, each in enumerate(read, 1):
        operations = Operations(each.start, policy.listed if policy.mode is AccessMode.READ_WRITE else None)
        refused = operations.collect(each.raw.tag, each.raw.node)
        named = [_named(use, policy) for use in operations.found]
        refused = refused or next((found for found in named if isinstance(found, Refusal)), None)
        if refused is not None:
            message = refused.message.replace(_GRANTED, _ASKABLE)
            return NotDerived(refused.rule, message, refused.hint, number, each.position(refused.offset))
        uses.append(tuple(sorted({found for found in named if not isinstance(found, Refusal)})))
    every = frozenset(each for of_one in uses for each in of_one)
    if not every:
        text = "the statements neither read nor change a table"
        return NotDerived("no-operations", text, "Ask for the access mode, or for the statements themselves: --scope exact")
    return OnlyThese(operations=every), uses


def _named(use: Use, policy: Policy) -> tuple[str, str, str] | Refusal:
    if use.schema is not None:
        return use.command, use.schema, use.name
    if policy.mode is AccessMode.READ_ONLY and len(policy.allowed_schemas) == 1:
        (schema,) = policy.allowed_schemas
        return use.command, schema, use.name
    hint = f"Write it with its schema: {min(policy.allowed_schemas, default='public')}.{use.name}, for instance."
    return refusal.operation_not_granted(
        f"{use.command.upper()} of {use.name}, which could be several tables,", hint, use.offset
    )


_GRANTED: Final = "is not among the operations that your access request was granted"
_ASKABLE: Final = "cannot be asked for as an operation"


# -- trying it


def _tried(read: _Read, policy: Policy) -> NotDerived | None:
    """Each alone, as it will be sent."""
    for number, each in enumerate(read, 1):
        verdict = judge(each.text.encode(), policy)
        if not verdict.allowed:
            message = verdict.message.replace(_GRANTED, _ASKABLE)
            return NotDerived(verdict.rule, message, verdict.hint, number, verdict.position)
    return None


def _why_not(verdict: Verdict) -> tuple[str, str]:
    return ("", "") if verdict.allowed else (verdict.rule, verdict.message)
