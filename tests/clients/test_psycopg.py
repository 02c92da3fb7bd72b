"""psycopg 3 (its own libpq 18) in every way it can talk, and psycopg2."""

import asyncio
import contextlib
import datetime
import decimal
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest
from psycopg import errors, rows
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum

from tests.support.doors import ENDLESS, LARGE, LARGE_ROWS, Door

INSERT = "INSERT INTO scratch VALUES (1, 'psycopg', 'no')"
TYPES = (
    "SELECT flag, small, big, single, twice, amount, words, short, fixed, bytes, day, moment, instant, clock, span, key, doc, "
    "docb, numbers, names, feeling, home, feelings, homes, ages, address, bits, above FROM every_type ORDER BY id"
)


@pytest.fixture
def connection(reader: Door) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(**reader.libpq(), autocommit=True) as made:
        yield made


@pytest.fixture(scope="module")
def values(reader: Door) -> list[tuple[Any, ...]]:
    """TYPES as the database tells it directly."""
    with reader.database.upstream.connect(reader.database.name) as direct:
        return direct.execute(TYPES).fetchall()


@pytest.mark.parametrize("binary", [False, True])
def test_every_type_in_text_and_binary(
    connection: "psycopg.Connection[Any]", values: list[tuple[Any, ...]], *, binary: bool
) -> None:
    found = connection.execute(TYPES, binary=binary).fetchall()
    if not binary:
        assert found == values
    assert found[0][:8] == (
        True,
        -32768,
        2**63 - 1,
        1.5,
        0.1,
        decimal.Decimal("12345678901234567890.0123456789"),
        "Grüße, 世界 🙂",
        "short",
    )
    assert found[0][12] == datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=datetime.UTC)
    assert found[0][15] == uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    assert found[0][18:20] == ([1, None, 3], ["a,b", 'c"d', None])
    assert set(found[1]) == {None}


@pytest.mark.parametrize("binary", [False, True])
def test_parameters_of_every_kind(connection: "psycopg.Connection[Any]", *, binary: bool) -> None:
    """What goes in comes out."""
    sent = [True, 7, 2**40, 1.25, decimal.Decimal("1.10"), "Grüße", b"\x00\xff", datetime.date(2024, 2, 29), uuid.uuid4(), None]
    sent += [
        datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC),
        datetime.timedelta(days=1, seconds=3),
        [1, 2],
    ]
    mark = "%b" if binary else "%t"
    assert connection.execute(f"SELECT {', '.join([mark] * len(sent))}", sent, binary=binary).fetchone() == tuple(sent)


def test_enum_and_composite_types_are_found_and_used(connection: "psycopg.Connection[Any]") -> None:
    """psycopg asks the catalogue for them. A declared type of a user's passes where no code of theirs hangs on it."""
    mood = EnumInfo.fetch(connection, "mood")
    addr = CompositeInfo.fetch(connection, "addr")
    assert mood is not None
    assert addr is not None
    register_enum(mood, connection)
    register_composite(addr, connection)
    feeling, home, homes = connection.execute("SELECT feeling, home, homes FROM every_type WHERE id = 1").fetchone() or ()
    assert feeling.name == "ok"
    assert home.street == 'x "st", 1'
    assert homes[0].zip == 1
    assert connection.execute("SELECT id FROM every_type WHERE feeling = %s", ["ok"]).fetchone() == (1,)
    assert connection.execute("SELECT id FROM every_type WHERE feeling = %s", [feeling]).fetchone() == (1,)


def test_a_denial_and_what_comes_after(connection: "psycopg.Connection[Any]", reader: Door) -> None:
    with pytest.raises(errors.ReadOnlySqlTransaction) as refused:
        connection.execute(INSERT)
    assert refused.value.diag.sqlstate == "25006"
    assert refused.value.diag.statement_position == "1"
    assert reader.target in (refused.value.diag.message_hint or "")
    assert connection.execute("SELECT 'still here'").fetchone() == ("still here",)
    assert reader.scratch("psycopg") == []


def test_transactions(connection: "psycopg.Connection[Any]") -> None:
    """Blocks, savepoints, an aborted one, and characteristics that psycopg sends with BEGIN."""
    connection.execute("BEGIN")
    with pytest.raises(errors.ReadOnlySqlTransaction):
        connection.execute(INSERT)
    with pytest.raises(errors.InFailedSqlTransaction):
        connection.execute("SELECT 1")
    connection.rollback()
    with connection.transaction():
        with pytest.raises(errors.ReadOnlySqlTransaction), connection.transaction():
            connection.execute(INSERT)
        assert connection.execute("SELECT 2").fetchone() == (2,)
    connection.read_only = True
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with connection.transaction():
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("repeatable read",)
    connection.read_only = False
    with pytest.raises(errors.ReadOnlySqlTransaction), connection.transaction():
        pass
    assert connection.execute("SELECT 3").fetchone() == (3,)


def test_pipeline_mode(connection: "psycopg.Connection[Any]") -> None:
    """Hundreds in one go; a denial ends its group and not the pipeline."""
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", [number]) for number in range(300)]
        assert [cursor.fetchone() for cursor in cursors] == [(number,) for number in range(300)]
    with contextlib.suppress(errors.ReadOnlySqlTransaction), connection.pipeline() as pipeline:
        first = connection.execute("SELECT 1")
        pipeline.sync()
        connection.execute(INSERT)
        pipeline.sync()
        pytest.fail("the INSERT was not refused")
    assert first.fetchone() == (1,)
    assert connection.execute("SELECT 2").fetchone() == (2,)


def test_prepared_statements(connection: "psycopg.Connection[Any]") -> None:
    """Automatic ones after five uses, explicit ones, and more of them than psycopg keeps (it deallocates)."""
    connection.prepare_threshold = 2
    connection.prepared_max = 5
    for number in range(60):
        text = f"SELECT %s::int + {number % 9}"
        assert connection.execute(text, [number]).fetchone() == (number + number % 9,)
    assert connection.execute("SELECT %s::text", ["x"], prepare=True).fetchone() == ("x",)
    with pytest.raises(errors.ReadOnlySqlTransaction):
        connection.execute("INSERT INTO scratch VALUES (%s, 'psycopg')", [1], prepare=True)


def test_server_side_cursors(reader: Door) -> None:
    with psycopg.connect(**reader.libpq()) as connection:
        with connection.cursor("named", scrollable=True) as cursor:
            cursor.execute(LARGE)
            assert len(cursor.fetchmany(10)) == 10
            cursor.scroll(LARGE_ROWS - 5, mode="absolute")
            assert len(cursor.fetchall()) == 5
        with connection.cursor("held", withhold=True) as cursor:
            cursor.execute("SELECT generate_series(1, 3)")
            connection.commit()
            assert cursor.fetchall() == [(1,), (2,), (3,)]
        with connection.cursor("writing") as cursor, pytest.raises(errors.ReadOnlySqlTransaction):
            cursor.execute("SELECT * FROM scratch FOR UPDATE")


def test_large_results_whole_and_row_by_row(connection: "psycopg.Connection[Any]") -> None:
    assert len(connection.execute(LARGE).fetchall()) == LARGE_ROWS
    with connection.cursor() as cursor:
        assert sum(1 for _ in cursor.stream(LARGE)) == LARGE_ROWS
        assert sum(1 for _ in cursor.stream(LARGE, size=500)) == LARGE_ROWS


def test_copy_out(connection: "psycopg.Connection[Any]") -> None:
    with connection.cursor() as cursor:
        with cursor.copy("COPY hr.people TO STDOUT") as copy:
            assert b"".join(copy) == b"1\tAda\thappy\n2\tBob\tok\n"
        with cursor.copy("COPY (SELECT g, 'x' FROM generate_series(1, 1000) g) TO STDOUT (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text"])
            assert sum(1 for _ in copy.rows()) == 1000
        with pytest.raises(errors.ReadOnlySqlTransaction), cursor.copy("COPY scratch FROM STDIN") as copy:
            copy.write(b"1\tpsycopg\tno\n")
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_cancel(reader: Door) -> None:
    """With a 32-byte key (protocol 3.2) and a 4-byte key (3.0), over TLS."""
    for version in ("3.0", "3.2"):
        with psycopg.connect(
            **reader.libpq(max_protocol_version=version, application_name=f"cancel {version}"), autocommit=True
        ) as connection:
            canceller = threading.Thread(
                target=lambda version=version, made=connection: (
                    reader.wait_until_running(f"cancel {version}"),
                    made.cancel_safe(),
                )
            )
            canceller.start()
            with pytest.raises(errors.QueryCanceled):
                connection.execute(ENDLESS)
            canceller.join()
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_ways_to_encrypt(reader: Door) -> None:
    """Direct TLS, TLS by request with channel binding; not in the clear."""
    for options in (
        {"sslnegotiation": "direct"},
        {"channel_binding": "require"},
        {"sslnegotiation": "direct", "channel_binding": "require", "max_protocol_version": "3.2"},
        {"gssencmode": "prefer"},
    ):
        with psycopg.connect(**reader.libpq(**options)) as connection:
            assert connection.pgconn.ssl_in_use
    with pytest.raises(psycopg.OperationalError, match="requires TLS"):
        psycopg.connect(**reader.libpq(sslmode="disable", sslrootcert=""))


async def test_async_connections(reader: Door) -> None:
    connections = await asyncio.gather(*(psycopg.AsyncConnection.connect(**reader.libpq(), autocommit=True) for _ in range(5)))
    try:
        cursors = await asyncio.gather(*(made.execute("SELECT generate_series(1, 1000)") for made in connections))
        assert [len(await cursor.fetchall()) for cursor in cursors] == [1000] * 5
        with pytest.raises(errors.ReadOnlySqlTransaction):
            await connections[0].execute(INSERT)
        endless = asyncio.create_task(connections[1].execute(ENDLESS))
        await asyncio.sleep(0.3)
        endless.cancel()  # psycopg cancels the query upstream and waits for its end
        with pytest.raises(asyncio.CancelledError):
            await endless
        assert await (await connections[1].execute("SELECT 1")).fetchone() == (1,)
    finally:
        await asyncio.gather(*(made.close() for made in connections))


def test_settings_of_the_client(reader: Door) -> None:
    """What may be set at the start, and by `options`; the name in front of the application's own."""
    options = "-c statement_timeout=5s -c search_path=public"
    with psycopg.connect(**reader.libpq(options=options, application_name="my report")) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("5s",)
        found = connection.execute("SHOW application_name").fetchone() or ("",)
        assert found[0].startswith(f"{reader.person.name}/")
        assert found[0].endswith(" my report")
        assert connection.info.parameter_status("session_authorization") == reader.person.name
    with pytest.raises(psycopg.OperationalError, match="session_replication_role"):
        psycopg.connect(**reader.libpq(options="-c session_replication_role=replica"))


def test_what_libpq_can_demand_of_a_server(reader: Door, writer: Door) -> None:
    """target_session_attrs and require_auth: a read-only session is a read-only server to libpq."""
    for door, wanted in ((reader, "read-only"), (reader, "primary"), (writer, "read-write"), (reader, "prefer-standby")):
        with psycopg.connect(**door.libpq(target_session_attrs=wanted, require_auth="scram-sha-256")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="read-only"):
        psycopg.connect(**reader.libpq(target_session_attrs="read-write"))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**reader.libpq(require_auth="md5"))


def test_writing(writer: Door) -> None:
    """In a read-write session: executemany, a pipeline, COPY in both formats, RETURNING, a rolled back block."""
    with psycopg.connect(**writer.libpq(), row_factory=rows.tuple_row) as connection:
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO scratch VALUES (%s, 'psycopg', %s)", [(n, f"many {n}") for n in range(10, 13)])
            with cursor.copy("COPY scratch FROM STDIN") as copy:
                copy.write_row((20, "psycopg", "copied"))
            with cursor.copy("COPY scratch FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["int4", "text", "text"])
                copy.write_row((21, "psycopg", "binary"))
        connection.commit()
        found = connection.execute("UPDATE scratch SET note = 'set' WHERE id = 10 AND client = 'psycopg' RETURNING note")
        assert found.fetchone() == ("set",)
        connection.commit()
        with connection.transaction(force_rollback=True):
            connection.execute("DELETE FROM scratch WHERE client = 'psycopg'")
        with pytest.raises(errors.UniqueViolation):
            connection.execute("INSERT INTO scratch VALUES (10, 'psycopg', 'again')")
        connection.rollback()
    assert writer.scratch("psycopg") == [(10, "set"), (11, "many 11"), (12, "many 12"), (20, "copied"), (21, "binary")]


def test_two_phase_commit_is_refused_when_reading(reader: Door) -> None:
    connection = psycopg.connect(**reader.libpq())
    connection.tpc_begin(connection.xid(1, "g", "b"))
    connection.execute("SELECT 1")
    with pytest.raises(errors.ReadOnlySqlTransaction):
        connection.tpc_prepare()
    connection.close()


def test_notifications(writer: Door, reader: Door) -> None:
    """LISTEN and NOTIFY work where writing is granted; a read-only session may do neither."""
    with psycopg.connect(**writer.libpq(), autocommit=True) as connection:
        connection.execute("LISTEN clients")
        connection.execute("NOTIFY clients, 'hello'")
        assert [(note.channel, note.payload) for note in connection.notifies(timeout=5, stop_after=1)] == [("clients", "hello")]
    with psycopg.connect(**reader.libpq(), autocommit=True) as connection:
        for text in ("LISTEN clients", "NOTIFY clients"):
            with pytest.raises((errors.FeatureNotSupported, errors.ReadOnlySqlTransaction)):
                connection.execute(text)


class TestPsycopg2:
    """The older driver: simple queries only, its own BEGIN, named cursors, large objects by the fast path."""

    def test_reading(self, reader: Door) -> None:
        with psycopg2.connect(**reader.libpq()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id, owner, balance FROM accounts WHERE id = ANY(%s) ORDER BY id", ([1, 2],))
            assert [row[1] for row in cursor.fetchall()] == ["owner1", "owner2"]
            cursor.execute(TYPES)
            assert cursor.fetchone()[6] == "Grüße, 世界 🙂"
            cursor.execute(LARGE)
            assert len(cursor.fetchall()) == LARGE_ROWS
        with connection.cursor("named") as cursor:
            cursor.execute(LARGE)
            assert len(cursor.fetchmany(100)) == 100
        connection.close()

    def test_a_denial_and_what_comes_after(self, reader: Door) -> None:
        connection = psycopg2.connect(**reader.libpq())
        with connection.cursor() as cursor:
            with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
                cursor.execute(INSERT)
            with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
                cursor.execute("SELECT 1")
            connection.rollback()
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)
            connection.rollback()
            connection.set_session(readonly=True, isolation_level="REPEATABLE READ", autocommit=True)
            cursor.execute("SELECT 2")
            connection.reset()
            cursor.execute("SELECT 3")
        connection.close()

    def test_large_objects_are_refused(self, reader: Door) -> None:
        """Their client interface is the fast path."""
        connection = psycopg2.connect(**reader.libpq())
        with pytest.raises(psycopg2.Error, match="fast-path"):
            connection.lobject(424242, "rb").read()
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)
        connection.close()

    def test_writing(self, writer: Door) -> None:
        with psycopg2.connect(**writer.libpq()) as connection, connection.cursor() as cursor:
            rows = [(number, "psycopg2", "page") for number in range(10, 20)]
            psycopg2.extras.execute_values(cursor, "INSERT INTO scratch VALUES %s", rows)
            psycopg2.extras.execute_batch(cursor, "INSERT INTO scratch VALUES (%s, %s, %s)", [(20, "psycopg2", "batch")])
            cursor.execute("DELETE FROM scratch WHERE client = 'psycopg2' AND id < 19")
        connection.close()
        assert writer.scratch("psycopg2") == [(19, "page"), (20, "batch")]
