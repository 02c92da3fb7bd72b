"""Limits of what is sent, as transcripts: where a reply is cut, what goes upstream then, what the client reads, what waits."""

import json
from collections.abc import Iterator

import pytest

from gateway.access_mode import AccessMode
from gateway.session.effects import StopStatement
from gateway.session.verdicts import PolicyInForce
from gateway.session.volume import DayCount, Limits, Volume
from gateway.statements.policy import Policy
from tests.support.playbook import BOUND, CLOSED, NO_DATA, PARSED, Playbook, done, failed, playbook, poison_of, ready
from tests.support.wire import (
    COPY_DONE,
    FLUSH,
    SYNC,
    Message,
    bind,
    close,
    copy_data,
    describe,
    execute,
    extended,
    packet,
    parse,
    query,
    shape,
)

ROWS = 3
READ = "SELECT a FROM t"
IN_PARTS = parse(READ) + bind() + describe("P") + execute() + FLUSH
COLUMNS = packet("T", b"\0\0")
RAN = PARSED + BOUND + COLUMNS
COMMIT = close("P") + SYNC
ROW = packet("D", b"\0\1\0\0\0\x011")
SUSPENDED = packet("s")
COPY_OUT = packet("H", b"\0\0\0")
CANCELLED = failed("57014", "canceling statement due to user request")


def book_under(limits: Limits, mode: AccessMode = AccessMode.READ_ONLY, day: DayCount | None = None) -> Playbook:
    made = playbook(mode)
    made.shared.in_force = PolicyInForce(Policy(mode, server_major=16, metered=True), 1000, 1_000_000, 1000)
    made.shared.first_policy = made.shared.in_force.policy
    made.shared.volume = Volume(limits, day)
    return made


def at_most(rows: int | None = ROWS, size: int | None = None) -> Limits:
    return Limits("g-1", rows, size)


@pytest.fixture
def book() -> Iterator[Playbook]:
    """Nothing may be left over in the end."""
    made = book_under(at_most())
    yield made
    rests(made)


def rests(book: Playbook) -> None:
    assert book.end is None
    assert book.owed == 0
    assert book.shared.watched is None
    assert not book.client_side.on_hold
    assert not book.effects


def messages(data: bytes) -> list[Message]:
    found = []
    while data:
        end = 1 + int.from_bytes(data[1:5])
        found.append(Message(chr(data[0]), data[5:end]))
        data = data[end:]
    return found


def cut(book: Playbook) -> bool:
    """Whether the shell is asked, once, to stop the statement; that is then on its way."""
    found = [effect for effect in book.effects if isinstance(effect, StopStatement)]
    book.effects[:] = [effect for effect in book.effects if effect not in found]
    assert len(found) <= 1
    return bool(found)


def cancel_over(book: Playbook) -> bytes:
    assert book.shared.watched is not None
    book.shared.watched.cancel_over()
    return book.resume()


def told(book: Playbook, event: str) -> list[dict[str, object]]:
    found = [json.loads(b"{" + record + b"}") for record in book.records]
    return [record for record in found if record["event"] == event]


def poisoned(sent: bytes) -> bytes:
    return failed("42601", f'at "{poison_of(sent)}"')


# -- Query -------------------------------------------------------------------------------------------------------------


def test_a_query_within_its_limits(book: Playbook) -> None:
    assert book.client(query(READ)) == IN_PARTS
    assert book.upstream(RAN, ROW * 3, done("SELECT 3")) == COLUMNS + ROW * 3
    assert book.resume() == COMMIT
    assert book.upstream(CLOSED, ready()) == done("SELECT 3") + ready()
    assert book.resume() == b""
    assert told(book, "statement_end")[0]["rows"] == 3


def test_what_shows_no_rows_passes_as_it_is(book: Playbook) -> None:
    for text, tag in (("BEGIN", "BEGIN"), ("SET work_mem = '1MB'", "SET"), ("COMMIT", "COMMIT")):
        assert book.client(query(text)) == query(text)
        assert book.upstream(done(tag), ready()) == done(tag) + ready()


@pytest.mark.parametrize("late", [False, True])
def test_a_query_is_cut(book: Playbook, *, late: bool) -> None:
    """`late`: upstream had finished when the cancel came; the poison is what rolls back."""
    book.client(query(READ))
    answer = book.upstream(RAN, ROW * 5)
    assert shape(messages(answer)) == "TDDDE"
    error = messages(answer)[-1].fields
    assert (error["C"], error["S"]) == ("54000", "ERROR")
    assert "the 3 rows that grant g-1 lets it show" in error["M"]
    assert "LIMIT" in error["H"]
    assert cut(book)
    sent = book.resume()
    assert sent.startswith(b"P")
    assert sent.endswith(SYNC)
    assert book.client(query("SELECT 2")) == b""
    assert book.upstream(ROW * 9, *([done("SELECT 99"), poisoned(sent)] if late else [CANCELLED])) == b""
    assert book.upstream(ready()) == ready()
    assert book.resume() == b""  # a cancel may still be on its way
    assert cancel_over(book).startswith(parse("SELECT 2"))
    book.upstream(RAN, done("SELECT 0"))
    book.resume()
    book.upstream(ready())
    book.resume()
    (event,) = told(book, "cut")
    assert (event["rule"], event["rows"], event["limit"], event["statement"]) == ("max-rows", 3, 3, 1)
    end = told(book, "statement_end")[0]
    assert (end["outcome"], end["sqlstate"], end["rows"]) == ("error", "54000", 3)


def test_a_cancel_that_is_over_first(book: Playbook) -> None:
    book.client(query(READ))
    book.upstream(RAN, ROW * 4)
    assert cut(book)
    assert poison_of(cancel_over(book))
    assert book.upstream(CANCELLED, ready()) == ready()
    assert book.resume() == b""


def test_a_query_in_a_block_leaves_it_failed(book: Playbook) -> None:
    book.client(query("BEGIN"))
    book.upstream(done("BEGIN"), ready("T"))
    book.client(query(READ))
    book.upstream(RAN, ROW * 4)
    assert cut(book)
    sent = cancel_over(book)
    assert book.upstream(done("SELECT 4"), poisoned(sent), ready("E")) == ready("E")
    book.resume()
    assert book.shared.status == b"E"


@pytest.mark.parametrize("size", [1, 4, 5, 7, 11, 12])
def test_cut_wherever_the_bytes_are(size: int) -> None:
    book = book_under(at_most())
    book.client(query(READ))
    reply = RAN + ROW * 6 + CANCELLED
    read = b"".join(book.upstream(reply[at : at + size]) for at in range(0, len(reply), size))
    assert shape(messages(read)) == "TDDDE"
    assert not book.upstream_side.mid_message
    assert cut(book)
    cancel_over(book)
    assert book.upstream(ready()) == ready()
    book.resume()
    rests(book)


def test_the_rest_of_a_row_that_is_cut_is_nothing_of_the_clients(book: Playbook) -> None:
    book.client(query(READ))
    large = packet("D", b"\0\1" + (1000).to_bytes(4) + b"x" * 1000)
    answer = book.upstream(RAN, ROW * 3, large[:500])
    assert shape(messages(answer)) == "TDDDE"
    assert not book.upstream_side.mid_message
    assert not book.upstream_side.at_rest
    assert cut(book)
    cancel_over(book)
    assert book.upstream(large[500:], CANCELLED, ready()) == ready()
    book.resume()


def test_bytes_are_those_of_whole_rows() -> None:
    book = book_under(at_most(None, 2 * len(ROW)))
    book.client(query(READ))
    answer = book.upstream(RAN, ROW * 2, done("SELECT 2"))
    assert answer == COLUMNS + ROW * 2
    book.resume()
    book.upstream(CLOSED, ready())
    book.resume()
    book.client(query(READ))
    assert shape(messages(book.upstream(RAN, ROW * 3))) == "TDDE"
    assert cut(book)
    cancel_over(book)
    book.upstream(CANCELLED, ready())
    book.resume()
    rests(book)


def test_a_single_row_beyond_the_limit_is_not_begun() -> None:
    book = book_under(at_most(None, 100))
    book.client(query(READ))
    large = packet("D", b"\0\1" + (200).to_bytes(4) + b"x" * 200)
    answer = messages(book.upstream(RAN, large[:7]))
    assert shape(answer) == "TE"
    assert "100 bytes" in answer[-1].fields["M"]
    assert cut(book)
    cancel_over(book)
    book.upstream(large[7:], CANCELLED, ready())
    book.resume()
    rests(book)


def test_an_error_of_the_statement_is_passed_on(book: Playbook) -> None:
    book.client(query(READ))
    assert b"C22012\0" in book.upstream(RAN, ROW, failed("22012"))
    assert book.resume() == SYNC
    assert book.upstream(ready()) == ready()
    book.resume()


def test_a_fatal_of_upstream_behind_the_cut(book: Playbook) -> None:
    book.client(query(READ))
    book.upstream(RAN, ROW * 4)
    assert cut(book)
    assert b"C57P01\0" in book.upstream(failed("57P01", severity="FATAL"))
    assert book.shared.upstream_fatal == "57P01"
    cancel_over(book)
    book.upstream(CANCELLED, ready())
    book.resume()


# -- a Query of several statements -------------------------------------------------------------------------------------

SEVERAL = "SELECT a FROM t; SELECT b FROM t"


def test_several_statements_each_within_the_limit(book: Playbook) -> None:
    assert book.client(query(SEVERAL), query("BEGIN")) == query(SEVERAL)
    reply = (COLUMNS + ROW * 3 + done("SELECT 3")) * 2 + ready()
    assert book.upstream(reply) == reply
    assert book.resume() == query("BEGIN")
    book.upstream(done("BEGIN"), ready("T"))


def test_several_statements_cut_in_the_second(book: Playbook) -> None:
    book.client(query(SEVERAL))
    first = COLUMNS + ROW + done("SELECT 1")
    answer = book.upstream(first, COLUMNS, ROW * 4)
    assert answer.startswith(first)
    assert shape(messages(answer)) == "TDCTDDDE"
    assert cut(book)
    assert book.resume() == b""
    assert book.upstream(ROW, CANCELLED) == b""
    assert book.upstream(ready()) == ready()
    assert cancel_over(book) == b""
    assert told(book, "statement_end")[0]["sqlstate"] == "54000"


def test_several_statements_that_finish_before_the_cancel(book: Playbook) -> None:
    """Nobody reads of what ran behind the cut, and a block that it left open is failed."""
    book.client(query("SELECT a FROM t; BEGIN; COPY t TO STDOUT"))
    assert shape(messages(book.upstream(COLUMNS, ROW * 4))) == "TDDDE"
    assert cut(book)
    rest = [done("SELECT 4"), done("BEGIN"), COPY_OUT, copy_data(b"1\n"), COPY_DONE, done("COPY 1")]
    assert book.upstream(*rest, ready("T")) == b""
    sent = cancel_over(book)
    assert sent.startswith(b"Q")
    assert book.upstream(poisoned(sent), ready("E")) == ready("E")
    assert book.resume() == b""
    assert book.shared.status == b"E"


def test_several_statements_with_changes_are_refused_where_one_shows_rows() -> None:
    book = book_under(at_most(), AccessMode.READ_WRITE)
    sent = book.client(query("INSERT INTO t VALUES (1); SELECT 1"))
    assert b"C54000\0" in book.upstream(poisoned(sent), ready())
    plain = query("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")
    assert book.client(plain) == plain
    book.upstream(done("INSERT 0 1"), done("INSERT 0 1"), ready())
    rests(book)


# -- extended ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
def test_an_execute_is_cut_and_its_group_is_skipped(book: Playbook, *, late: bool) -> None:
    sent = extended(READ)
    assert book.client(sent, extended("SELECT 2"), SYNC, query("BEGIN")) == sent + FLUSH
    assert shape(messages(book.upstream(PARSED, BOUND, ROW * 4))) == "12DDDE"
    assert cut(book)
    poison = book.resume()
    assert book.client(FLUSH) == b""
    assert book.upstream(ROW, *([done("SELECT 5"), poisoned(poison)] if late else [CANCELLED])) == b""
    assert book.resume() == b""
    assert cancel_over(book) == extended("SELECT 2") + SYNC + query("BEGIN") + FLUSH
    assert book.upstream(ready()) == ready()
    book.upstream(done("BEGIN"), ready("T"))
    assert [end["outcome"] for end in told(book, "statement_end")][:4].count("skipped") == 2


def test_a_pipeline_of_groups_goes_one_statement_at_a_time(book: Playbook) -> None:
    one, two = extended(READ), extended("SELECT 2")
    assert book.client(one, SYNC, two, SYNC) == one + FLUSH
    book.upstream(PARSED, BOUND, ROW, done("SELECT 1"))
    assert book.resume() == SYNC + parse("SELECT 2") + bind()  # what runs nothing goes ahead
    assert book.upstream(ready()) == ready()
    assert book.resume() == execute() + FLUSH
    assert shape(messages(book.upstream(PARSED, BOUND, ROW * 4))) == "12DDDE"
    assert cut(book)
    cancel_over(book)
    book.upstream(CANCELLED)
    assert book.resume() == SYNC
    assert book.upstream(ready()) == ready()


def test_the_executes_of_a_portal_add_up(book: Playbook) -> None:
    book.client(parse(READ, "s"), bind("s", "p"), execute("p", 2))
    assert book.upstream(PARSED, BOUND, ROW * 2, SUSPENDED) == PARSED + BOUND + ROW * 2 + SUSPENDED
    assert book.resume() == b""
    assert book.client(execute("p", 2)) == execute("p", 2) + FLUSH
    assert shape(messages(book.upstream(ROW * 2, SUSPENDED))) == "DE"
    assert cut(book)
    assert book.upstream(poisoned(cancel_over(book))) == b""
    assert book.resume() == b""
    book.client(SYNC)
    assert book.upstream(ready()) == ready()
    assert [end.get("rows") for end in told(book, "statement_end") if end["outcome"] != "skipped"][-1] == 1


def test_a_portal_bound_anew_counts_anew(book: Playbook) -> None:
    book.client(parse(READ, "s"), bind("s"), execute(), SYNC)
    book.upstream(PARSED, BOUND, ROW * 3, done("SELECT 3"))
    book.resume()
    book.upstream(ready())
    book.client(bind("s"), execute(), SYNC)
    assert shape(messages(book.upstream(BOUND, ROW * 3, done("SELECT 3")))) == "2DDDC"
    book.resume()
    book.upstream(ready())


def test_an_execute_of_a_cursor_that_sql_declared(book: Playbook) -> None:
    book.client(query("BEGIN"))
    book.upstream(done("BEGIN"), ready("T"))
    book.client(query("DECLARE c CURSOR FOR SELECT a FROM t"))
    book.upstream(done("DECLARE CURSOR"), ready("T"))
    assert book.client(execute("c")) == execute("c") + FLUSH
    assert shape(messages(book.upstream(ROW * 4))) == "DDDE"
    assert cut(book)
    cancel_over(book)
    book.upstream(CANCELLED)
    book.resume()
    book.client(SYNC)
    assert book.upstream(ready("E")) == ready("E")


def test_a_query_that_is_bound_ahead_keeps_the_usual_way_closed(book: Playbook) -> None:
    """What drivers send in one go for a statement that they know."""
    book.client(parse(READ, "s"), SYNC)
    book.upstream(PARSED, ready())
    assert book.client(bind("s"), describe("P"), execute(), SYNC) == bind("s") + describe("P") + execute() + FLUSH
    assert shape(messages(book.upstream(BOUND, COLUMNS, ROW * 4))) == "2TDDDE"
    assert cut(book)
    cancel_over(book)
    book.upstream(CANCELLED)
    assert book.resume() == SYNC
    book.upstream(ready())


# -- COPY --------------------------------------------------------------------------------------------------------------


def test_a_copy_is_cut_in_place_of_its_end(book: Playbook) -> None:
    book.client(query("COPY t TO STDOUT"))
    line = copy_data(b"1\n")
    answer = book.upstream(PARSED, BOUND, NO_DATA, COPY_OUT, line * 4)
    assert shape(messages(answer)) == "HdddE"
    assert cut(book)
    sent = cancel_over(book)
    assert book.upstream(line, COPY_DONE, done("COPY 5"), poisoned(sent), ready()) == ready()
    book.resume()


def test_a_copy_within_the_limit(book: Playbook) -> None:
    book.client(extended("COPY t TO STDOUT"), SYNC)
    reply = COPY_OUT + copy_data(b"1\n") * 3 + COPY_DONE + done("COPY 3")
    assert book.upstream(PARSED, BOUND, reply) == PARSED + BOUND + reply
    assert book.resume() == SYNC
    book.upstream(ready())


def test_a_copy_from_the_client_is_not_limited() -> None:
    book = book_under(at_most(0, 0), AccessMode.READ_WRITE)
    book.client(query("COPY t FROM STDIN"))
    book.upstream(packet("G", b"\0\0\0"))
    data = copy_data(b"1\n") * 9 + COPY_DONE
    assert book.client(data) == data
    assert book.upstream(done("COPY 9"), ready()) == done("COPY 9") + ready()
    rests(book)


# -- changes, days -----------------------------------------------------------------------------------------------------


def test_rows_of_returning_count_and_the_change_is_rolled_back() -> None:
    book = book_under(at_most(), AccessMode.READ_WRITE)
    book.client(query("DELETE FROM t WHERE true RETURNING a"))
    assert shape(messages(book.upstream(RAN, ROW * 4))) == "TDDDE"
    assert cut(book)
    sent = cancel_over(book)
    assert sent.endswith(SYNC)
    assert book.upstream(done("DELETE 4"), poisoned(sent), ready()) == ready()
    book.resume()
    rests(book)


def test_the_bytes_of_a_day() -> None:
    day = DayCount("2026-01-02 00:00 UTC", sent=100, known=True)
    book = book_under(Limits("g-1", max_bytes_per_day=100 + 2 * len(ROW)), day=day)
    book.client(query(READ))
    error = messages(book.upstream(RAN, ROW * 3))[-1]
    assert (error.sqlstate, day.sent, day.unreported) == ("54000", 100 + 2 * len(ROW), 2 * len(ROW))
    assert "2026-01-02 00:00 UTC" in error.fields["H"]
    assert cut(book)
    cancel_over(book)
    book.upstream(CANCELLED, ready())
    book.resume()
    # What shows rows does not begin any more; a transaction can still be ended.
    for message in (query(READ), extended(READ) + SYNC):
        sent = book.client(message)
        (error, *_) = [
            each for each in messages(book.upstream(*_up_to_poison(message), poisoned(sent), ready())) if each.kind == "E"
        ]
        assert error.sqlstate == "54000"
        assert "used up" in error.fields["M"]
    assert book.client(query("COMMIT")) == query("COMMIT")
    book.upstream(done("COMMIT"), ready())
    assert [event["rule"] for event in told(book, "cut")] == ["max-bytes-per-day"]
    rests(book)


def test_what_shows_rows_waits_until_the_bytes_of_the_day_are_known() -> None:
    day = DayCount("2026-01-02 00:00 UTC")
    book = book_under(Limits("g-1", max_bytes_per_day=1_000_000), day=day)
    sent = book.client(query(READ))
    (error, *_) = [each for each in messages(book.upstream(poisoned(sent), ready())) if each.kind == "E"]
    assert error.sqlstate == "55000"
    assert "bytes-of-day-unknown" in error.fields["M"]
    day.known = True
    book.client(query(READ))
    assert shape(messages(book.upstream(RAN, ROW))) == "TD"


def _up_to_poison(message: bytes) -> tuple[bytes, ...]:
    return () if message.startswith(b"Q") else (PARSED, BOUND)


def test_limits_that_are_lifted_while_the_session_lives(book: Playbook) -> None:
    book.client(parse(READ, "s"), SYNC)
    book.upstream(PARSED, ready())
    free = PolicyInForce(Policy(AccessMode.READ_ONLY, server_major=16), 1000, 1_000_000, 1000)
    book.shared.adopt(free)
    book.shared.volume = None
    sent = bind("s") + execute() + SYNC
    assert book.client(sent) == sent
    reply = BOUND + ROW * 9 + done("SELECT 9") + ready()
    assert book.upstream(reply) == reply
