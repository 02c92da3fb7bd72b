"""Limits of what may be read, and of which tables, through real drivers: what the client gets, and in what state PostgreSQL is."""

import asyncio
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg import errors
from psycopg.pq import TransactionStatus

from gateway.access_mode import AccessMode
from gateway.bus.gateway import BusGateway
from tests.support.gateway import Person, RunningGateway
from tests.support.upstream import Database, Login, Upstream, fresh_database

ROWS = 100
PSQL = shutil.which("psql")
FEW = f"SELECT k FROM many WHERE k <= {ROWS} ORDER BY k"
MANY = "SELECT k FROM many ORDER BY k"
#: Far more than one network buffer, and slow enough for the cancel to find it at work.
ENDLESS = "SELECT a.k, repeat('x', 1000) FROM many a, many b, many c"


@dataclass
class Shop:
    gateway: RunningGateway
    database: Database
    person: Person
    target: str
    admin: "psycopg.Connection[Any]"
    mode: AccessMode

    @property
    def dbname(self) -> str:
        return f"{self.target}:rw" if self.mode is AccessMode.READ_WRITE else self.target

    def client(self, **more: Any) -> "psycopg.Connection[Any]":
        return self.gateway.client(self.person, self.dbname, **more)

    def changed(self) -> int:
        row = self.admin.execute("SELECT sum(qty) FROM items").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(scope="module")
def stock(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Database]:
    with fresh_database(postgres, upstream_logins) as fresh:
        admin = fresh.superuser()
        admin.execute("CREATE TABLE many AS SELECT k FROM generate_series(1, 1000) k")
        admin.execute("CREATE TABLE items AS SELECT k AS id, 0 AS qty FROM generate_series(1, 200) k")
        admin.execute("CREATE TABLE secret AS SELECT 'hidden' AS word")
        admin.execute("CREATE VIEW told AS SELECT length(word) FROM secret")
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO app_ro, app_rw")
        admin.execute("GRANT INSERT, UPDATE, DELETE ON items TO app_rw")
        yield fresh


@pytest.fixture(scope="module")
def shops(gateway: RunningGateway, stock: Database) -> dict[AccessMode, Shop]:
    """At most so many rows, for a reader and a writer."""
    admin = stock.superuser()
    return {
        mode: Shop(gateway, stock, *gateway.analyst(stock, mode, max_rows=ROWS), admin, mode)
        for mode in (AccessMode.READ_ONLY, AccessMode.READ_WRITE)
    }


@pytest.fixture(params=list(AccessMode))
def shop(shops: dict[AccessMode, Shop], request: pytest.FixtureRequest) -> Iterator[Shop]:
    yield shops[request.param]
    shops[request.param].gateway.close_clients()


@pytest.fixture
def writer(shops: dict[AccessMode, Shop]) -> Iterator[Shop]:
    yield shops[AccessMode.READ_WRITE]
    shops[AccessMode.READ_WRITE].gateway.close_clients()


def said(error: Exception) -> bool:
    return isinstance(error, errors.ProgramLimitExceeded) and f"{ROWS} rows" in str(error) and "(rule max-rows)" in str(error)


@pytest.mark.parametrize("how", ["simple", "extended", "prepared", "binary"])
def test_a_session_goes_on_behind_a_cut(shop: Shop, how: str) -> None:
    connection = shop.client()
    cursor = psycopg.ClientCursor(connection) if how == "simple" else connection.cursor()
    options: dict[str, Any] = {"prepare": True} if how == "prepared" else {"binary": True} if how == "binary" else {}
    for turn in range(3):
        assert len(cursor.execute(FEW, **options).fetchall()) == ROWS
        with pytest.raises(errors.ProgramLimitExceeded) as caught:
            cursor.execute(ENDLESS if turn == 1 else MANY, **options)
        assert said(caught.value)
        assert connection.info.transaction_status is TransactionStatus.IDLE
        assert cursor.execute("SELECT 1").fetchone() == (1,)


def test_a_block_is_failed(shop: Shop) -> None:
    connection = shop.client(autocommit=False)
    for text in (MANY, ENDLESS):
        connection.execute("SELECT 1")
        with pytest.raises(errors.ProgramLimitExceeded):
            connection.execute(text)
        assert connection.info.transaction_status is TransactionStatus.INERROR
        with pytest.raises(errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.rollback()
    connection.execute("SELECT 1")
    connection.execute("SAVEPOINT here")
    with pytest.raises(errors.ProgramLimitExceeded):
        connection.execute(MANY)
    connection.execute("ROLLBACK TO SAVEPOINT here")
    assert connection.execute("SELECT 2").fetchone() == (2,)
    connection.commit()


def test_the_cancel_hits_nothing_else(shop: Shop) -> None:
    """What follows at once is never the one that is cancelled."""
    connection = shop.client()
    cursor = psycopg.ClientCursor(connection)
    for turn in range(40):
        with pytest.raises(errors.ProgramLimitExceeded):
            cursor.execute(MANY)
        assert cursor.execute(f"SELECT {turn}, count(*) FROM generate_series(1, 20000)").fetchone() == (turn, 20000)


def test_a_pipeline(shop: Shop) -> None:
    connection = shop.client()
    with connection.pipeline() as pipeline:
        first = connection.execute("SELECT 1")
        second = connection.execute(MANY)
        third = connection.execute("SELECT 3")
        with pytest.raises(psycopg.Error):
            pipeline.sync()
        fourth = connection.execute("SELECT 4")
        pipeline.sync()
        assert first.fetchone() == (1,)
        assert fourth.fetchone() == (4,)
    del second, third


def test_fetch_sizes(shop: Shop) -> None:
    """A SQL cursor's FETCH counts for itself; what is streamed is one statement."""
    connection = shop.client(autocommit=False)
    with connection.cursor("c") as cursor:
        cursor.itersize = 50
        assert len(list(cursor.execute(MANY))) == 1000
        cursor.execute(MANY)
        with pytest.raises(errors.ProgramLimitExceeded):
            cursor.fetchall()
    connection.rollback()
    connection.autocommit = True
    rows = connection.cursor().stream(MANY)
    assert [next(rows) for _ in range(ROWS)]
    with pytest.raises(errors.ProgramLimitExceeded):
        next(rows)


def _copied(connection: "psycopg.Connection[Any]", text: str) -> Iterator[tuple[Any, ...]]:
    with connection.cursor().copy(text) as copy:
        yield from copy.rows()


def test_copy(shop: Shop) -> None:
    connection = shop.client()
    for text in ("COPY many TO STDOUT", f"COPY ({ENDLESS}) TO STDOUT"):
        copied = _copied(connection, text)
        assert all(next(copied) for _ in range(ROWS))
        with pytest.raises(errors.ProgramLimitExceeded) as caught:
            next(copied)
        assert said(caught.value)
        assert connection.info.transaction_status is TransactionStatus.IDLE
    with connection.cursor().copy(f"COPY (SELECT k FROM many LIMIT {ROWS}) TO STDOUT") as copy:
        assert len(list(copy.rows())) == ROWS


def test_bytes_of_a_statement(gateway: RunningGateway, stock: Database) -> None:
    """Whole rows, as many as fit; a COPY's, too."""
    person, target = gateway.analyst(stock, max_bytes=10_000)
    connection = gateway.client(person, target)
    for turn in range(2):
        assert connection.execute(f"SELECT repeat('x', 1000) FROM many LIMIT {8 + turn}").fetchall()
        with pytest.raises(errors.ProgramLimitExceeded, match="max-bytes"):
            connection.execute("SELECT repeat('x', 1000) FROM many")
        copied: list[tuple[Any, ...]] = []
        with pytest.raises(errors.ProgramLimitExceeded, match="max-bytes"):
            copied.extend(_copied(connection, "COPY (SELECT repeat('x', 999) FROM many) TO STDOUT"))
        assert 8_000 < sum(len(row[0]) for row in copied) <= 10_000
    assert connection.execute("SELECT 1").fetchone() == (1,)
    connection.close()


def test_what_a_cut_statement_changed_is_rolled_back(writer: Shop) -> None:
    connection = writer.client()
    before = writer.changed()
    with pytest.raises(errors.ProgramLimitExceeded):
        connection.execute("UPDATE items SET qty = qty + 1 WHERE true RETURNING id")
    assert writer.changed() == before
    connection.execute("UPDATE items SET qty = qty + 1 WHERE id <= 100 RETURNING id")
    assert writer.changed() == before + 100
    with connection.cursor().copy("COPY items (id, qty) FROM STDIN") as copy:  # what is sent is not limited
        for number in range(300):
            copy.write_row((1000 + number, 0))
    connection.execute("DELETE FROM items WHERE id >= 1000")
    connection.execute("UPDATE items SET qty = 0 WHERE true")


def test_several_statements(shops: dict[AccessMode, Shop]) -> None:
    connection = shops[AccessMode.READ_ONLY].client()
    cursor = psycopg.ClientCursor(connection)
    cursor.execute(f"{FEW}; {FEW}")
    assert len(cursor.fetchall()) == ROWS
    for text in (f"{FEW}; {MANY}; SELECT 1", f"{ENDLESS}; SELECT 1"):
        with pytest.raises(errors.ProgramLimitExceeded):
            cursor.execute(text)
        assert connection.info.transaction_status is TransactionStatus.IDLE
    with pytest.raises(errors.ProgramLimitExceeded):
        cursor.execute(f"BEGIN; {MANY}")
    assert connection.info.transaction_status is TransactionStatus.INERROR
    cursor.execute("ROLLBACK")
    with pytest.raises(errors.ProgramLimitExceeded):
        cursor.execute(f"BEGIN; SELECT 1; {MANY}; SELECT 2")
    assert connection.info.transaction_status is TransactionStatus.INERROR
    shops[AccessMode.READ_ONLY].gateway.close_clients()


async def _in_portions(connection: "asyncpg.Connection", found: list[object]) -> None:
    async with connection.transaction():
        async for record in connection.cursor(MANY, prefetch=30):  # one portal
            found.append(record)


async def test_asyncpg(shop: Shop) -> None:
    place = shop.gateway.parameters(shop.person, shop.dbname)
    tls = ssl.create_default_context(cafile=str(shop.gateway.ca_file))
    connection = await asyncpg.connect(
        host=place["host"], port=place["port"], user=place["user"], password=place["password"], database=shop.dbname, ssl=tls
    )
    try:
        assert len(await connection.fetch(FEW)) == ROWS
        for text in (MANY, ENDLESS):
            with pytest.raises(asyncpg.ProgramLimitExceededError):
                await connection.fetch(text)
            assert await connection.fetchval("SELECT 1") == 1
        async with connection.transaction():
            found: list[object] = []
            with pytest.raises(asyncpg.ProgramLimitExceededError):
                await _in_portions(connection, found)
            assert len(found) == 90  # the fourth portion was cut
        assert await connection.fetchval("SELECT 1") == 1
    finally:
        await connection.close()


@pytest.mark.skipif(PSQL is None, reason="psql is not installed")
def test_psql(shop: Shop) -> None:
    place = shop.gateway.parameters(shop.person, shop.dbname)
    wanted = ("host", "port", "user", "password", "dbname", "sslmode", "sslrootcert")
    url = " ".join(f"{key}='{value}'" for key, value in place.items() if key in wanted)
    script = f"{MANY};\n\\copy many TO STDOUT\nBEGIN;\n{MANY};\nSELECT 'skipped';\nROLLBACK;\nSELECT 'goes on';\n"
    ran = subprocess.run(
        [str(PSQL), "-X", "-A", "-t", url], input=script, capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.stderr.count("rule max-rows") == 3
    assert "HINT:  What you have read is not all of it." in ran.stderr
    assert "current transaction is aborted" in ran.stderr
    assert ran.stdout.rstrip().endswith("goes on")
    assert "skipped" not in ran.stdout


def test_it_is_told(shops: dict[AccessMode, Shop]) -> None:
    shop = shops[AccessMode.READ_ONLY]
    with shop.client() as connection, pytest.raises(errors.ProgramLimitExceeded):
        connection.execute(MANY)
    cut = shop.gateway.wait_for_event(event="cut", user=shop.person.name)
    assert (cut["rule"], cut["rows"], cut["limit"]) == ("max-rows", ROWS, ROWS)


def test_a_session_s_limits_are_listed(gateway: RunningGateway, stock: Database) -> None:
    terms = {"max_rows": 7, "max_bytes": 2**20, "max_bytes_per_day": 2**40, "max_sessions": 3, "statement_timeout_ms": 5000}
    person, target = gateway.analyst(stock, **terms, tables=frozenset({'public."Many"', "public.many"}))
    with gateway.client(person, target):
        listed = asyncio.run(BusGateway(gateway.state_dir / "bus.sock").sessions())
        (found,) = [asdict(each) for each in listed if each.user == person.name]
    assert {name: found[name] for name in terms} == terms
    assert (found["idle_timeout_seconds"], found["schemas"]) == (None, ())
    assert found["tables"] == ('public."Many"', "public.many")


def _refused(connection: "psycopg.Connection[Any]", text: str) -> str:
    try:
        connection.execute(text)
    except errors.ProgramLimitExceeded as error:
        return str(error)
    return ""


def test_bytes_of_a_day_over_all_workers(gateway: RunningGateway, stock: Database) -> None:
    person, target = gateway.analyst(stock, max_bytes_per_day=1_000_000)
    half = "SELECT repeat('x', 1000) FROM generate_series(1, 450)"
    first = gateway.client(person, target)
    first.execute(half)
    time.sleep(1.5)  # told each second
    for _ in range(4):  # whichever worker it is
        with gateway.client(person, target) as other:
            time.sleep(0.3)
            assert other.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(errors.ProgramLimitExceeded, match="a day, which are used up"):
        first.execute("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")
    time.sleep(1.5)
    for connection in (first, gateway.client(person, target)):
        deadline = time.monotonic() + 5
        while not (found := _refused(connection, "SELECT repeat('x', 5000)")):  # until this worker knows
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert "00:00 UTC" in found
        connection.execute("BEGIN")
        connection.execute("ROLLBACK")
    gateway.close_clients()


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(AccessMode))
def test_tables(gateway: RunningGateway, stock: Database, mode: AccessMode) -> None:
    person, target = gateway.analyst(stock, mode, tables=frozenset({"public.many", "public.told"}))
    suffix = ":rw" if mode is AccessMode.READ_WRITE else ""
    with gateway.client(person, f"{target}{suffix}") as connection:
        assert connection.execute("SELECT count(*) FROM public.many").fetchone() == (1000,)
        assert connection.execute("SELECT * FROM public.told").fetchone() == (6,)
        if mode is AccessMode.READ_ONLY:  # the schema named after the login does not exist
            assert connection.execute("SELECT count(*) FROM many").fetchone() == (1000,)
        for sql in ("SELECT * FROM public.secret", "COPY public.secret TO STDOUT", "SELECT * FROM items"):
            with pytest.raises(errors.InsufficientPrivilege, match="table-not-granted"):
                connection.execute(sql)
        gateway.grant(person, target, mode, tables=frozenset({"public.secret"}))
        deadline = time.monotonic() + 5
        while True:  # the live session follows: its old grant is gone, and the new one opens something else
            try:
                assert connection.execute("SELECT * FROM public.secret").fetchone() == ("hidden",)
                break
            except errors.InsufficientPrivilege:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT count(*) FROM public.many")
