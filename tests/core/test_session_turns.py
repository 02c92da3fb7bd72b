"""No chunk is too much for one turn of the event loop: what is left for later comes in order, and nothing of it is lost."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access_mode import AccessMode
from gateway.session.denial import RESERVED_NAME
from gateway.session.effects import ClientQuit, Effect, GoOn, ReadOn
from gateway.session.holding import MOST_OWED, VALUES_AT_ONCE
from gateway.session.verdicts import PolicyInForce
from gateway.statements import policy as policies
from gateway.wire.errors import BadMessage
from gateway.wire.frontend import check_bind_values, read_bind_head
from tests.support.playbook import BOUND, CLOSED, COPY_IN, PARSED, Playbook, done, failed, playbook, ready
from tests.support.wire import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    close,
    copy_data,
    describe,
    execute,
    packet,
    parse,
    query,
)

ROW = packet("D", b"\0\0")


def from_client(book: Playbook, data: bytes) -> list[bytes]:
    """What leaves in each turn, the first of which is the call itself."""
    return [book.client(data), *later_turns(book, GoOn(), book.client_side.go_on)]


def from_upstream(book: Playbook, data: bytes) -> list[bytes]:
    return [book.upstream(data), *later_turns(book, ReadOn(), book.upstream_side.go_on)]


def resumed(book: Playbook) -> bytes:
    return b"".join([book.resume(), *later_turns(book, GoOn(), book.client_side.go_on)])


def later_turns(book: Playbook, asked: Effect, go_on: Callable[[float], bytes]) -> Iterator[bytes]:
    """As long as one more is asked for."""
    while asked in book.effects:
        book.effects.remove(asked)
        yield go_on(book.now)
        book._after()


@pytest.mark.parametrize(
    ("message", "least"),
    [
        (lambda number: query(f"SELECT a{number} FROM t"), 34),  # each is judged
        (lambda number: parse(f"SELECT a{number} FROM t", f"s{number}"), 34),
        (lambda number: query("SELECT 1"), 2),
        (lambda number: parse("SELECT 1"), 2),
        (lambda number: bind("s", "", [b"x"]), 2),
        (lambda number: bind("s", "", [b"x"]) + execute() + SYNC, 3),
        (lambda number: describe("S", "s"), 2),
        (lambda number: execute("p"), 4),
        (lambda number: close("S", "x"), 2),
        (lambda number: query("SELECT " + "a, " * 100 + f"a{number} FROM t"), 80),
        (lambda number: packet("B"), 2),
    ],
)
def test_many_messages_take_many_turns(message: Callable[[int], bytes], least: int) -> None:
    """Whether they come in one chunk or one by one is the same to upstream and to the audit."""
    messages = [message(number) for number in range(340)]
    at_once, one_by_one = playbook(max_names=1000), playbook(max_names=1000)
    turns = from_client(at_once, b"".join(messages))
    assert b"".join(turns) == b"".join(one_by_one.client(each) for each in messages)
    assert len(turns) >= least
    assert at_once.records == one_by_one.records
    assert at_once.owed == one_by_one.owed
    assert at_once.client_side.at_rest


def test_what_comes_meanwhile_waits_behind() -> None:
    book = playbook()
    first, last = query("SELECT 1") * 1000, query("SELECT 2")
    out = book.client(first)
    assert book.effects == [GoOn()]
    assert book.client(last) == b""
    while not book.client_side.at_rest:
        out += book.client_side.go_on(0.0)
    assert out == first + last


def test_a_stray_turn_does_nothing() -> None:
    book = playbook()
    assert book.client_side.go_on(0.0) == b""
    assert book.upstream_side.go_on(0.0) == b""
    book.client(query("SELECT '" + "x" * 20_000 + "'"))
    assert book.client_side.go_on(0.0) == b""
    assert book.client_side.on_hold  # for its verdict
    book.client_side.drop()
    assert book.client_side.go_on(0.0) == b""


def test_a_goodbye_waits_for_what_is_before_it() -> None:
    book = playbook()
    turns = from_client(book, query("SELECT 1") * 1000 + TERMINATE)
    assert b"".join(turns) == query("SELECT 1") * 1000 + TERMINATE
    assert book.effects == [ClientQuit()]


def test_a_copy_streams_on() -> None:
    book = playbook()
    book.client(query("COPY (SELECT 1) TO STDOUT"))
    rows = copy_data(b"1\n") * 6000
    turns = from_client(book, rows)
    assert b"".join(turns) == rows
    assert 2 <= len(turns) <= 4


# -- a Bind of many values

_MANY = 20_000


def many_values(behind: bytes = b"") -> bytes:
    """`behind`: what takes the place of its end."""
    message = bind("s", "", [b"x" * (number % 3) for number in range(_MANY)])
    return packet("B", message[5 : len(message) - len(behind)] + behind)


def prepared() -> Playbook:
    book = playbook()
    book.client(parse("SELECT 1", "s") + SYNC)
    book.upstream(PARSED + ready())
    return book


def test_a_bind_of_many_values_takes_many_turns() -> None:
    """It leaves when all of them were looked at, with what is behind it."""
    book, sent = prepared(), many_values() + execute() + SYNC
    turns = from_client(book, sent)
    assert len(turns) >= _MANY // VALUES_AT_ONCE
    assert turns[:-1] == [b""] * (len(turns) - 1)
    assert turns[-1] == sent
    assert book.owed == 3
    assert book.client_side.at_rest


def test_what_comes_while_its_values_are_looked_at_waits_behind() -> None:
    book, sent = prepared(), many_values()
    assert book.client(sent) == b""
    held = b""
    out = b""
    while book.client_side.on_hold:
        assert book.client(execute()) == b""
        held += execute()
        out += book.client_side.go_on(book.now)
    assert out == sent + held
    assert book.owed == 1 + len(held) // len(execute())


def test_an_end_drops_a_bind_of_many_values() -> None:
    book = prepared()
    book.client(many_values())
    book.client_side.drop()
    assert book.client_side.go_on(book.now) == b""
    assert book.owed == 0


def test_many_values_that_wait_for_a_name_are_looked_at_once() -> None:
    """Its statement is settled by a reply; what had been looked at before is not looked at again."""
    book = playbook()
    book.client(parse("SELECT 1", "s") + SYNC)
    assert b"".join(from_client(book, many_values() + SYNC)) == b""
    assert book.client_side.waiting_for_replies
    book.upstream(PARSED + ready())
    assert book.resume() == many_values() + SYNC
    assert book.effects == []


@given(
    st.lists(st.tuples(st.integers(0, 5 * _MANY), st.binary(min_size=1, max_size=4)), max_size=2),
    st.sampled_from([b"", b"\0", b"\0\1", b"\0\1\0\0", b"more"]),
    st.lists(st.integers(0, 5 * _MANY), max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_a_bind_in_turns_is_the_bind_in_one_go(changes: list[tuple[int, bytes]], end: bytes, cuts: list[int]) -> None:
    """Whatever is wrong with its values, and however it comes: it leaves as it is, or what is said is what one look says."""
    message = many_values(end)
    for at, instead in changes:
        at += 10  # of the values' number, or behind it
        message = (message[:at] + instead + message[at + len(instead) :])[: len(message)]
    said = malformed(message[5:])
    book, out = prepared(), b""
    begin = 0
    for cut in (*sorted(cuts), len(message)):
        out += b"".join(from_client(book, message[begin:cut]))
        begin = max(begin, cut)
    out += b"".join(from_client(book, SYNC))
    assert book.client_side.at_rest
    assert book.end is None
    refusal = book.shared.ledger.queue[0].refusal
    if said is None:
        assert out == message + SYNC
        assert refusal is None
    else:
        assert refusal is not None
        assert out == refusal.as_parse(RESERVED_NAME) + SYNC
        assert refusal.fields.message == said


def malformed(body: bytes) -> str | None:
    """What one look at all of it says."""
    try:
        head = read_bind_head(body)
        check_bind_values(body, head.end, head.parameters)
    except BadMessage as bad:
        return bad.message
    return None


# -- replies that are owed


def test_a_pipeline_waits_when_too_many_replies_are_owed() -> None:
    """Upstream is told to give what it has; once half of it came, the rest leaves."""
    book = playbook()
    book.client(parse("SELECT 1", "s") + SYNC)
    book.upstream(PARSED + ready())
    bound = bind("s") + execute()
    sent = b"".join(from_client(book, bound * 2000 + SYNC))
    assert book.owed == MOST_OWED
    assert sent == bound * (MOST_OWED // 2) + FLUSH
    assert book.client_side.waiting_for_replies
    answered = BOUND + done("SELECT 0")
    assert b"".join(from_upstream(book, answered * 100)) == answered * 100
    assert book.resume() == b""
    assert b"".join(from_upstream(book, answered * 156)) == answered * 156
    assert resumed(book) == bound * 256 + FLUSH
    sent, out = 768, b""
    while sent < 2000:
        from_upstream(book, answered * (book.owed // 2))
        out = resumed(book)
        sent += out.count(bound)
    from_upstream(book, answered * (book.owed // 2))
    assert out.endswith(SYNC)
    assert from_upstream(book, ready()) == [ready()]
    assert book.owed == 0
    assert book.client_side.at_rest
    assert book.end is None


def test_an_error_frees_a_pipeline_that_waits() -> None:
    book = playbook()
    from_client(book, execute() * 3000 + SYNC)
    assert book.client_side.waiting_for_replies
    book.upstream(failed("34000"))
    assert book.owed == 0
    out = resumed(book)
    assert out.endswith(SYNC)
    assert book.owed == 1
    assert book.client_side.at_rest


def test_queries_one_by_one_wait_too() -> None:
    book = playbook()
    for _ in range(MOST_OWED):
        assert book.client(query("SELECT 1")) == query("SELECT 1")
    assert book.client(query("SELECT 1")) == FLUSH
    assert book.owed == MOST_OWED


def test_a_copy_within_a_crowd_gets_its_data() -> None:
    """Syncs behind a COPY are swallowed by upstream: they are owed no longer once it has begun."""
    book = playbook(mode=policies.AccessMode.READ_WRITE)
    from_client(book, query("COPY t FROM STDIN") + SYNC * 3000 + copy_data(b"1\n") + COPY_DONE)
    assert book.client_side.waiting_for_replies
    book.upstream(COPY_IN)
    out = resumed(book)
    assert out.endswith(copy_data(b"1\n") + COPY_DONE)


# -- what upstream says


@pytest.mark.parametrize(
    "reply",
    [
        packet("T", b"\0\0") + ROW + done("SELECT 1"),
        done("SET"),
        packet("N", b"SNOTICE\0C00000\0Mx\0\0"),
        packet("S", b"TimeZone\0UTC\0"),
        ROW,
    ],
)
def test_many_replies_take_many_turns(reply: bytes) -> None:
    at_once, one_by_one = playbook(), playbook()
    at_once.client(query("SELECT 1"))
    one_by_one.client(query("SELECT 1"))
    said = reply * 20_000 + done("SELECT 1") + ready()
    turns = from_upstream(at_once, said)
    assert b"".join(turns) == said
    assert len(turns) > 1
    for begin in range(0, len(said), 1000):
        one_by_one.upstream(said[begin : begin + 1000])
    assert at_once.records == one_by_one.records
    assert at_once.owed == one_by_one.owed == 0
    assert at_once.upstream_side.at_rest
    assert at_once.end is None


def test_wide_rows_take_one_turn() -> None:
    """A stream of rows that are worth their bytes is never cut."""
    book = playbook()
    book.client(query("SELECT 1"))
    rows = packet("D", bytes(500)) * 520
    assert book.upstream_side.feed(rows, 0.0) is rows


def test_what_upstream_says_meanwhile_waits_behind() -> None:
    book = playbook()
    book.client(query("SELECT 1"))
    first, last = done("SET") * 20_000, ready()
    out = book.upstream(first)
    assert book.upstream_side.has_more
    assert not book.upstream_side.at_rest
    assert book.upstream(last) == b""
    while book.upstream_side.has_more:
        out += book.upstream_side.go_on(0.0)
    assert out == first + last
    assert book.owed == 0


def test_an_end_among_many_replies_is_the_end() -> None:
    book = playbook()
    book.client(query("SELECT 1"))
    said = done("SET") * 1000 + packet("S", b"client_encoding\0LATIN1\0") + done("SET") * 3000
    assert b"".join(from_upstream(book, said)) == done("SET") * 1000
    assert book.end is not None
    assert not book.upstream_side.has_more


def test_replies_to_a_close_among_many() -> None:
    book = playbook()
    from_client(book, close("S", "x") * 1000)
    assert b"".join(from_upstream(book, CLOSED * 1000)) == CLOSED * 1000
    assert book.owed == 0


@pytest.mark.parametrize("message", [query, lambda sql: parse(sql) + SYNC], ids=["query", "parse"])
def test_a_text_above_the_limit_is_refused_when_it_comes(message: Callable[[str], bytes]) -> None:
    """Its length says so: nobody else is asked, and nothing of it is remembered."""
    book = playbook(inline_bytes=10_000)
    policy = policies.Policy(mode=AccessMode.READ_ONLY, server_major=16, max_statement_bytes=20_000)
    in_force = book.shared.in_force = PolicyInForce(policy, 1000, 100_000_000, 1000)
    sent = book.client(message("SELECT 1" + ",1" * 20_000))
    assert b"pgbastion_denied_" in sent
    assert b",1,1,1" not in sent
    assert book.effects == []
    assert not in_force.remembered
    assert not in_force.shapes
    (record,) = (record for record in book.records if b'"statement-too-long"' in record)
    assert b'"sql_bytes":40008,"truncated":true' in record
