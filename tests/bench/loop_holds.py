"""What holds the event loop: for each kind of input the longest turn, in ms of the thread's own CPU time; one command.

    python -m tests.bench.loop_holds [--rounds 5] [--only WORD ...]

Both sides of a session are fed as a worker feeds them, without sockets. What one call takes is a turn, and so is what goes on in a
later one: when a verdict comes from elsewhere, or when others had their turn. What a judging child does is nobody's turn. Of a
kind's rounds that one is printed whose longest turn is the shortest. Nothing here asserts a time.
"""

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

from gateway.access_mode import AccessMode
from gateway.audit.redaction import redact
from gateway.session.client_side import ClientSide
from gateway.session.effects import GoOn, JudgeElsewhere, ReadOn
from gateway.statements.policy import Policy, is_small, judge
from tests.support.playbook import BOUND, CLOSED, PARSED, Playbook, done, failed, playbook, ready
from tests.support.wire import SYNC, bind, close, describe, execute, packet, parse, query

_CHUNK_BYTES: Final = 256 * 1024  # what uvloop reads at once
_INLINE_BYTES: Final = 16 * 1024
_POLICY: Final = Policy(AccessMode.READ_ONLY)

#: (before, repeated, after): texts as large as they may be to be judged on the event loop.
_SHAPES: Final = [
    *(("SELECT 1", piece, "") for piece in (",1", ",a b", ",a.b", "+1", ",f(a)", ",a[1]", ",'x'", ",a in (1)", ",$1")),
    *(("SELECT 1", piece, "") for piece in (",case when a then b end", " union select 1", ";begin", "/**/", " and a=1")),
    *(("SELECT ", piece, "1") for piece in ("not ", "(", "- ", "(select ", "array[", "f(")),
    ("SELECT * FROM a", " natural join a", ""),
    ("SELECT '", "x", "'"),
    ("SELECT pwd", " a", ""),
]

_MESSAGES: Final[dict[str, Callable[[int], bytes]]] = {
    "new queries": lambda number: query(f"SELECT a{number} FROM t"),
    "new statements, prepared": lambda number: parse(f"SELECT a{number} FROM t", f"s{number}"),
    "refused queries": lambda number: query(f"DELETE FROM t{number}"),
    "SET, each another": lambda number: query(f"SET work_mem = {64 + number}"),
    "one query, again and again": lambda number: query("SELECT 1"),
    "Binds": lambda number: bind(),
    "Executes": lambda number: execute(),
    "Describes": lambda number: describe("P"),
    "Closes": lambda number: close("S", "x"),
    "Syncs": lambda number: SYNC,
}

_REPLIES: Final = {
    "rows without columns": packet("D", b"\0\0"),
    "command tags": done("SET"),
    "results of one row": packet("T", b"\0\0") + packet("D", b"\0\0") + done("SELECT 1"),
    "notices": packet("N", b"SNOTICE\0C00000\0Mx\0\0"),
    "1,600 columns and a row of them": packet("T", b"\x06\x40" + (b"column\0" + bytes(18)) * 1600)
    + packet("D", b"\x06\x40" + b"\0\0\0\x01x" * 1600)
    + done("SELECT 1"),
    "rows of 1,600 columns": packet("D", b"\x06\x40" + b"\0\0\0\x01x" * 1600),
    "settings": packet("S", b"TimeZone\0UTC\0"),
}

_PIPELINES: Final = {
    "BindComplete": (bind(), BOUND),
    "ParseComplete": (parse("SELECT 1"), PARSED),
    "CloseComplete": (close("S", "x"), CLOSED),
    "tags of Executes": (execute(), done("SET")),
    "ReadyForQuery": (SYNC, ready()),
}

_LARGE: Final = {
    "1 MB in a string": b"SELECT '" + b"x" * 1_000_000 + b"'",
    "1 MB, not ASCII": ("SELECT '" + "é" * 490_000 + "'").encode(),
    "64 kB with a password's word": b"SELECT pwd " + b",1" * 32_000,
    "64 kB of passwords' words": b"SELECT " + b"pwd," * 16_000 + b"1",
    "16 MB, too long": b"SELECT 1" + b",1" * 8_000_000,
    "2 MB, too long": b"SELECT 1" + b",1" * 1_000_000,
}


class _Clock:
    """The longest turn so far, in ms."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.turns = 0

    def turn(self, work: Callable[[], object]) -> None:
        before = time.thread_time_ns()
        work()
        self.longest = max(self.longest, (time.thread_time_ns() - before) / 1e6)
        self.turns += 1


def _book() -> Playbook:
    book = playbook(inline_bytes=_INLINE_BYTES, max_names=100_000)
    object.__setattr__(book.shared.facts, "max_message_bytes", 16 * 1024 * 1024)
    book.client_side = ClientSide(book.shared)
    return book


def _from_client(clock: _Clock, data: bytes) -> Playbook:
    book = _book()
    clock.turn(lambda: book.client_side.feed(data, 0.0))
    while book.shared.effects:
        (effect,), book.shared.effects = book.shared.effects, ()
        match effect:
            case JudgeElsewhere():
                _judged(clock, book, effect)
            case GoOn():
                clock.turn(lambda: book.client_side.go_on(0.0))
            case _:
                raise AssertionError(effect)
    return book


def _judged(clock: _Clock, book: Playbook, effect: JudgeElsewhere) -> None:
    verdict = judge(effect.sql, effect.policy)
    clock.turn(lambda: book.client_side.judged(effect, verdict, 0.0))


def _from_upstream(clock: _Clock, book: Playbook, data: bytes) -> None:
    clock.turn(lambda: book.upstream_side.feed(data, 0.0))
    while book.shared.effects:
        assert book.shared.effects == (ReadOn(),)
        book.shared.effects = ()
        clock.turn(lambda: book.upstream_side.go_on(0.0))


def _chunk(message: Callable[[int], bytes]) -> bytes:
    made, size = [], 0
    for number in count():
        if size >= _CHUNK_BYTES:
            break
        made.append(message(number))
        size += len(made[-1])
    return b"".join(made)


def _largest(before: str, piece: str, after: str) -> bytes:
    times = _INLINE_BYTES // len(piece)
    while not is_small((before + piece * times + after).encode(), _INLINE_BYTES):
        times = int(times * 0.95)
    return (before + piece * times + after).encode()


def _replied(clock: _Clock, reply: bytes) -> None:
    book = _from_client(_Clock(), query("SELECT 1"))
    _from_upstream(clock, book, reply * (_CHUNK_BYTES // len(reply)))


def _pipelined(clock: _Clock, request: bytes, reply: bytes) -> None:
    book = _from_client(_Clock(), request * 3000)
    _from_upstream(clock, book, reply * len(book.shared.ledger.queue))


def _failing(clock: _Clock) -> None:
    book = _from_client(_Clock(), execute() * 3000)
    _from_upstream(clock, book, failed("34000"))


def kinds() -> Iterator[tuple[str, Callable[[_Clock], object]]]:
    """What is measured, by name."""
    for shape in _SHAPES:
        sql = _largest(*shape)
        name = f"largest small text: {shape[1].strip()} ({len(sql):,} bytes)"
        yield name, lambda clock, sql=sql: clock.turn(lambda: judge(sql, _POLICY))  # type: ignore[misc]
    for name, message in _MESSAGES.items():
        data = _chunk(message)
        yield f"256 kB of {name}", lambda clock, data=data: _from_client(clock, data)  # type: ignore[misc]
    for name, sql in _LARGE.items():
        yield f"a text of {name}", lambda clock, sql=sql: _from_client(clock, query(sql))  # type: ignore[misc]
    yield "a Bind of 65,535 values", lambda clock: _from_client(clock, bind("", "", [None] * 65_535))
    for name, reply in _REPLIES.items():
        yield f"256 kB of replies: {name}", lambda clock, reply=reply: _replied(clock, reply)  # type: ignore[misc]
    for name, (request, reply) in _PIPELINES.items():
        yield f"all that may be owed: {name}", lambda clock, a=request, b=reply: _pipelined(clock, a, b)  # type: ignore[misc]
    yield "an error that all that may be owed falls with", _failing
    for piece in ("'password", "$a$password$b$", "/*password"):
        text = piece * (64 * 1024 // len(piece))
        yield f"masking 64 kB of {piece}", lambda clock, text=text: clock.turn(lambda: redact(text))  # type: ignore[misc]


def measure(rounds: int, only: list[str]) -> str:
    """A Markdown table."""
    lines = ["| input | longest turn, ms | turns |", "|---|---|---|"]
    for name, work in kinds():
        if only and not any(word in name for word in only):
            continue
        clocks = []
        for _ in range(rounds):
            clocks.append(_Clock())
            work(clocks[-1])
        best = min(clocks, key=lambda clock: clock.longest)
        lines.append(f"| {name} | {best.longest:.1f} | {best.turns} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[], help="kinds with one of these words in their names")
    arguments = parser.parse_args()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as gateway.app
    print(measure(arguments.rounds, arguments.only))


if __name__ == "__main__":
    main()
