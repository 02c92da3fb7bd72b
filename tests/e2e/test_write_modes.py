"""What a grant takes from read-write sessions, through real drivers: a statement over the ceiling never has effect.

The judge is a direct connection that looks at the rows.
"""

import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg import errors

from gateway.access_mode import AccessMode, GrantOption
from tests.support import wire
from tests.support.gateway import Person, RunningGateway
from tests.support.oracle import Twins
from tests.support.upstream import Database, Login, Upstream, fresh_database
from tests.support.wire import FLUSH, SYNC, bind, describe, execute, extended, parse, query

CEILING = 3
ROWS = 10
OVER = "UPDATE items SET qty = qty + 1 WHERE true"
UNDER = "UPDATE items SET qty = qty + 1 WHERE id <= 3"
PSQL = shutil.which("psql")


@dataclass
class Shop:
    """A table of ten items with quantity 0, and somebody who may change three of them at a time."""

    gateway: RunningGateway
    database: Database
    person: Person
    target: str
    admin: "psycopg.Connection[Any]"

    @property
    def twins(self) -> Twins:
        return Twins(self.gateway, self.database, self.person, self.target, AccessMode.READ_WRITE)

    def client(self, **more: Any) -> "psycopg.Connection[Any]":
        return self.gateway.client(self.person, f"{self.target}:rw", **more)

    def changed(self) -> int:
        """How often a quantity was raised."""
        row = self.admin.execute("SELECT coalesce(sum(qty), 0), count(*) FROM items").fetchone()
        assert row is not None
        assert row[1] == ROWS
        return int(row[0])

    def grant(self, *options: GrantOption, max_changed_rows: int | None = None) -> None:
        self.gateway.grant(self.person, self.target, AccessMode.READ_WRITE, *options, max_changed_rows=max_changed_rows)
        time.sleep(0.3)  # the workers' next look at the store


@pytest.fixture(scope="module")
def stock(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Database]:
    with fresh_database(postgres, upstream_logins) as fresh:
        admin = fresh.superuser()
        admin.execute("CREATE TABLE items (id int PRIMARY KEY, qty int NOT NULL)")
        admin.execute("CREATE TABLE parts (id int PRIMARY KEY, item int REFERENCES items DEFERRABLE INITIALLY DEFERRED)")
        admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON items, parts TO app_rw")
        admin.execute(f"GRANT TEMP ON DATABASE {fresh.name} TO app_rw")
        yield fresh


@pytest.fixture
def shop(gateway: RunningGateway, stock: Database) -> Iterator[Shop]:
    admin = stock.superuser()
    admin.execute("TRUNCATE items, parts")
    admin.execute(f"INSERT INTO items SELECT k, 0 FROM generate_series(1, {ROWS}) k")
    person, target = gateway.analyst(stock, AccessMode.READ_WRITE, max_changed_rows=CEILING)
    yield Shop(gateway, stock, person, target, admin)
    gateway.close_clients()


def is_ceiling(error: Exception) -> bool:
    return isinstance(error, errors.ProgramLimitExceeded) and f"{ROWS} rows" in str(error) and str(CEILING) in str(error)


# -- psycopg -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["simple", "extended", "prepared", "binary"])
def test_autocommit(shop: Shop, how: str) -> None:
    """At the ceiling it is committed when the client reads its tag; over it nothing is."""
    connection = shop.client()
    cursor = psycopg.ClientCursor(connection) if how == "simple" else connection.cursor()
    options: dict[str, Any] = {"prepare": True} if how == "prepared" else {"binary": True} if how == "binary" else {}
    parameters = None if how == "simple" else (ROWS,)
    over = OVER if parameters is None else "UPDATE items SET qty = qty + 1 WHERE id <= %s"
    for turn in range(1, 4):
        cursor.execute(UNDER, **options)
        assert cursor.rowcount == 3
        assert shop.changed() == 3 * turn
        with pytest.raises(errors.ProgramLimitExceeded) as caught:
            cursor.execute(over, parameters, **options)
        assert is_ceiling(caught.value)
        assert "row-ceiling" in str(caught.value)
        assert shop.changed() == 3 * turn
    assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


def test_a_transaction_fails_as_after_any_error(shop: Shop) -> None:
    connection = shop.client(autocommit=False)
    connection.execute(UNDER)
    with pytest.raises(errors.ProgramLimitExceeded):
        connection.execute(OVER)
    assert connection.info.transaction_status is psycopg.pq.TransactionStatus.INERROR
    with pytest.raises(errors.InFailedSqlTransaction):
        connection.execute(UNDER)
    connection.commit()  # PostgreSQL answers ROLLBACK
    assert shop.changed() == 0


def test_a_savepoint_undoes_it(shop: Shop) -> None:
    connection = shop.client(autocommit=False)
    connection.execute(UNDER)
    with pytest.raises(errors.ProgramLimitExceeded), connection.transaction():
        connection.execute(OVER)
    connection.execute("UPDATE items SET qty = qty + 1 WHERE id = 9")
    connection.commit()
    assert shop.changed() == 4


def test_pipeline_mode(shop: Shop) -> None:
    """One over the ceiling takes its implicit transaction along, and nothing of the next one."""
    connection = shop.client()

    def run(*texts: str) -> None:
        with connection.pipeline():
            for text in texts:
                connection.execute(text)

    with pytest.raises(errors.ProgramLimitExceeded):
        run(UNDER, OVER, UNDER)
    assert shop.changed() == 0
    with connection.pipeline() as pipeline:
        cursors = [connection.execute(UNDER) for _ in range(20)]
        pipeline.sync()
        assert [cursor.rowcount for cursor in cursors] == [3] * 20
        connection.execute("SELECT 1")
    assert shop.changed() == 60


def test_executemany_counts_each(shop: Shop) -> None:
    connection = shop.client()
    cursor = connection.cursor()
    cursor.executemany("UPDATE items SET qty = qty + 1 WHERE id = %s", [(k,) for k in range(1, 9)])
    assert shop.changed() == 8
    with pytest.raises(errors.ProgramLimitExceeded):
        cursor.executemany("UPDATE items SET qty = qty + 1 WHERE id <= %s", [(1,), (ROWS,), (2,)])
    assert shop.changed() == 8


def test_returning_and_merge(shop: Shop) -> None:
    connection = shop.client()
    rows = connection.execute("UPDATE items SET qty = qty + 1 WHERE id <= 3 RETURNING id").fetchall()
    assert sorted(rows) == [(1,), (2,), (3,)]
    with pytest.raises(errors.ProgramLimitExceeded):
        connection.execute("UPDATE items SET qty = qty + 1 WHERE true RETURNING repeat('x', 100000)").fetchall()
    with pytest.raises(errors.ProgramLimitExceeded):
        connection.execute("INSERT INTO parts SELECT k FROM generate_series(1, 5) k")
    with pytest.raises(errors.ProgramLimitExceeded):
        connection.execute("DELETE FROM items WHERE true")
    if shop.database.upstream.major >= 15:
        merge = "MERGE INTO items USING generate_series(1, {}) k ON id = k WHEN MATCHED THEN UPDATE SET qty = qty + 1"
        connection.execute(merge.format(2))
        with pytest.raises(errors.ProgramLimitExceeded):
            connection.execute(merge.format(4))
        assert shop.changed() == 5
    else:
        assert shop.changed() == 3


@pytest.mark.parametrize(
    "sql",
    [
        "WITH w AS (UPDATE items SET qty = 1 WHERE true RETURNING 1) SELECT count(*) FROM w",
        "EXPLAIN ANALYZE UPDATE items SET qty = 1 WHERE true",
        "DO $$ BEGIN UPDATE items SET qty = 1; END $$",
        "SELECT 1; UPDATE items SET qty = 1 WHERE true",
        "UPDATE items SET qty = 1 WHERE true; COMMIT",
        "TRUNCATE parts",
    ],
)
def test_what_nobody_could_count_is_refused(shop: Shop, sql: str) -> None:
    with pytest.raises((errors.ProgramLimitExceeded, errors.InsufficientPrivilege)):
        psycopg.ClientCursor(shop.client()).execute(sql)
    assert shop.changed() == 0


def test_what_sql_prepared(shop: Shop) -> None:
    connection = shop.client()
    cursor = psycopg.ClientCursor(connection)
    cursor.execute("PREPARE up(int) AS UPDATE items SET qty = qty + 1 WHERE id <= $1")
    cursor.execute("EXECUTE up(3)")
    assert shop.changed() == 3
    with pytest.raises(errors.ProgramLimitExceeded):
        cursor.execute("EXECUTE up(10)")
    assert shop.changed() == 3


def test_a_deferred_constraint_fails_as_upstream_does(shop: Shop) -> None:
    """No success is told before: one error, and nothing of it is there."""
    with shop.twins.through() as client:
        answer = client.ask(query("INSERT INTO parts VALUES (1, 99)"))
        assert wire.shape(answer) == "EZ"
        assert answer[0].sqlstate == "23503"
        answer = client.ask(extended("INSERT INTO parts VALUES (1, 99)"), SYNC)
        assert wire.shape(answer) == "12CEZ"
    assert shop.admin.execute("SELECT count(*) FROM parts").fetchone() == (0,)


# -- the wire ----------------------------------------------------------------------------------------------------------


def test_portions(shop: Shop) -> None:
    """A row limit does not hide what was changed; without RETURNING there is no limit to it (JDBC always sends one)."""
    with shop.twins.through() as client:
        answer = client.ask(parse(UNDER), bind(), execute(rows=1), SYNC)
        assert wire.shape(answer) == "12CZ"
        answer = client.ask(parse(f"{UNDER} RETURNING id"), bind(), execute(rows=2), SYNC)
        assert wire.shape(answer) == "12DDEZ"
        assert answer[-2].sqlstate == "54000"
        answer = client.ask(parse(f"{UNDER} RETURNING id"), bind(), execute(rows=4), SYNC)
        assert wire.shape(answer) == "12DDDCZ"
        answer = client.ask(query("BEGIN"))
        client.send(parse(f"{OVER} RETURNING id"), bind(portal="p"), execute("p", 1), FLUSH)
        assert client.until("E")[-1].sqlstate == "54000"
        client.send(execute("p", 0), SYNC)
        assert wire.shape(client.until("Z")) == "Z"
        client.ask(query("COMMIT"))
    assert shop.changed() == 6


def test_a_completed_portal_again(shop: Shop) -> None:
    with shop.twins.through() as client:
        client.ask(query("BEGIN"))
        answer = client.ask(parse(UNDER), bind(portal="p"), execute("p"), execute("p"), SYNC)
        assert wire.shape(answer) == "12CEZ"
        client.ask(query("ROLLBACK"))
        client.ask(query("BEGIN"))
        answer = client.ask(parse(f"{UNDER} RETURNING id"), bind(portal="p"), execute("p"), execute("p"), SYNC, query("COMMIT"))
        assert wire.shape(answer).startswith("12DDDCC")
        client.until("Z")
    assert shop.changed() == 3


def test_replies_come_without_a_sync(shop: Shop) -> None:
    """A client that waits for them before it goes on."""
    with shop.twins.through() as client:
        client.send(parse(UNDER), describe("S"), bind(), execute())
        assert wire.shape(client.until("C")) == "1tn2C"
        assert shop.changed() == 0  # not committed yet
        client.ask(SYNC)
        assert shop.changed() == 3


def test_a_query_looks_as_upstream_sends_it(shop: Shop) -> None:
    """Rows, notices, errors with their places, the status: as if nothing stood between."""
    twins = shop.twins
    texts = (
        UNDER,
        f"{UNDER} RETURNING id, qty",
        "UPDATE items SET qty = nothing WHERE true",
        "INSERT INTO items VALUES (1, 1)",
    )
    with twins.direct() as direct, twins.through() as through:
        for sql in texts:
            told = [[(m.kind, m.body) for m in client.ask(query(sql))] for client in (direct, through)]
            if "nothing" in sql or "RETURNING" not in sql:
                assert told[0] == told[1]
            assert [kind for kind, _ in told[0]] == [kind for kind, _ in told[1]]


def test_what_a_query_with_parameters_leaves_behind_cannot_be_bound(shop: Shop) -> None:
    with shop.twins.through() as client:
        client.ask(parse("SELECT $1::int"), SYNC)
        assert client.ask(query("UPDATE items SET qty = qty + 1 WHERE id <= $1"))[0].kind == "E"
        for _ in range(2):
            answer = client.ask(bind(values=[b"10"]), execute(), SYNC)
            assert answer[0].sqlstate == "26000"
    assert shop.changed() == 0


def test_replies_that_also_tell_of_ddl_let_go_of_what_waits(shop: Shop) -> None:
    """Nothing more comes from upstream after them."""
    with shop.twins.through() as client:
        client.send(extended("CREATE TEMP TABLE x (k int)"), SYNC, query(UNDER))
        assert wire.shape(client.until("Z") + client.until("Z")) == "12CZCZ"
    assert shop.changed() == 3


def test_a_text_that_is_judged_elsewhere(shop: Shop) -> None:
    long = f"{OVER} /* {'x' * 300_000} */"
    with pytest.raises(errors.ProgramLimitExceeded):
        shop.client().execute(long)
    assert shop.changed() == 0


# -- while it runs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def locked(shop: Shop) -> Iterator["psycopg.Connection[Any]"]:
    """Somebody holds a row that the next update wants."""
    other = shop.database.upstream.connect(shop.database.name)
    other.autocommit = False
    other.execute("SELECT 1 FROM items WHERE id = 1 FOR UPDATE")
    yield other
    other.close()


def wait_for_lock(shop: Shop) -> None:
    deadline = time.monotonic() + 5
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while shop.admin.execute(waiting).fetchone() == (0,):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_end(shop: Shop) -> None:
    deadline = time.monotonic() + 5
    theirs = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_rw' AND datname = current_database()"
    while shop.admin.execute(theirs).fetchone() != (0,):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("text", [UNDER, OVER], ids=["under", "over"])
def test_a_cancel_while_it_waits(shop: Shop, locked: "psycopg.Connection[Any]", text: str) -> None:
    connection = shop.client()
    canceller = threading.Thread(target=lambda: (wait_for_lock(shop), connection.cancel_safe()))
    canceller.start()
    with pytest.raises(errors.QueryCanceled):
        connection.execute(text)
    canceller.join()
    locked.rollback()
    assert shop.changed() == 0
    connection.execute(UNDER)
    assert shop.changed() == 3


@pytest.mark.parametrize("simple", [True, False])
def test_a_grant_that_is_revoked_while_it_waits(shop: Shop, locked: "psycopg.Connection[Any]", simple: bool) -> None:
    with shop.twins.through() as client:
        client.send(query(UNDER) + query(UNDER) if simple else extended(UNDER) + SYNC)
        wait_for_lock(shop)
        shop.gateway.revoke(shop.person, shop.target)
        assert client.until_eof()[-1].sqlstate == "57P01"
    locked.rollback()
    wait_for_end(shop)
    assert shop.changed() == 0


@pytest.mark.parametrize("simple", [True, False])
def test_a_client_that_vanishes_while_it_waits(shop: Shop, locked: "psycopg.Connection[Any]", simple: bool) -> None:
    client = shop.twins.through()
    client.send(query(UNDER) if simple else extended(UNDER) + SYNC)
    wait_for_lock(shop)
    client.reset()
    time.sleep(0.2)
    locked.rollback()
    wait_for_end(shop)
    assert shop.changed() == 0


# -- other grants ------------------------------------------------------------------------------------------------------


def test_a_ceiling_that_comes_counts_what_was_prepared(shop: Shop) -> None:
    shop.grant(GrantOption.UNFILTERED_WRITES)
    connection = shop.client()
    connection.execute("UPDATE items SET qty = qty + 1", prepare=True)
    connection.execute("PREPARE up AS UPDATE items SET qty = qty + 1")
    assert shop.changed() == 10
    shop.grant(GrantOption.UNFILTERED_WRITES, max_changed_rows=CEILING)
    with pytest.raises(errors.ProgramLimitExceeded):
        connection.execute("UPDATE items SET qty = qty + 1", prepare=True)
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute("EXECUTE up")  # what SQL prepared under another policy is not run
    assert shop.changed() == 10


def test_report_only(shop: Shop) -> None:
    """It runs, and the audit tells of it."""
    shop.grant(GrantOption.REPORT_ONLY, max_changed_rows=CEILING)
    connection = shop.client()
    connection.execute(OVER)
    psycopg.ClientCursor(connection).execute(f"{OVER}; SELECT 1")
    assert shop.changed() == 20
    told = shop.gateway.wait_for_event(event="row_ceiling_reported", user=shop.person.name)
    assert (told["rows"], told["ceiling"]) == (ROWS, CEILING)


def test_the_audit_tells_of_it(shop: Shop) -> None:
    connection = shop.client()
    with pytest.raises(errors.ProgramLimitExceeded):
        connection.execute(OVER)
    refused = shop.gateway.wait_for_event(event="refused", rule="row-ceiling", user=shop.person.name)
    assert (refused["rows"], refused["ceiling"], refused["sqlstate"]) == (ROWS, CEILING, "54000")
    end = shop.gateway.wait_for_event(event="statement_end", session=refused["session"], statement=refused["statement"])
    assert (end["outcome"], end["sqlstate"], end["rows"]) == ("error", "54000", ROWS)


# -- other clients -----------------------------------------------------------------------------------------------------


async def test_asyncpg(shop: Shop) -> None:
    gateway = shop.gateway
    context = ssl.create_default_context(cafile=str(gateway.ca_file))
    connection = await asyncpg.connect(
        host=gateway.host,
        port=gateway.port,
        user=shop.person.name,
        password=shop.person.password,
        database=f"{shop.target}:rw",
        ssl=context,
    )
    over = "UPDATE items SET qty = qty + 1 WHERE id <= $1"
    try:
        assert await connection.execute(UNDER) == "UPDATE 3"
        assert await connection.execute(over, 2) == "UPDATE 2"
        assert len(await connection.fetch(f"{over} RETURNING id", 1)) == 1
        assert shop.changed() == 6
        for attempt in (connection.execute(OVER), connection.execute(over, 9), connection.fetch(f"{over} RETURNING id", 9)):
            with pytest.raises(asyncpg.ProgramLimitExceededError):
                await attempt
        assert shop.changed() == 6
        with pytest.raises(asyncpg.ProgramLimitExceededError):
            await connection.executemany(over, [(1,), (9,), (1,)])
        assert shop.changed() == 6
        await connection.executemany(over, [(1,), (2,)])
        async with connection.transaction():
            await connection.execute(UNDER)
            with pytest.raises(asyncpg.ProgramLimitExceededError):
                async with connection.transaction():
                    await connection.execute(OVER)
        assert shop.changed() == 12
    finally:
        await connection.close()


@pytest.mark.skipif(PSQL is None, reason="psql is not installed")
def test_psql(shop: Shop) -> None:
    assert PSQL is not None
    gateway = shop.gateway
    place = f"host={gateway.host} port={gateway.port} user={shop.person.name} dbname={shop.target}:rw "
    place += f"sslmode=verify-full sslrootcert={gateway.ca_file}"
    block = f"BEGIN;\n{UNDER};\n{OVER};\nCOMMIT;\n"
    script = f"{UNDER};\n{OVER};\n{block}\\set ON_ERROR_ROLLBACK on\n{block}"
    ran = subprocess.run(
        [PSQL, "-X", place],
        input=script,
        env={"PGPASSWORD": shop.person.password, "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.stderr.count("row-ceiling") == 3
    assert ran.stdout.split() == ["UPDATE", "3", "BEGIN", "UPDATE", "3", "ROLLBACK", "BEGIN", "UPDATE", "3", "COMMIT"]
    assert shop.changed() == 6
