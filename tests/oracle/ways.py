"""The ways in which one text can reach PostgreSQL."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pglast.parser import ParseError, parse_sql_json

from tests.oracle.entries import Entry, Query, Send, Step, parameters_in
from tests.support import wire

_LONGEST = 5_000  # longer texts are about size: one way is enough
# Let through exactly as the tool sends them, with what is around them, and no other way.
_AS_SENT = ("set_config(", "txid_current(")


@dataclass(frozen=True)
class Way:
    """`steps` answers what to send, None where this way makes no sense of an entry.

    `locked`: with the server's own read-only mode on, as sessions really are.
    """

    name: str
    steps: Callable[[Entry], tuple[Step, ...] | None]
    locked: bool = False


def _as_it_is(entry: Entry) -> tuple[Step, ...] | None:
    return entry.steps


def _each(make: Callable[[bytes], Sequence[Step]]) -> Callable[[Entry], tuple[Step, ...] | None]:
    def steps(entry: Entry) -> tuple[Step, ...] | None:
        if not entry.plain or sum(len(step.sql) for step in entry.steps if isinstance(step, Query)) > _LONGEST:
            return None
        return tuple(made for step in entry.steps if isinstance(step, Query) for made in make(step.sql))

    return steps


def _values(sql: bytes) -> list[bytes | None]:
    return [None] * parameters_in(sql)


def _extended(sql: bytes) -> Sequence[Step]:
    return [Send(wire.parse(sql) + wire.bind(values=_values(sql)) + wire.describe("P") + wire.execute() + wire.SYNC, True)]


def _named(sql: bytes) -> Sequence[Step]:
    name = "oracle_s"
    run = wire.bind(name, "oracle_p", _values(sql)) + wire.execute("oracle_p") + wire.SYNC
    return [
        Send(wire.parse(sql, name) + wire.describe("S", name) + wire.SYNC, True),
        Send(run, True),
        Send(wire.close("S", name) + wire.SYNC, True),
    ]


def _pipeline(sql: bytes) -> Sequence[Step]:
    second = wire.parse(sql) + wire.bind(values=_values(sql)) + wire.execute()
    return [Send(wire.extended("SELECT 1") + second + wire.extended("SELECT 2") + wire.SYNC, True)]


def _around(*shape: str) -> Callable[[Entry], tuple[Step, ...] | None]:
    """Texts with {} for the entry's own. Honest entries only where PostgreSQL would take a query there."""

    def steps(entry: Entry) -> tuple[Step, ...] | None:
        text = entry.text
        if text is None or "\0" in text or len(text) > _LONGEST:
            return None
        text = text.rstrip().rstrip(";")
        if not entry.refuse and not _is_query(text):
            return None
        return tuple(Query(part.replace("{}", text).encode()) for part in shape)

    return steps


def _batch(*shape: str) -> Callable[[Entry], tuple[Step, ...] | None]:
    def steps(entry: Entry) -> tuple[Step, ...] | None:
        text = entry.text
        if text is None or "\0" in text or len(text) > _LONGEST or (not entry.refuse and not _stands_in_a_block(text)):
            return None
        return tuple(Query(part.replace("{}", text.rstrip().rstrip(";")).encode()) for part in shape)

    return steps


def _statements(text: str) -> list[str]:
    try:
        return [next(iter(one["stmt"])) for one in json.loads(parse_sql_json(text))["stmts"]]
    except ParseError:
        return []


def _is_query(text: str) -> bool:
    exact = any(call in text for call in _AS_SENT)
    return not exact and _statements(text) == ["SelectStmt"] and parameters_in(text.encode()) == 0


def _stands_in_a_block(text: str) -> bool:
    if any(call in text for call in _AS_SENT):
        return False
    return bool(found := _statements(text)) and set(found) <= {"SelectStmt", "VariableShowStmt", "ExplainStmt"}


WAYS = (
    Way("simple", _as_it_is),
    Way("locked", _as_it_is, locked=True),
    Way("extended", _each(_extended)),
    Way("named", _each(_named)),
    Way("pipeline", _each(_pipeline)),
    Way("batch", _batch("SELECT 1; {}\n; SELECT 2")),
    Way("block", _batch("BEGIN", "{}", "COMMIT")),
    Way("explain", _around("EXPLAIN {}")),
    Way("analyze", _around("EXPLAIN (ANALYZE, VERBOSE) {}")),
    Way("prepare", _around("PREPARE oracle_q AS {}", "EXECUTE oracle_q")),
    Way("cursor", _around("BEGIN", "DECLARE oracle_c CURSOR FOR {}", "FETCH ALL FROM oracle_c", "COMMIT")),
    Way("copy", _around("COPY ({}\n) TO STDOUT")),
)
