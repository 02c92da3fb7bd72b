"""The short cuts for usual messages do what the long way does: the same bytes, ledger, names and records, in every state."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access_mode import AccessMode
from gateway.session.names import Names
from tests.support.playbook import Playbook, playbook, ready
from tests.support.wire import SYNC, bind, describe, execute, packet, parse, query

_ROWS = packet("T", b"\0\1" + b"a\0" + bytes(18)) + packet("D", b"\0\1\0\0\0\1x") * 2
_DONE = packet("C", b"SELECT 2\0")
_BOUND = bind("s", "", [b"1"])
_REQUESTS = st.sampled_from(
    [
        query("SELECT 1"),
        query("SELECT 2"),
        query("DELETE FROM t"),
        query("SET work_mem = '1TB'"),
        query("PREPARE s AS SELECT 3"),
        query("DEALLOCATE s"),
        parse("SELECT 1", "s") + SYNC,
        parse("SELECT 1") + _BOUND + execute() + SYNC,
        _BOUND + execute() + SYNC,
        _BOUND + describe("P") + execute() + SYNC,
        bind("", "", [None, b"xy"]) + describe("P") + execute() + SYNC,
        bind("s", "p", []) + execute("p") + SYNC,
        bind("nobody", "", []) + execute() + SYNC,
        _BOUND[:-1] + execute() + SYNC,
        packet("B", _BOUND[5:-2] + b"\0\7") + execute() + SYNC,
        packet("C", b"Ss\0") + SYNC,
        SYNC,
        query("COPY t FROM STDIN"),
    ]
)
_REPLIES = st.sampled_from(
    [
        _ROWS + _DONE + ready(),
        _ROWS + _DONE + ready("T"),
        _DONE + ready(),
        _ROWS + _DONE + _ROWS + _DONE + ready(),
        packet("2") + _ROWS + _DONE + ready(),
        packet("2") + _ROWS[27:] + _DONE + ready(),
        packet("2") + packet("n") + _DONE + ready("T"),
        packet("1") + ready(),
        packet("1") + packet("2") + _ROWS + _DONE + ready(),
        packet("2") + packet("s") + ready(),
        packet("I") + ready(),
        packet("3") + ready(),
        packet("E", b"SERROR\0VERROR\0C42P01\0Mno\0\0") + ready(),
        packet("E", b"SERROR\0VERROR\0C42601\0Mno\0\0") + ready("E"),
        packet("S", b"TimeZone\0UTC\0") + _ROWS + _DONE + ready(),
        packet("G", b"\0\0\0"),
        packet("C", b"SELECT " + b"9" * 5000 + b"\0") + ready(),
        ready(),
    ]
)
_PREPARED = [(True, parse("SELECT 1", "s") + SYNC), (False, packet("1") + ready())]
_EXCHANGES = st.sampled_from(
    [
        _PREPARED,
        *([(True, query("SELECT 1")), (False, rows + _DONE + ready(status))] for rows in (b"", _ROWS) for status in "IT"),
        *(
            [(True, _BOUND + more + execute() + SYNC), (False, packet("2") + rows + _DONE + ready(status))]
            for more, rows in ((b"", _ROWS[27:]), (describe("P"), _ROWS))
            for status in "IT"
        ),
        *(
            [
                (True, parse("SELECT 1") + bind("", "", values) + more + execute() + SYNC),
                (False, packet("1") + packet("2") + rows + _DONE + ready(status)),
            ]
            for more, rows in ((b"", _ROWS[27:]), (describe("P"), _ROWS))
            for values in ([], [b"x", None])
            for status in "IT"
        ),
        [(True, query("DELETE FROM t"))],
        [(True, query("SELECT 1") + query("SELECT 2")), (False, _ROWS + _DONE + ready() + _ROWS + _DONE + ready())],
    ]
)
_SINGLE = st.one_of(st.tuples(st.just(True), _REQUESTS), st.tuples(st.just(False), _REPLIES)).map(lambda step: [step])
STEPS = st.lists(st.one_of(_EXCHANGES, _EXCHANGES, _EXCHANGES, _SINGLE), max_size=20).map(
    lambda steps: [*_PREPARED, *(step for several in steps for step in several)]
)


def state(book: Playbook) -> object:
    shared = book.shared
    owed = [
        (entry.kind, entry.statement_id, entry.name, entry.parameters, entry.refusal is None) for entry in shared.ledger.queue
    ]
    named = [known(shared.prepared), known(shared.portals)]
    ledger = shared.ledger.skipping, shared.ledger.copy_in, shared.ledger.swallowed_syncs
    return owed, named, ledger, shared.status, shared.statements, book.records, book.end, book.client_side.on_hold


def known(names: Names[object]) -> object:
    return [name for name in (b"", b"s", b"p") if names.lookup(name) is not None], len(names)


@given(STEPS, st.sampled_from(list(AccessMode)))
@settings(max_examples=600, deadline=None)
def test_the_short_way_is_the_long_way(steps: list[tuple[bool, bytes]], mode: AccessMode) -> None:
    """The long way: the same bytes in two pieces, so that no chunk is a whole usual message."""
    short, long = playbook(mode), playbook(mode)
    for from_client, data in steps:
        if from_client:
            said = short.client(data)
            heard = long.client(data[:1]) + long.client(data[1:])
        else:
            said = short.upstream(data)
            heard = long.upstream(data[:1]) + long.upstream(data[1:])
        assert said == heard
        assert state(short) == state(long)
        if short.end is not None:
            return
