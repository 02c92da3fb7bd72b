"""X: pipelines, prepared statements and portals with refused texts in every position.

PostgreSQL itself is the judge: it gets a syntax error in the same place, and both answers must be equal.
"""

import socket
from itertools import pairwise

import pytest

from tests.support import wire
from tests.support.oracle import Step, Twins, blocked_call, blocked_parse, blocked_query, kinds, same
from tests.support.wire import FLUSH, SYNC, bind, close, describe, execute, extended, parse, query

INSERT = "INSERT INTO accounts (owner) VALUES ('x')"
SCRATCH_INSERT = "INSERT INTO hr.people VALUES (999, 'x')"
PIPELINE = 100


def rest() -> Step:
    """What follows the Parse of a pipeline's statement."""
    return same(bind(), execute())


def test_x01_a_blocked_parse_in_a_pipeline(reader: Twins) -> None:
    """What stands before it runs, it is refused at its place, nothing behind it runs, one ReadyForQuery."""
    answer = reader.compare(same(extended("SELECT 1")), blocked_parse(INSERT), rest(), same(SYNC))
    assert kinds(answer) == "12DCEZ"


def test_x01_what_a_pipeline_wrote_before_is_rolled_back(writer: Twins) -> None:
    """An INSERT that was allowed, before a refused statement in the same group, leaves no row."""
    answer = writer.compare(same(extended(SCRATCH_INSERT)), blocked_parse("SET ROLE postgres"), rest(), same(SYNC))
    assert kinds(answer) == "12CEZ"
    admin = writer.database.superuser()
    assert admin.execute("SELECT count(*) FROM hr.people WHERE id = 999").fetchone() == (0,)


@pytest.mark.parametrize("place", [0, PIPELINE // 2, PIPELINE - 1])
def test_x02_first_middle_and_last_of_a_hundred(reader: Twins, place: int) -> None:
    """One error, at its place; nothing behind it until ReadyForQuery."""
    steps = [blocked_parse(INSERT) if i == place else same(parse(f"SELECT {i}")) for i in range(PIPELINE)]
    answer = reader.compare(*(part for step in steps for part in (step, rest())), same(SYNC))
    assert kinds(answer) == "12DC" * place + "EZ"


def test_x03_a_query_behind_a_denial_is_skipped(reader: Twins) -> None:
    """Until Sync everything is skipped, a Query too: one ReadyForQuery."""
    answer = reader.compare(blocked_parse(INSERT), same(query("SELECT 1"), SYNC))
    assert kinds(answer) == "EZ"


def test_x04_a_denial_needs_no_flush(reader: Twins) -> None:
    """The error comes at once, as PostgreSQL sends errors, not with the next Sync."""
    with reader.through() as client:
        client.send(parse(INSERT))
        assert client.read(seconds=1).sqlstate == "25006"


def test_x05_a_query_ends_an_extended_group(reader: Twins) -> None:
    """Both run, each with its answer."""
    answer = reader.compare(same(extended("SELECT 1"), query("SELECT 2")))
    assert "".join(kind for kind, _ in answer).startswith("12DCTDCZ")


def test_x06_one_refused_statement_refuses_the_batch(reader: Twins) -> None:
    """None of the batch runs; an extended group without a Sync before it does not hang."""
    assert kinds(reader.compare(blocked_query(f"SELECT 1; {INSERT}; SELECT 2"))) == "EZ"
    answer = reader.compare(same(extended("SELECT 1")), blocked_query(f"SELECT 1; {INSERT}"), same(query("SELECT 2")))
    assert kinds(answer) == "12DCEZTDCZ"


def test_x06_an_earlier_error_swallows_the_refused_batch(reader: Twins) -> None:
    answer = reader.compare(same(parse("SELECT nothing FROM nowhere")), blocked_query(f"{INSERT}; SELECT 1"), same(SYNC))
    assert kinds(answer) == "EZ"


def test_x07_a_denial_aborts_the_transaction(reader: Twins) -> None:
    """ReadyForQuery says E, the next statement 25P02, COMMIT answers ROLLBACK."""
    answer = reader.compare(
        same(query("BEGIN")), blocked_query(INSERT), same(query("SELECT 1")), same(query("COMMIT")), same(query("SELECT 2"))
    )
    states = [content for kind, content in answer if kind == "Z"]
    assert states[:5] == ["T", "E", "E", "I", "I"]
    assert ("E", "ERROR 25P02") in answer
    assert ("C", "ROLLBACK\0") in answer


def test_x08_savepoints(reader: Twins) -> None:
    """A denial behind a savepoint is undone by ROLLBACK TO, like any error."""
    answer = reader.compare(
        same(query("BEGIN"), query("SAVEPOINT s")),
        blocked_query(INSERT),
        same(query("ROLLBACK TO s"), query("SELECT 1"), query("COMMIT")),
    )
    assert [content for kind, content in answer if kind == "Z"][:6] == ["T", "T", "E", "T", "T", "I"]


def test_x09_an_upstream_error_first(reader: Twins) -> None:
    """Only the first error is seen, and it is upstream's."""
    answer = reader.compare(same(parse("SELECT nothing FROM nowhere")), blocked_parse(INSERT), rest(), same(SYNC))
    assert answer[0] == ("E", "ERROR 42P01")
    assert kinds(answer) == "EZ"


def test_x10_a_refused_text_does_not_leave_the_former_one(reader: Twins) -> None:
    """Closed and then refused under the same name: Bind finds nothing."""
    answer = reader.compare(
        same(parse("SELECT 1", "a"), SYNC, close("S", "a"), SYNC), blocked_parse(INSERT, "a"), same(SYNC, bind("a"), SYNC)
    )
    assert kinds(answer) == "1Z3ZEZEZ"
    assert ("E", "ERROR 26000") in answer


def test_x10_in_one_breath(reader: Twins) -> None:
    answer = reader.compare(
        same(parse("SELECT 1", "a"), close("S", "a")),
        blocked_parse(INSERT, "a"),
        same(bind("a"), execute(), SYNC, bind("a"), SYNC),
    )
    assert kinds(answer) == "13EZEZ"


def test_x11_a_parse_that_upstream_refuses(reader: Twins) -> None:
    """Its name stays undefined, and can be defined anew."""
    answer = reader.compare(
        same(parse("SELECT nothing FROM nowhere", "a"), SYNC, bind("a"), SYNC),
        same(parse("SELECT 7", "a"), bind("a"), execute(), SYNC),
    )
    assert kinds(answer) == "EZEZ12DCZ"


def test_x12_a_name_in_use(reader: Twins) -> None:
    """42P05; the first text runs, and the audit of the execution tells of the first."""
    answer = reader.compare(
        same(parse("SELECT 'first text'", "a"), SYNC, parse("SELECT 'second text'", "a"), SYNC),
        same(bind("a"), execute(), SYNC),
    )
    assert ("E", "ERROR 42P05") in answer
    executed = reader.gateway.events(event="statement", user=reader.person.name, phase="execute")
    assert executed[-1]["sql"] == "SELECT 'first text'"


def test_x17_sql_prepare_is_judged_when_it_is_prepared(reader: Twins) -> None:
    """A write is refused at PREPARE; a read runs by EXECUTE and by the protocol's Bind alike."""
    reader.compare(blocked_query("PREPARE w AS DELETE FROM accounts"), same(query("EXECUTE w")))
    answer = reader.compare(
        same(query("PREPARE r AS SELECT 7"), query("EXECUTE r"), bind("r"), execute(), SYNC, query("DEALLOCATE r"))
    )
    assert kinds(answer) == "CZTDCZ2DCZCZ"
    reader.compare(same(parse("SELECT 8", "p"), SYNC, query("EXECUTE p")))
    reader.compare(blocked_query("EXPLAIN ANALYZE DELETE FROM accounts"), blocked_query("CREATE TABLE t AS EXECUTE p"))


def test_x18_portals_with_row_limits(reader: Twins) -> None:
    """Suspended, other work between, resumed; a held cursor outlives its transaction."""
    numbers = "SELECT k FROM generate_series(1, 3) k"
    answer = reader.compare(
        same(query("BEGIN"), parse(numbers), bind(portal="p"), execute("p", 1), SYNC),
        same(query("SELECT 'other'"), execute("p", 1), execute("p", 0), SYNC, query("COMMIT"), execute("p"), SYNC),
    )
    assert kinds(answer) == "CZ12DsZTDCZDsDCZCZEZ"
    reader.compare(
        same(query("BEGIN"), query(f"DECLARE h CURSOR WITH HOLD FOR {numbers}"), query("COMMIT")),
        same(query("FETCH 2 FROM h"), execute("h", 1), SYNC, query("CLOSE h")),
    )


def test_x21_notices_and_settings_come_in_their_order(writer: Twins) -> None:
    """NOTICE, NOTIFY and ParameterStatus in the middle of pipelines are passed on, and counted as nobody's reply."""
    warn = "DO $$ BEGIN RAISE NOTICE 'hear this'; END $$"
    answer = writer.compare(
        same(query("LISTEN x"), query("BEGIN"), query("NOTIFY x, 'mine'")),
        same(extended(warn), extended("SET TimeZone = 'Asia/Tokyo'"), SYNC, query("COMMIT"), query("SELECT 1")),
    )
    letters = kinds([answer_ for answer_ in answer if answer_[0] != "A"])
    assert letters == "CZCZCZ12NC12CZCZTDCZ"


def test_fast_path_calls_are_refused_in_every_position(reader: Twins) -> None:
    reader.compare(blocked_call(), same(query("BEGIN")), blocked_call(), same(query("SELECT 1"), query("ROLLBACK")))
    reader.compare(same(extended("SELECT 1")), blocked_call(), same(query("SELECT 1")))
    reader.compare(same(parse("SELEC")), blocked_call(), same(SYNC))


def test_an_unnamed_statement_survives_a_refused_bind(reader: Twins) -> None:
    """A malformed Bind fails without dropping what Parse made."""
    bad = Step(wire.packet("B", b"\0\0\0"), wire.packet("B", b"\0\0\0\0\0\0\0\0\0"))
    answer = reader.compare(same(parse("SELECT 7"), SYNC), bad, same(SYNC, bind(), execute(), SYNC))
    assert kinds(answer) == "1ZEZ2DCZ"


def test_a_refused_unnamed_parse_drops_the_unnamed_statement(reader: Twins) -> None:
    answer = reader.compare(same(parse("SELECT 7"), SYNC), blocked_parse(INSERT), same(SYNC, bind(), SYNC))
    assert answer[4] == ("E", "ERROR 26000")


def test_every_split_of_a_pipeline(reader: Twins) -> None:
    """However the bytes of a pipeline are cut, the answer is the same, and none of the refused text has gone upstream."""
    steps = [same(parse("SELECT 1", "a"), bind("a"), describe("P"), execute()), blocked_parse(INSERT), same(SYNC)]
    steps += [same(query("SELECT 2")), blocked_query(INSERT), same(FLUSH, close("S", "a"), SYNC)]
    whole = b"".join(step.gateway for step in steps)
    with reader.through() as client:
        client.send(whole)
        expected = _answers(client)
        for cut in range(1, len(whole)):
            client.send_split(whole, cut, pause=0.0005)
            assert _answers(client) == expected, cut
        client.send_split(whole, *range(1, len(whole)), pause=0)
        assert _answers(client) == expected


def _answers(client: wire.RawClient) -> list[tuple[str, str]]:
    """Up to the fourth ReadyForQuery, without texts."""
    found = [message for _ in range(4) for message in client.until("Z")]
    return [(message.kind, message.sqlstate if message.kind == "E" else "") for message in found]


def test_many_names_have_a_limit(reader: Twins) -> None:
    """X15 in small: names that are closed again cost nothing."""
    with reader.through() as client:
        for start, end in pairwise(range(0, 2001, 500)):
            names = [f"n{i}" for i in range(start, end)]
            answer = client.ask(b"".join(parse("SELECT 1", name) + close("S", name) for name in names), SYNC)
            assert wire.shape(answer) == "13" * 500 + "Z"


def test_a_pipeline_longer_than_a_turn(reader: Twins) -> None:
    """It takes many turns of the event loop, and waits for replies in between: the answers are PostgreSQL's own, in order."""
    answer = reader.compare(*(same(parse(f"SELECT {i}"), bind(), execute()) for i in range(600)), same(SYNC))
    assert kinds(answer) == "12DC" * 600 + "Z"
    steps = [blocked_parse(INSERT) if i == 500 else same(parse("SELECT 1")) for i in range(600)]
    answer = reader.compare(*(part for step in steps for part in (step, rest())), same(SYNC), same(query("SELECT 2")))
    assert kinds(answer) == "12DC" * 500 + "EZTDCZ"


def test_a_goodbye_behind_more_than_a_turn(reader: Twins) -> None:
    """Who says goodbye in the same breath and is gone has sent all that stands before it."""
    with reader.through() as client:
        client.send(*(query(f"SELECT {i} AS hurried") for i in range(600)), wire.TERMINATE)
        client.sock.shutdown(socket.SHUT_WR)
    last = reader.gateway.wait_for_event(event="statement", sql="SELECT 599 AS hurried")
    ended = reader.gateway.wait_for_event(event="session_end", session=last["session"])
    assert ended["reason"] == "client quit"
