"""Random scripts of protocol messages: mostly sensible, often broken, with refused texts anywhere. One seed, one script."""

from collections.abc import Callable
from random import Random

from gateway.access_mode import AccessMode
from tests.support import wire
from tests.support.oracle import BROKEN, Step, blocked_call, blocked_parse, blocked_query, same

_STATEMENTS = ("", "", "", "a", "b", "c")
_PORTALS = ("", "", "", "p", "q")

#: Allowed in both modes. "%" becomes a comment of random length: a text that is long enough is judged in another process.
_READS = (
    "SELECT 1",
    "SELECT 1 %",
    "SELECT k FROM generate_series(1, 4) k",
    "SELECT id, owner FROM accounts ORDER BY id LIMIT 3 %",
    "SELECT $1::int + 1",
    "SELECT $1::text, $2::text %",
    "SELECT count(*) FROM scratch",
    "SELECT k FROM scratch ORDER BY k",
    "SELECT 1/0",
    "SELECT 1/(k - 2) FROM generate_series(1, 4) k %",
    "SELECT nothing FROM nowhere",
    "SELEC 1",
    "",
    "  -- nothing\n",
    "BEGIN",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO SAVEPOINT s",
    "SHOW client_encoding",
    "COPY (SELECT 1) TO STDOUT",
    "VALUES (1), (2) %",
)
_BATCHES = (
    "SELECT 1; SELECT 2",
    "SELECT 1; SELECT 1/0; SELECT 3 %",
    "BEGIN; SELECT 1",
    "COMMIT; SELECT 2",
    "BEGIN; SELECT 1/0; COMMIT",
    "PREPARE a AS SELECT 7",
    "PREPARE d AS SELECT 8 %",
    "EXECUTE a",
    "EXECUTE d",
    "DEALLOCATE a",
    "DEALLOCATE d",
    "DECLARE cur CURSOR FOR SELECT k FROM generate_series(1, 5) k",
    "FETCH 2 FROM cur",
    "CLOSE cur",
)
_WRITES = (
    "INSERT INTO scratch VALUES (1)",
    "INSERT INTO scratch VALUES (2), (3) %",
    "INSERT INTO scratch VALUES (4) RETURNING k",
    "INSERT INTO scratch VALUES ($1)",
    "UPDATE scratch SET k = k + 1 WHERE true",
    "DELETE FROM scratch WHERE k > 3",
)
_COPIES = ("COPY scratch FROM STDIN", "COPY scratch FROM STDIN %")
_REFUSED_READING = (
    "INSERT INTO accounts (owner) VALUES ('x')",
    "DELETE FROM accounts %",
    "SELECT 1; DROP TABLE accounts",
    "SELECT pg_read_file('x')",
    "BEGIN READ WRITE",
    "SET transaction_read_only = off",
    "WITH w AS (DELETE FROM accounts RETURNING 1) SELECT 1 %",
    "COPY accounts FROM STDIN",
    "PREPARE a AS DELETE FROM accounts",
)
_REFUSED_WRITING = (
    "SET ROLE postgres",
    "ALTER SYSTEM SET work_mem = '1GB' %",
    "CREATE ROLE eve",
    "COPY scratch TO PROGRAM 'cat'",
    "SELECT 1; SET standard_conforming_strings = off",
    "LOAD 'x' %",
)


class Author:
    """Writes rounds of one session."""

    def __init__(self, rng: Random, mode: AccessMode) -> None:
        self._rng = rng
        writes = mode is AccessMode.READ_WRITE
        self._texts = _READS + _WRITES if writes else _READS
        self._queries = self._texts + _BATCHES + (_COPIES if writes else ())
        self._parses = self._texts + (_COPIES if writes else ())
        self._refused = _REFUSED_WRITING if writes else _REFUSED_READING
        self._copy = writes
        self._kinds: list[tuple[int, Callable[[], Step]]] = [
            (12, lambda: same(wire.query(self._text(self._queries)))),
            (8, self._blocked_query),
            (14, lambda: same(wire.parse(self._text(self._parses), self._statement()))),
            (8, self._blocked_parse),
            (14, lambda: same(wire.bind(self._statement(), self._portal(), self._values()))),
            (6, lambda: same(wire.describe(*self._named()))),
            (14, lambda: same(wire.execute(self._portal(), rng.choice((0, 0, 0, 1, 2))))),
            (5, lambda: same(wire.close(*self._named()))),
            (14, lambda: same(wire.SYNC)),
            (3, lambda: same(wire.FLUSH)),
            (8, lambda: same(wire.extended(self._text(self._parses)), wire.SYNC)),
            (3, lambda: Step(wire.extended(self._bad()) + wire.SYNC, wire.extended(BROKEN) + wire.SYNC)),
            (2, blocked_call),
            (3, self._stray),
            (2, self._malformed),
        ]
        if writes:
            self._kinds.append((8, self._copied))

    def round(self, messages: int) -> list[Step]:
        weights = [weight for weight, _ in self._kinds]
        makers = [make for _, make in self._kinds]
        steps = [make() for make in self._rng.choices(makers, weights, k=self._rng.randint(1, messages))]
        return [self._paused(step) for step in steps]

    def _paused(self, step: Step) -> Step:
        pause = self._rng.choice((0, 0, 0, 0, 0, 0.0005, 0.003))
        return Step(step.gateway, step.direct, pause)

    def _text(self, of: tuple[str, ...]) -> str:
        return self._filled(self._rng.choice(of))

    def _filled(self, text: str) -> str:
        return text.replace("%", f"/* {self._rng.getrandbits(32):x} {'x' * self._rng.choice((0, 5, 400))} */")

    def _bad(self) -> str:
        return self._text(self._refused)

    def _blocked_query(self) -> Step:
        return blocked_query(self._bad())

    def _blocked_parse(self) -> Step:
        return blocked_parse(self._bad(), self._statement())

    def _statement(self) -> str:
        return self._rng.choice(_STATEMENTS)

    def _portal(self) -> str:
        return self._rng.choice(_PORTALS)

    def _named(self) -> tuple[str, str]:
        return self._rng.choice((("S", self._statement()), ("P", self._portal())))

    def _values(self) -> list[bytes | None]:
        return self._rng.choice(([], [], [], [b"1"], [b"1"], [b"x"], [None], [b"1", b"2"]))

    def _stray(self) -> Step:
        return same(self._rng.choice((wire.copy_data(b"5\n"), wire.COPY_DONE, wire.copy_fail())))

    def _copied(self) -> Step:
        """A whole COPY, well-behaved or not."""
        rng = self._rng
        data = rng.choice((b"", wire.copy_data(b"6\n"), wire.copy_data(b"7\n") * 3, wire.copy_data(b"no number\n")))
        end = rng.choice((wire.COPY_DONE, wire.COPY_DONE, wire.copy_fail()))
        if rng.random() < 0.5:
            return same(wire.query(_COPIES[0]), data, rng.choice((b"", b"", wire.SYNC)), end)
        early, amid = rng.choice((b"", wire.SYNC, wire.FLUSH)), rng.choice((b"", b"", wire.SYNC, wire.SYNC * 2))
        return same(wire.extended(_COPIES[0]), early, data, amid, end, wire.SYNC)

    def _malformed(self) -> Step:
        bad = (
            wire.packet("Q", b"SELECT 1"),
            wire.packet("Q", b"SELECT 1\0SELECT 2\0"),
            wire.packet("P", b"a\0SELECT 1"),
            wire.packet("P", b"a\0SELECT 1\0\0\1"),
            wire.packet("D", b"X\0"),
            wire.packet("C", b"S"),
            wire.packet("E", b"\0\0"),
            wire.packet("S", b"x"),
            wire.packet("H", b"x"),
        )
        bad_binds = (
            wire.packet("B", b"\0\0\0"),
            wire.packet("B", b"\0\0\0\0\0\1\0\0\0\xff\0\0"),
            wire.packet("B", b"\0\0\0\0\0\0\0\0\0"),
        )
        if self._rng.random() < 0.2:
            # PostgreSQL looks the statement up before it reads on; the gateway never forwards a message that is not whole.
            return Step(self._rng.choice(bad_binds), wire.packet("P", b"\0"))
        return same(self._rng.choice(bad))
