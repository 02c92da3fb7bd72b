"""asyncpg: binary, prepared statements for everything, its own catalogue queries, a pool that resets."""

import asyncio
import datetime
import decimal
import io
import ssl
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.doors import ENDLESS, LARGE, LARGE_ROWS, Door

INSERT = "INSERT INTO scratch VALUES (1, 'asyncpg', 'no')"


def tls(door: Door) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(door.gateway.ca_file))


async def connect(door: Door) -> "asyncpg.Connection":
    return await asyncpg.connect(**door.place, database=door.dbname, ssl=tls(door))


@pytest.fixture
async def connection(reader: Door) -> AsyncIterator["asyncpg.Connection"]:
    made = await connect(reader)
    yield made
    await made.close()


async def test_by_url(reader: Door) -> None:
    """sslmode and sslrootcert as libpq writes them; direct TLS."""
    options = {"sslmode": "verify-full", "sslrootcert": str(reader.gateway.ca_file)}
    for url in (reader.url(**options), reader.url(**options, application_name="by url")):
        made = await asyncpg.connect(url)
        assert await made.fetchval("SELECT current_database()") == reader.database.name
        await made.close()
    context = tls(reader)
    context.set_alpn_protocols(["postgresql"])  # asyncpg leaves that to the caller; PostgreSQL 17 insists on it, too
    made = await asyncpg.connect(**reader.place, database=reader.dbname, ssl=context, direct_tls=True)
    assert await made.fetchval("SELECT 1") == 1
    await made.close()


async def test_every_type(connection: "asyncpg.Connection") -> None:
    """Enum, composite, domain, range and arrays of them: asyncpg asks the catalogue, with parameters of user types' OIDs."""
    row, empty = await connection.fetch("SELECT * FROM every_type ORDER BY id")
    assert row["words"] == "Grüße, 世界 🙂"
    assert row["amount"] == decimal.Decimal("12345678901234567890.0123456789")
    assert row["instant"] == datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=datetime.UTC)
    assert row["key"] == uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    assert row["bytes"] == b"\x00\xff\x10"
    assert row["feeling"] == "ok"
    assert tuple(row["home"]) == ('x "st", 1', 123)
    assert row["feelings"] == ["sad", "happy"]
    assert [tuple(home) for home in row["homes"]] == [("y", 1)]
    assert row["ages"] == asyncpg.Range(1, 5)
    assert row["above"] == 7
    assert set(list(empty.values())[1:]) == {None}


async def test_parameters_of_every_kind(connection: "asyncpg.Connection") -> None:
    text = (
        "SELECT $1::bool, $2::int8, $3::numeric, $4::text, $5::bytea, $6::date, $7::uuid, $8::int[], $9::timestamptz, $10::mood"
    )
    sent = (True, 2**40, decimal.Decimal("1.10"), "Grüße", b"\x00\xff", datetime.date(2024, 2, 29), uuid.uuid4(), [1, 2])
    sent += (datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC), "sad")
    assert tuple(await connection.fetchrow(text, *sent)) == sent
    assert await connection.fetchval("SELECT id FROM every_type WHERE feeling = $1", "ok") == 1


async def test_prepared_statements_and_cursors(connection: "asyncpg.Connection") -> None:
    prepared = await connection.prepare("SELECT $1::int * 2")
    assert [await prepared.fetchval(number) for number in range(5)] == [0, 2, 4, 6, 8]
    for number in range(200):  # more texts than asyncpg keeps prepared
        assert await connection.fetchval(f"SELECT {number} + $1::int", 1) == number + 1
    async with connection.transaction(readonly=True, isolation="repeatable_read"):
        assert len([row async for row in connection.cursor(LARGE, prefetch=1000)]) == LARGE_ROWS
        cursor = await connection.cursor("SELECT generate_series(1, 100)")
        await cursor.forward(10)
        assert (await cursor.fetchrow())[0] == 11


async def test_a_denial_and_what_comes_after(connection: "asyncpg.Connection", reader: Door) -> None:
    for statement, values in ((INSERT, ()), ("INSERT INTO scratch VALUES ($1, 'asyncpg')", (1,))):
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as refused:
            await connection.execute(statement, *values)
        assert refused.value.sqlstate == "25006"
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await connection.executemany("UPDATE scratch SET note = $1", [("a",), ("b",)])
    assert await connection.fetchval("SELECT 'still here'") == "still here"
    assert reader.scratch("asyncpg") == []


async def test_transactions(connection: "asyncpg.Connection") -> None:
    transaction = connection.transaction()
    await transaction.start()
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await connection.execute(INSERT)
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await connection.fetchval("SELECT 1")
    await transaction.rollback()
    async with connection.transaction():
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with connection.transaction():
                await connection.execute(INSERT)
        assert await connection.fetchval("SELECT 2") == 2


async def test_reset_and_pool(reader: Door) -> None:
    """A pool resets each connection with one batch of four statements."""
    async with asyncpg.create_pool(**reader.place, database=reader.dbname, ssl=tls(reader), min_size=1, max_size=2) as pool:
        for _ in range(3):
            async with pool.acquire() as borrowed:
                await borrowed.execute("SET statement_timeout = '7s'")
                assert await borrowed.fetchval("SHOW statement_timeout") == "7s"
            async with pool.acquire() as borrowed:
                assert await borrowed.fetchval("SHOW statement_timeout") == "0"
                assert (await borrowed.fetchval("SHOW application_name")).startswith(f"{reader.person.name}/")


async def test_large_result_and_copy_out(connection: "asyncpg.Connection") -> None:
    assert len(await connection.fetch(LARGE)) == LARGE_ROWS
    pieces: list[bytes] = []

    async def keep(piece: bytes) -> None:
        pieces.append(piece)

    assert await connection.copy_from_query("SELECT g FROM generate_series(1, $1) g", 3, output=keep) == "COPY 3"
    assert b"".join(pieces) == b"1\n2\n3\n"
    await connection.copy_from_table("people", schema_name="hr", output=keep, format="csv", header=True)
    assert b"".join(pieces).endswith(b"id,name,mood\n1,Ada,happy\n2,Bob,ok\n")


async def test_cancel_and_timeout(connection: "asyncpg.Connection") -> None:
    """Both send a cancel request; the connection is good afterwards."""
    with pytest.raises(TimeoutError):
        await connection.fetchval(ENDLESS, timeout=0.3)
    assert await connection.fetchval("SELECT 1") == 1
    task = asyncio.create_task(connection.fetchval(ENDLESS))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await connection.fetchval("SELECT 2") == 2


async def test_introspection_is_what_it_is_directly(connection: "asyncpg.Connection", reader: Door) -> None:
    statement = await connection.prepare("SELECT * FROM every_type WHERE id = $1")
    login, upstream = reader.database.app_ro, reader.database.upstream
    direct = await asyncpg.connect(
        host=upstream.host,
        port=upstream.port,
        user=login.name,
        password=login.password.reveal(),
        database=reader.database.name,
        ssl=False,
    )
    try:
        expected = await direct.prepare("SELECT * FROM every_type WHERE id = $1")
        assert statement.get_attributes() == expected.get_attributes()
        assert statement.get_parameters() == expected.get_parameters()
        assert connection.get_server_version() == direct.get_server_version()
    finally:
        await direct.close()


async def test_writing(writer: Door) -> None:
    """executemany, COPY IN of records and of a table, RETURNING, listeners."""
    connection = await connect(writer)
    try:
        await connection.executemany(
            "INSERT INTO scratch VALUES ($1, 'asyncpg', $2)", [(n, f"many {n}") for n in range(10, 13)]
        )
        await connection.copy_records_to_table("scratch", records=[(20, "asyncpg", "copied")])
        await connection.copy_to_table("scratch", source=io.BytesIO(b"21\tasyncpg\ttext\n"))
        update = "UPDATE scratch SET note = 'set' WHERE id = 10 AND client = 'asyncpg' RETURNING note"
        assert await connection.fetchval(update) == "set"
        await connection.fetchval("SELECT $1::mood::text", "sad")
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await connection.add_listener("asyncpg", lambda *note: heard.set_result(note[-1]))
        await connection.execute("NOTIFY asyncpg, 'hello'")
        assert await asyncio.wait_for(heard, 5) == "hello"
        await connection.reset()
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO scratch VALUES (10, 'asyncpg')")
    finally:
        await connection.close()
    assert writer.scratch("asyncpg") == [(10, "set"), (11, "many 11"), (12, "many 12"), (20, "copied"), (21, "text")]
