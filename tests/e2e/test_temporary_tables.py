"""Temporary tables in read-only sessions, upstream as a role that may write: they work, and nothing else is ever written.

The judge is a direct connection: whole state before and after, and what the transaction that made a table could do.
"""

import os
import random
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg import errors

from gateway.access_mode import AccessMode, GrantOption
from tests.support import wire
from tests.support.gateway import Person, RunningGateway
from tests.support.oracle import finish, play
from tests.support.truth import upstream_checksum
from tests.support.upstream import Database, Login, Upstream, fresh_database
from tests.support.wire import FLUSH, SYNC, Place, RawClient, bind, close, describe, execute, extended, parse, query

PSQL = shutil.which("psql")
CREATE = "CREATE TEMP TABLE t AS SELECT 1 AS a"
WRITE = "INSERT INTO accounts (owner) VALUES ('stolen')"
ROUNDS = int(os.environ.get("PGBASTION_SCRIPTS", "60"))


@dataclass
class Desk:
    """An analyst whose grant adds temporary tables, on a target whose read-only login could write."""

    gateway: RunningGateway
    database: Database
    person: Person
    target: str
    admin: "psycopg.Connection[Any]"

    @property
    def place(self) -> Place:
        return Place(self.gateway.host, self.gateway.port, self.gateway.ca_file)

    def raw(self) -> RawClient:
        return self.place.log_in(self.person.name, self.person.password, self.target)

    def client(self, **more: Any) -> "psycopg.Connection[Any]":
        return self.gateway.client(self.person, self.target, **more)


@pytest.fixture(scope="module")
def room(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Database]:
    with fresh_database(postgres, upstream_logins) as fresh:
        admin = fresh.superuser()
        admin.execute(f"GRANT TEMP ON DATABASE {fresh.name} TO app_rw")
        admin.execute("GRANT CREATE ON SCHEMA public TO app_rw")
        yield fresh


@pytest.fixture
def desk(gateway: RunningGateway, room: Database) -> Iterator[Desk]:
    """Nothing that outlives a session is changed in any test."""
    person, target = gateway.person(), gateway.target(room, modes=())
    gateway.login(target, AccessMode.READ_ONLY, room.app_rw.name, room.app_rw.password)
    gateway.grant(person, target, AccessMode.READ_ONLY, GrantOption.TEMPORARY_TABLES)
    gateway.settle(person, target)
    admin = room.superuser()
    before = upstream_checksum(admin)
    yield Desk(gateway, room, person, target, admin)
    gateway.close_clients()
    wait_for_end(admin)
    assert upstream_checksum(admin) == before


def wait_for_end(admin: "psycopg.Connection[Any]") -> None:
    deadline = time.monotonic() + 5
    theirs = (
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_rw' AND datname = current_database() "
        "AND application_name NOT LIKE 'pgbastion/%'"  # those that were opened ahead
    )
    while admin.execute(theirs).fetchone() != (0,):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_read_only(client: RawClient) -> bool:
    return client.value("SHOW transaction_read_only") == "on"


# -- what works --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["simple", "extended", "prepared"])
def test_made_filled_read_and_dropped(desk: Desk, how: str) -> None:
    connection = desk.client()
    cursor = psycopg.ClientCursor(connection) if how == "simple" else connection.cursor()
    more: dict[str, Any] = {"prepare": how == "prepared"}
    for _ in range(2):
        cursor.execute("CREATE TEMP TABLE t AS SELECT id, owner FROM accounts WHERE id <= %s", (5,), **more)
        assert cursor.rowcount == 5
        cursor.execute("INSERT INTO t VALUES (%s, 'mine')", (99,), **more)
        cursor.execute("UPDATE t SET owner = 'ours' WHERE id = 99", **more)
        cursor.execute("CREATE INDEX ON t (id)", **more)
        cursor.execute("ANALYZE t", **more)
        assert cursor.execute("SELECT owner FROM t WHERE id = %s", (99,), **more).fetchone() == ("ours",)
        cursor.execute("DELETE FROM pg_temp.t WHERE id < 3", **more)
        assert cursor.rowcount == 2
        cursor.execute("TRUNCATE t", **more)
        cursor.execute("DROP TABLE t", **more)
    cursor.execute("CREATE TEMPORARY TABLE u (k int PRIMARY KEY, v text)", **more)
    cursor.execute("SELECT 1 AS one INTO TEMP v", **more)
    with connection.transaction():
        cursor.execute("INSERT INTO u VALUES (1, 'x') ON CONFLICT (k) DO NOTHING", **more)
        cursor.execute("INSERT INTO v VALUES (2)", **more)
    assert cursor.execute("SELECT count(*) FROM u, v", **more).fetchone() == (2,)


def test_the_mode_is_lifted_for_it_alone(desk: Desk) -> None:
    with desk.raw() as client:
        assert is_read_only(client)
        client.ask(query("CREATE TEMP TABLE t AS SELECT current_setting('transaction_read_only') AS how"))
        assert client.value("SELECT how FROM t") == "off"
        assert is_read_only(client)
        answer = client.ask(extended("CREATE TEMP TABLE u AS SELECT current_setting('transaction_read_only') AS how"), SYNC)
        assert wire.shape(answer) == "12CZ"
        assert client.value("SELECT how FROM u") == "off"
        assert is_read_only(client)


def test_answers_are_upstreams_own(desk: Desk) -> None:
    """No warning of ours, and errors with their places."""
    with desk.raw() as client:
        assert wire.shape(client.ask(query(CREATE))) == "CZ"
        answer = client.ask(query(CREATE))
        assert wire.shape(answer) == "EZ"
        assert answer[0].sqlstate == "42P07"
        answer = client.ask(query("CREATE TEMP TABLE u AS SELECT nothing"))
        assert (answer[0].sqlstate, answer[0].fields["P"]) == ("42703", "31")
        answer = client.ask(query("CREATE TEMP TABLE IF NOT EXISTS t (k int)"))
        assert wire.shape(answer) == "NCZ"
        assert client.value("SELECT 'in step'") == "in step"


def test_pipeline_mode(desk: Desk) -> None:
    """It must be alone between two Syncs."""
    connection = desk.client()
    with connection.pipeline() as pipeline:
        connection.execute("SELECT 1")
        pipeline.sync()
        connection.execute(CREATE)
        pipeline.sync()
        assert connection.execute("SELECT a FROM t").fetchone() == (1,)

    def run(*texts: str) -> None:
        with connection.pipeline():
            for text in texts:
                connection.execute(text)

    for texts in (("SELECT 1", "CREATE TEMP TABLE u (k int)"), ("CREATE TEMP TABLE u (k int)", "SELECT 1")):
        with pytest.raises(errors.ReadOnlySqlTransaction):
            run(*texts)
        with pytest.raises(errors.UndefinedTable):
            connection.execute("SELECT FROM pg_temp.u")


def test_in_a_transaction_it_is_refused_with_a_hint(desk: Desk) -> None:
    connection = desk.client(autocommit=False)
    with pytest.raises(errors.ReadOnlySqlTransaction) as caught:
        connection.execute(CREATE)
    assert "temporary-table-in-transaction" in str(caught.value)
    assert "outside" in (caught.value.diag.message_hint or "")
    connection.rollback()
    connection.autocommit = True
    connection.execute(CREATE)


def test_copy_in(desk: Desk) -> None:
    connection = desk.client()
    connection.execute("CREATE TEMP TABLE t (k int, v text)")
    with connection.cursor().copy("COPY t FROM STDIN") as copy:
        for k in range(1000):
            copy.write_row((k, "x"))
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1000,)


async def test_asyncpg(desk: Desk) -> None:
    gateway, person = desk.gateway, desk.person
    context = ssl.create_default_context(cafile=str(gateway.ca_file))
    connection = await asyncpg.connect(
        host=gateway.host, port=gateway.port, user=person.name, password=person.password, database=desk.target, ssl=context
    )
    try:
        assert await connection.execute(CREATE) == "SELECT 1"
        for name in ("u", "v"):
            made = await connection.execute(f"CREATE TEMP TABLE {name} AS SELECT $1::int AS k, 'x'::text AS s", 7)
            assert made == "SELECT 1"
        await connection.executemany("INSERT INTO u VALUES ($1, $2)", [(1, "a"), (2, "b")])
        await connection.copy_records_to_table("v", records=[(8, "y"), (9, "z")], schema_name="pg_temp")
        assert await connection.fetchval("SELECT sum(k) FROM (SELECT k FROM u UNION ALL SELECT k FROM v) w") == 34
        again = await connection.prepare("CREATE TEMP TABLE IF NOT EXISTS w AS SELECT 1 AS k")
        await again.fetch()
        await again.fetch()
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with connection.transaction():
                await connection.execute("CREATE TEMP TABLE x (k int)")
    finally:
        await connection.close()


@pytest.mark.skipif(PSQL is None, reason="psql is not installed")
def test_psql(desk: Desk) -> None:
    assert PSQL is not None
    gateway = desk.gateway
    place = f"host={gateway.host} port={gateway.port} user={desk.person.name} dbname={desk.target} "
    place += f"sslmode=verify-full sslrootcert={gateway.ca_file}"
    script = "CREATE TEMP TABLE t (k int);\n\\copy t from stdin\n1\n2\n\\.\nSELECT sum(k) FROM t;\n\\d t\nDROP TABLE t;\n"
    ran = subprocess.run(
        [PSQL, "-X", "-A", "-t", place],
        input=script,
        env={"PGPASSWORD": desk.person.password, "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == ["CREATE TABLE", "COPY 2", "3", "k|integer|||", "DROP TABLE"]


# -- what must not -----------------------------------------------------------------------------------------------------


def test_only_its_own_tables(desk: Desk) -> None:
    connection, other = desk.client(), desk.client()
    for sql in (WRITE, "DROP TABLE accounts", "TRUNCATE accounts", "CREATE INDEX ON accounts (owner)", "DELETE FROM t"):
        with pytest.raises(errors.ReadOnlySqlTransaction):
            connection.execute(sql)
    other.execute(CREATE)
    with pytest.raises(errors.ReadOnlySqlTransaction):
        connection.execute("INSERT INTO t VALUES (1)")


@pytest.fixture
def late(desk: Desk) -> Iterator["psycopg.Connection[Any]"]:
    """A session with a temporary table `late`, whose name somebody gave to a table for good since; it must not change."""
    connection = desk.client()
    connection.execute("CREATE TEMP TABLE late AS SELECT 1 AS id")
    desk.admin.execute("CREATE TABLE public.late AS SELECT 7 AS id")
    desk.admin.execute("ALTER TABLE public.late OWNER TO app_rw")
    yield connection
    assert desk.admin.execute("SELECT id FROM public.late").fetchall() == [(7,)]
    assert desk.admin.execute("SELECT count(*) FROM pg_index WHERE indrelid = 'public.late'::regclass").fetchone() == (0,)
    desk.admin.execute("DROP TABLE public.late")


_LATE = ("INSERT INTO late VALUES (8)", "DELETE FROM late", "TRUNCATE late", "CREATE INDEX ON late (id)", "DROP TABLE late")


@pytest.mark.parametrize("away", ["DROP TABLE late", "DISCARD ALL", "DISCARD TEMP", "DROP TABLE pg_temp.late"])
def test_a_name_that_is_temporary_no_more(late: "psycopg.Connection[Any]", away: str) -> None:
    """It means nothing then, whatever else has that name."""
    late.execute(away)
    for sql in _LATE:
        with pytest.raises((errors.UndefinedTable, errors.InvalidSchemaName, errors.ReadOnlySqlTransaction)):
            late.execute(sql)


def test_a_search_path_that_puts_it_last(late: "psycopg.Connection[Any]") -> None:
    with suppress(psycopg.Error):
        late.execute("SET search_path = public, pg_temp")
    for sql in _LATE:
        late.execute(sql)


@pytest.mark.parametrize(
    "behind",
    [
        extended(WRITE),
        query(WRITE),
        query("SELECT 1"),
        bind("read") + execute(),
        bind("fill") + execute(),
        bind() + execute(),
        execute(),
        parse(CREATE, "again") + bind("again") + execute(),
    ],
)
@pytest.mark.parametrize("pause", [b"", FLUSH])
def test_nothing_else_in_its_transaction(desk: Desk, behind: bytes, pause: bytes) -> None:
    with desk.raw() as client:
        client.ask(query("CREATE TEMP TABLE mine (k int)"))
        client.ask(parse("SELECT count(*) FROM accounts", "read"), parse("INSERT INTO mine VALUES (1)", "fill"), SYNC)
        client.send(parse(CREATE, "s"), bind("s", "p"), execute("p"), pause)
        if pause:
            client.until("C")
        client.send(behind, SYNC)
        told = client.until("Z")
        assert [message.sqlstate for message in told if message.kind == "E"]
        client.quiet(0.1)
        assert is_read_only(client)
        assert client.value("SELECT count(*) FROM pg_tables WHERE tablename = 't'") == "0"  # rolled back as a whole
        client.ask(query(CREATE))


def test_cancels_at_any_moment(desk: Desk) -> None:
    """One that hits our SET LOCAL leaves it prepared under the empty name: nobody can bind that."""
    stop = threading.Event()
    hits = 0
    with desk.raw() as client:

        def cancel() -> None:
            while not stop.is_set():
                with suppress(OSError), desk.place.tcp() as other:
                    other.send(wire.cancel_request(client.process_id, client.key))
                time.sleep(0.0005)

        canceller = threading.Thread(target=cancel)
        canceller.start()
        try:
            for turn in range(150):
                group = (
                    extended(f"CREATE TEMP TABLE t{turn} (k int)") + SYNC
                    if turn % 2
                    else query(f"CREATE TEMP TABLE t{turn} (k int)")
                )
                told = client.ask(group)
                hits += any(message.sqlstate == "57014" for message in told)
                attack = client.ask(bind(), execute(), extended(WRITE), SYNC)
                error = next(message.sqlstate for message in attack if message.kind == "E")
                # Its own CREATE once more: the table is there, or it was cancelled and comes now, and then the write is refused.
                assert error in ("26000", "57014", "42P07", "25006")
        finally:
            stop.set()
            canceller.join()
        client.quiet(0.1)
        assert is_read_only(client)
    assert desk.admin.execute("SELECT count(*) FROM accounts WHERE owner = 'stolen'").fetchone() == (0,)


def test_a_grant_that_loses_the_option(desk: Desk) -> None:
    """The session goes on without: also for what it had prepared."""
    connection = desk.client()
    connection.execute("CREATE TEMP TABLE t (k int)")
    connection.execute("INSERT INTO t VALUES (1)", prepare=True)
    desk.gateway.grant(desk.person, desk.target, AccessMode.READ_ONLY)
    time.sleep(0.3)
    for sql in ("INSERT INTO t VALUES (1)", "CREATE TEMP TABLE u (k int)", "DROP TABLE t"):
        with pytest.raises(errors.ReadOnlySqlTransaction):
            connection.execute(sql, prepare=True)
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


_TEXTS = (
    CREATE,
    CREATE,
    "CREATE TEMP TABLE u (k int)",
    "DROP TABLE t",
    "TRUNCATE t",
    "INSERT INTO t VALUES (1)",
    "INSERT INTO u SELECT a FROM t",
    "DELETE FROM pg_temp.t",
    "SELECT count(*) FROM accounts",
    "SELECT current_setting('transaction_read_only')",
    "SELECT 1/0",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "PREPARE a AS SELECT 1",
    "EXECUTE a",
    "DEALLOCATE a",
    "DISCARD ALL",
    "COPY t FROM STDIN",
    WRITE,
    "TRUNCATE accounts",
    "SET LOCAL transaction_read_only = off",
)


def _step(rng: random.Random) -> bytes:
    text = rng.choice(_TEXTS)
    name, portal = rng.choice(("", "", "a", "b")), rng.choice(("", "", "p"))
    kinds = (
        (6, query(text)),
        (6, parse(text, name)),
        (6, bind(name, portal)),
        (6, execute(portal)),
        (6, extended(text) + SYNC),
        (2, extended(text)),
        (1, describe(*rng.choice((("S", name), ("P", portal))))),
        (1, close(*rng.choice((("S", name), ("P", portal))))),
        (5, SYNC),
        (2, FLUSH),
        (1, wire.COPY_DONE),
        (1, wire.copy_data(b"1\n")),
    )
    return rng.choices([data for _, data in kinds], [weight for weight, _ in kinds])[0]


def test_random_scripts_change_nothing(desk: Desk) -> None:
    """Whatever is sent, in whatever pieces: the session stays in step, and nothing but temporary tables is ever written."""
    first = int(os.environ.get("PGBASTION_SEED", "0"))
    made = 0
    for seed in range(first, first + ROUNDS):
        rng = random.Random(f"temporary {seed}")
        with desk.raw() as client:
            for _ in range(4):
                steps = [_step(rng) for _ in range(rng.randint(1, 14))] + [finish().gateway]
                whole = b"".join(steps)
                if rng.random() < 0.3:
                    cuts = [0, *sorted(rng.sample(range(1, len(whole)), 6)), len(whole)]
                    steps = [whole[a:b] for a, b in pairwise(cuts)]
                answers = play(client, steps, [rng.choice((0, 0, 0.002)) for _ in steps])
                if client.eof:
                    break  # upstream gave up: a message within a COPY
                assert answers[-1] == ("Z", "I"), (seed, steps, answers)
                made += sum(content in ("SELECT 1\0", "CREATE TABLE\0") for kind, content in answers if kind == "C")
                assert is_read_only(client)
    assert made > ROUNDS // 2
