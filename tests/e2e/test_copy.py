"""X19, X20: COPY in both directions, with denials, strangers and broken ends inside."""

import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.support import wire
from tests.support.oracle import Answer, Step, Twins, blocked_parse, blocked_query, finish, kinds, play, same
from tests.support.wire import COPY_DONE, FLUSH, SYNC, copy_data, copy_fail, execute, extended, parse, query

COPY = "COPY scratch FROM STDIN"


@pytest.fixture(autouse=True)
def _scratch(writer: Twins) -> Iterator[None]:
    admin = writer.database.superuser()
    admin.execute("CREATE TABLE IF NOT EXISTS scratch (k int)")
    admin.execute("GRANT SELECT, INSERT ON scratch TO app_rw")
    yield
    admin.execute("DROP TABLE scratch")


def compare(writer: Twins, *steps: Step) -> list[Answer]:
    """Answers and rows alike; the table is emptied between."""
    admin = writer.database.superuser()

    def rows() -> list[tuple[int, ...]]:
        found = admin.execute("SELECT k FROM scratch ORDER BY 1").fetchall()
        admin.execute("TRUNCATE scratch")
        return found

    answer = writer.compare(*steps)  # PostgreSQL first, then the gateway: every row that is there came twice
    found = rows()
    assert found[::2] == found[1::2]
    return answer


def test_copy_in(writer: Twins) -> None:
    assert kinds(compare(writer, same(query(COPY), copy_data(b"1\n2\n"), COPY_DONE, query("SELECT 1")))) == "GCZTDCZ"
    assert kinds(compare(writer, same(extended(COPY), copy_data(b"1\n"), COPY_DONE, SYNC))) == "12GCZ"


def test_copy_with_an_early_sync(writer: Twins) -> None:
    """libpq sends Sync right behind Execute: upstream swallows it, and the one behind CopyDone is answered."""
    assert kinds(compare(writer, same(extended(COPY), SYNC, copy_data(b"1\n"), FLUSH, COPY_DONE, SYNC, query("SELECT 1")))) == (
        "12GCZTDCZ"
    )


def test_copy_fail_and_bad_data(writer: Twins) -> None:
    assert kinds(compare(writer, same(query(COPY), copy_data(b"1\n"), copy_fail(), query("SELECT 1")))) == "GEZTDCZ"
    assert (
        kinds(compare(writer, same(query(COPY), copy_data(b"x\n"), copy_data(b"2\n"), COPY_DONE, query("SELECT 1"))))
        == "GEZTDCZ"
    )
    compare(writer, same(extended(COPY), SYNC, copy_data(b"x\n"), COPY_DONE, SYNC, query("SELECT 1")))


def ended(writer: Twins, *steps: Step) -> None:
    """ERROR and FATAL 08P01, the connection closed: as PostgreSQL. Nothing is kept.

    PostgreSQL 13 goes on after the ERROR; the gateway, which counts on no more answers, ends the session there, too.
    """
    if writer.database.upstream.major >= 14:
        answer = compare(writer, *steps)
        assert answer[-3:] == [("E", "ERROR 08P01"), ("E", "FATAL 08P01"), ("EOF", "")]
        return
    script = [*steps, finish()]
    with writer.through() as client:
        answer = play(client, [step.gateway for step in script], [step.pause for step in script])
    assert ("E", "ERROR 08P01") in answer
    assert answer[-2:] == [("E", "FATAL 08006"), ("EOF", "")]
    assert writer.database.superuser().execute("SELECT count(*) FROM scratch").fetchone() == (0,)


@pytest.mark.parametrize("pause", [0.0, 0.05])
@pytest.mark.parametrize("stranger", [query("SELECT 1"), parse("SELECT 1"), execute()], ids=["query", "parse", "execute"])
def test_x19_strangers_inside_a_copy(writer: Twins, stranger: bytes, pause: float) -> None:
    ended(writer, same(query(COPY), copy_data(b"1\n"), pause=pause), same(stranger, SYNC))


def test_x19_a_refused_text_inside_a_copy(writer: Twins) -> None:
    """It is replaced there too: upstream sees no text, and the protocol error is PostgreSQL's."""
    for blocked in (blocked_query("CREATE ROLE eve"), blocked_parse("CREATE ROLE eve")):
        ended(writer, same(query(COPY), copy_data(b"1\n"), pause=0.05), blocked)


def test_x19_terminate_inside_a_copy(writer: Twins) -> None:
    """Nothing is kept of it."""
    with writer.through() as client:
        client.send(query(COPY), copy_data(b"1\n"))
        assert client.read().kind == "G"
        client.send(wire.TERMINATE)
        client.until_eof(2)
    assert writer.database.superuser().execute("SELECT count(*) FROM scratch").fetchone() == (0,)


def test_x19_a_refused_copy_and_its_data(reader: Twins) -> None:
    """A client that goes on with its data is ignored, as PostgreSQL ignores it; what comes behind is judged as ever."""
    answer = reader.compare(
        blocked_query("COPY accounts FROM STDIN"),
        same(copy_data(b"1\n"), copy_data(b"DELETE FROM accounts"), COPY_DONE),
        blocked_query("DELETE FROM accounts"),
        same(query("SELECT 1")),
    )
    assert kinds(answer) == "EZEZTDCZ"
    answer = reader.compare(
        blocked_parse("COPY accounts FROM STDIN"),
        same(wire.bind(), execute(), copy_data(b"1\n"), COPY_DONE, SYNC, query("SELECT 1")),
    )
    assert kinds(answer) == "EZTDCZ"


def test_x19_copy_messages_outside_of_a_copy(reader: Twins) -> None:
    """Ignored, wherever they stand."""
    answer = reader.compare(
        same(copy_data(b"x"), COPY_DONE, copy_fail(), query("SELECT 1"), copy_data(b"y"), parse("SELECT 2"), COPY_DONE),
        same(wire.bind(), copy_fail(), execute(), copy_data(b"z"), SYNC),
    )
    assert kinds(answer) == "TDCZ12DCZ"


def test_x20_copy_out(reader: Twins) -> None:
    """Whole, with an error in the middle, and by a client that reads slowly."""
    assert kinds(reader.compare(same(query("COPY (SELECT 1) TO STDOUT")))) == "HdcCZ"
    assert kinds(reader.compare(same(extended("COPY (SELECT 1) TO STDOUT"), SYNC))) == "12HdcCZ"
    broken = "COPY (SELECT 1/(3 - k) FROM generate_series(1, 5) k) TO STDOUT"
    assert kinds(reader.compare(same(query(broken), query("SELECT 1"))))[-6:] == "EZTDCZ"


def test_x20_a_slow_reader(reader: Twins) -> None:
    """A large result waits upstream, not in the gateway, and arrives whole."""
    wide = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT"
    with reader.through() as client:
        client.send(query(wide))
        time.sleep(1)
        answer = client.until("Z", seconds=20)
        assert sum(message.kind == "d" for message in answer) == 20000


def test_copy_data_is_never_held_whole(writer: Twins) -> None:
    """A CopyData of 32 MiB passes in pieces, above the limit for messages that are read."""
    with writer.through() as client:
        client.send(query("COPY scratch FROM STDIN"))
        assert client.read().kind == "G"
        client.send(copy_data(b"1\n" * (16 * 1024 * 1024)), copy_fail())
        assert [message.kind for message in client.until("Z", seconds=60)] == ["E", "Z"]


def test_psycopg_copies(writer: Twins) -> None:
    """libpq's own way of doing it."""
    connection: psycopg.Connection[tuple[int]] = writer.gateway.client(writer.person, writer.target + ":rw")
    with connection.cursor() as cursor:
        with cursor.copy(COPY) as copy:
            for number in range(1000):
                copy.write_row((number,))
        assert cursor.execute("SELECT count(*) FROM scratch").fetchone() == (1000,)
    connection.close()
