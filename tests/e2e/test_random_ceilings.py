"""Random scripts of writes under a row ceiling, against PostgreSQL with a trigger that raises where the gateway must.

Answers, their order, every ReadyForQuery's status and what is in the tables afterwards are the same: what stays under the ceiling
has its effect, and nothing over it ever has. `PGBASTION_SCRIPTS=2000` runs more of them, `PGBASTION_SEED=7` others.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

import psycopg
import pytest

from gateway.access_mode import AccessMode
from tests.e2e.test_random_scripts import FIRST_SEED, MESSAGES, ROUNDS, SCRIPTS, explain, run
from tests.support import wire
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.oracle import Step, Twins, blocked_parse, blocked_query, finish, same
from tests.support.upstream import Database, Login, Upstream, fresh_database

CEILING = 3
_COUNT = f"""
CREATE FUNCTION count_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT count(*) FROM changed) > {CEILING} THEN
    RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'too many (rule row-ceiling)';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER i AFTER INSERT ON scratch REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER u AFTER UPDATE ON scratch REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
CREATE TRIGGER d AFTER DELETE ON scratch REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
"""
_READS = (
    "SELECT 1",
    "SELECT k + 0 FROM scratch ORDER BY k %",
    "SELECT count(*) FROM scratch",
    "SELECT 1/0",
    "SELECT nothing",
    "",
)
_WRITES = (
    "INSERT INTO scratch VALUES (1)",
    "INSERT INTO scratch SELECT k FROM generate_series(1, 2) k %",
    "INSERT INTO scratch SELECT k FROM generate_series(1, 3) k",
    "INSERT INTO scratch SELECT k FROM generate_series(1, 4) k %",
    "INSERT INTO scratch SELECT k FROM generate_series(1, 9) k",
    "UPDATE scratch SET k = k + 1 WHERE k < 3",
    "UPDATE scratch SET k = k + 1 WHERE true %",
    "UPDATE scratch SET k = 1 / (k - 2) WHERE true",
    "DELETE FROM scratch WHERE k > 4",
    "DELETE FROM scratch WHERE true",
)
_BOUND_WRITES = ("INSERT INTO scratch SELECT k FROM generate_series(1, $1::int) k %", "DELETE FROM scratch WHERE k = $1::int")
_CONTROL = (
    "BEGIN",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "SAVEPOINT s",
    "ROLLBACK TO SAVEPOINT s",
    "RELEASE SAVEPOINT s",
)
_SQL_NAMES = (
    "PREPARE x AS INSERT INTO scratch SELECT k FROM generate_series(1, 2) k",
    "PREPARE x AS DELETE FROM scratch WHERE true %",
    "PREPARE y AS SELECT count(*) FROM scratch",
    "EXECUTE x",
    "EXECUTE x",
    "EXECUTE y",
    "DEALLOCATE x",
)
_REFUSED = (
    "INSERT INTO scratch VALUES (1); SELECT 1",
    "BEGIN; DELETE FROM scratch WHERE true; COMMIT %",
    "WITH w AS (DELETE FROM scratch WHERE true RETURNING 1) SELECT count(*) FROM w",
    "EXPLAIN ANALYZE DELETE FROM scratch WHERE true",
    "DO 'BEGIN DELETE FROM scratch; END'",
    "TRUNCATE scratch",
    "COPY scratch FROM STDIN",
    "DELETE FROM scratch",
)


class Author:
    def __init__(self, rng: Random) -> None:
        self._rng = rng
        queries = _READS + _WRITES * 2 + _CONTROL * 2 + _SQL_NAMES
        parses = _READS + _WRITES * 2 + _BOUND_WRITES * 4 + _CONTROL
        statements, portals = ("", "", "a", "b", "x"), ("", "", "p")
        pick = rng.choice
        self._kinds = [
            (20, lambda: same(wire.query(self._text(queries)))),
            (4, lambda: blocked_query(self._text(_REFUSED))),
            (2, lambda: blocked_parse(self._text(_REFUSED), pick(statements))),
            (8, lambda: same(wire.parse(self._text(parses), pick(statements[:4])))),
            (10, lambda: same(wire.bind(pick(statements), pick(portals), self._values()))),
            (10, lambda: same(wire.execute(pick(portals), pick((0, 0, 0, 1, 2))))),
            (2, lambda: same(wire.describe(pick("SP"), pick(("", "a", "p"))))),
            (2, lambda: same(wire.close(pick("SP"), pick(("", "a", "p"))))),
            (8, lambda: same(wire.SYNC)),
            (3, lambda: same(wire.FLUSH)),
            (12, lambda: same(wire.extended(self._text(_READS + _WRITES + _CONTROL)), wire.SYNC)),
            (5, lambda: same(wire.extended(self._text(_WRITES)), wire.extended(self._text(_WRITES)), wire.SYNC)),
            (4, lambda: same(wire.extended(_BOUND_WRITES[0].replace("%", ""), pick((b"2", b"3", b"4", b"x"))), wire.SYNC)),
            (3, lambda: same(wire.extended(self._text(_WRITES)))),
        ]

    def round(self) -> list[Step]:
        weights = [weight for weight, _ in self._kinds]
        makers = [make for _, make in self._kinds]
        made = [make() for make in self._rng.choices(makers, weights, k=self._rng.randint(1, MESSAGES))]
        return [Step(step.gateway, step.direct, self._rng.choice((0, 0, 0, 0.0005, 0.003))) for step in made]

    def _text(self, of: tuple[str, ...]) -> str:
        return self._rng.choice(of).replace("%", f"/* {self._rng.getrandbits(32):x} {'x' * self._rng.choice((0, 400))} */")

    def _values(self) -> list[bytes | None]:
        return self._rng.choice(([], [], [], [b"1"], [b"2"], [b"5"], [None]))


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    """One that judges all but short texts in its other process, so that sessions are often on hold."""
    with running_gateway(
        throttle={"free_failures": 1_000_000, "user_delay_seconds": 0.0}, policy={"judge_inline_bytes": 300}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def databases(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[tuple[Database, Database]]:
    """One that the gateway leads to, one whose own triggers count."""
    with fresh_database(postgres, upstream_logins) as plain, fresh_database(postgres, upstream_logins) as counting:
        for each in (plain, counting):
            admin = each.superuser()
            admin.execute("CREATE TABLE scratch (k int)")
            admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON scratch TO app_rw")
        counting.superuser().execute(_COUNT)
        yield plain, counting


def rows(admin: "psycopg.Connection[Any]") -> list[int]:
    """What the script left in its table, which is emptied."""
    left = [row[0] for row in admin.execute("SELECT k FROM scratch ORDER BY k").fetchall()]
    admin.execute("TRUNCATE scratch")
    return left


def test_random_ceilings(gateway: RunningGateway, databases: tuple[Database, Database]) -> None:
    plain, counting = databases
    person, target = gateway.analyst(plain, AccessMode.READ_WRITE, max_changed_rows=CEILING)
    through = Twins(gateway, plain, person, target, AccessMode.READ_WRITE)
    direct = Twins(gateway, counting, person, target, AccessMode.READ_WRITE)
    plain_admin, counting_admin = plain.superuser(), counting.superuser()
    refused = 0
    for seed in range(FIRST_SEED, FIRST_SEED + SCRIPTS):
        rng = Random(f"ceilings {seed}")
        author = Author(rng)
        rounds = [[*author.round(), finish()] for _ in range(ROUNDS)]
        with direct.direct() as client:
            expected = [run(client, round_, None) for round_ in rounds]
        expected_rows = rows(counting_admin)
        with through.through() as client:
            found = [run(client, round_, rng) for round_ in rounds]
        if found != expected:
            pytest.fail(f"{explain(seed, rounds, found, expected)}\n{''.join(gateway.log[-20:])}", pytrace=False)
        assert rows(plain_admin) == expected_rows, f"seed {seed} left other rows"
        refused += sum(answer == ("E", "ERROR denied") for answers in found for answer in answers)
    assert refused > SCRIPTS // 2
