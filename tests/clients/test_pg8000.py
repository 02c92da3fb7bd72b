"""pg8000: the protocol in pure Python, unnamed statements, `ssl_context` as the caller makes it."""

import datetime
import decimal
import ssl
from collections.abc import Iterator

import pg8000.dbapi
import pg8000.native
import pytest

from tests.support.doors import LARGE, LARGE_ROWS, Door

INSERT = "INSERT INTO scratch VALUES (1, 'pg8000', 'no')"


def connect(door: Door) -> pg8000.native.Connection:
    context = ssl.create_default_context(cafile=str(door.gateway.ca_file))
    return pg8000.native.Connection(**door.place, database=door.dbname, ssl_context=context, application_name="pg8000")


@pytest.fixture
def connection(reader: Door) -> Iterator[pg8000.native.Connection]:
    made = connect(reader)
    yield made
    made.close()


def test_types_and_parameters(connection: pg8000.native.Connection) -> None:
    (row,) = connection.run("SELECT words, amount, instant, docb, numbers, home FROM every_type WHERE id = :id", id=1)
    assert row[:2] == ["Grüße, 世界 🙂", decimal.Decimal("12345678901234567890.0123456789")]
    assert row[2] == datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, tzinfo=datetime.UTC)
    assert row[3:5] == [{"b": "ü"}, [1, None, 3]]
    assert connection.run("SELECT CAST(:a AS int) + 1, :b", a=1, b="x") == [[2, "x"]]


def test_a_denial_and_what_comes_after(connection: pg8000.native.Connection, reader: Door) -> None:
    for statement, values in ((INSERT, {}), ("INSERT INTO scratch VALUES (:id, 'pg8000')", {"id": 1})):
        with pytest.raises(pg8000.native.DatabaseError) as refused:
            connection.run(statement, **values)
        assert refused.value.args[0]["C"] == "25006"
    assert connection.run("SELECT 'still here'") == [["still here"]]
    assert reader.scratch("pg8000") == []


def test_an_aborted_transaction(connection: pg8000.native.Connection) -> None:
    connection.run("START TRANSACTION")
    with pytest.raises(pg8000.native.DatabaseError):
        connection.run(INSERT)
    with pytest.raises(pg8000.native.DatabaseError) as aborted:
        connection.run("SELECT 1")
    assert aborted.value.args[0]["C"] == "25P02"
    connection.run("ROLLBACK")
    assert connection.run("SELECT 2") == [[2]]


def test_a_large_result_and_copy_out(connection: pg8000.native.Connection) -> None:
    assert len(connection.run(LARGE)) == LARGE_ROWS
    lines: list[str] = []

    class Sink:
        def write(self, data: bytes) -> None:
            lines.append(data.decode())

    connection.run("COPY hr.people TO STDOUT", stream=Sink())
    assert "".join(lines) == "1\tAda\thappy\n2\tBob\tok\n"


def test_prepared(connection: pg8000.native.Connection) -> None:
    prepared = connection.prepare("SELECT CAST(:v AS int) * 2")
    assert [prepared.run(v=number) for number in range(5)] == [[[number * 2]] for number in range(5)]
    prepared.close()


def test_writing(writer: Door) -> None:
    connection = connect(writer)
    connection.run("INSERT INTO scratch VALUES (:id, 'pg8000', :note)", id=10, note="inserted")
    connection.run("COPY scratch FROM STDIN", stream=["20\tpg8000\tcopied\n"])
    connection.run("START TRANSACTION")
    connection.run("DELETE FROM scratch WHERE client = 'pg8000'")
    connection.run("ROLLBACK")
    connection.close()
    context = ssl.create_default_context(cafile=str(writer.gateway.ca_file))
    with pg8000.dbapi.connect(**writer.place, database=writer.dbname, ssl_context=context) as dbapi:
        cursor = dbapi.cursor()
        cursor.executemany("INSERT INTO scratch VALUES (%s, 'pg8000', %s)", [(30, "a"), (31, "b")])
        dbapi.commit()
    assert writer.scratch("pg8000") == [(10, "inserted"), (20, "copied"), (30, "a"), (31, "b")]
