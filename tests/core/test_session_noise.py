"""Noise on either side of a session: nothing raises, and a session that has ended relays no more."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access_mode import AccessMode
from tests.support.playbook import playbook, ready
from tests.support.wire import bind, copy_data, execute, extended, packet, parse, query

_BODIES = st.one_of(
    st.binary(max_size=12), st.sampled_from([b"", b"\0", b"I", b"SELECT 1\0", b"a\0b\0", b"SERROR\0C42601\0\0"])
)
_FRAMES = st.builds(lambda kind, body: packet(chr(kind), body), st.sampled_from(b"QPBDECHSFXdcf12nCZEITtDGHANSKRsWv3"), _BODIES)
_SENSIBLE = st.sampled_from(
    [
        query("SELECT 1"),
        query("DELETE FROM t"),
        query("COPY t FROM STDIN"),
        extended("SELECT 1"),
        parse("SELECT 1", "a"),
        bind("a", "p"),
        execute("p"),
        copy_data(b"x"),
        packet("S"),
        packet("c"),
        packet("G", b"\0\0\0"),
        ready(),
        packet("1"),
        packet("2"),
        packet("C", b"SELECT 1\0"),
    ]
)
_PIECES = st.lists(st.tuples(st.booleans(), st.one_of(_FRAMES, _SENSIBLE, st.binary(max_size=20))), max_size=25)


@given(_PIECES, st.sampled_from(list(AccessMode)), st.booleans())
@settings(max_examples=400, deadline=None)
def test_noise_from_both_sides(pieces: list[tuple[bool, bytes]], mode: AccessMode, late: bool) -> None:
    book = playbook(mode, inline_bytes=10 if late else 10_000)
    for from_client, data in pieces:
        ended = book.end is not None
        said = book.client(data) if from_client else book.upstream(data)
        if ended and book.end is not None and "upstream" in book.end.reason and not from_client:
            assert said == b""
        if not from_client and book.client_side.waiting_for_replies:
            book.resume()
        if book.client_side.on_hold and not book.client_side.waiting_for_replies:
            book.judged()
    book.client_side.drop()
    book.shared.abandon_all(1.0)
    assert book.client(query("SELECT 1")) == b""


@given(_PIECES)
@settings(max_examples=200, deadline=None)
def test_noise_is_the_same_in_any_pieces(pieces: list[tuple[bool, bytes]]) -> None:
    """What one side reads does not depend on how the other's bytes were cut."""
    whole, cut = playbook(), playbook()
    data = b"".join(data for from_client, data in pieces if from_client)
    once = whole.client(data)
    piecewise = b"".join(cut.client(data[at : at + 1]) for at in range(len(data)))
    assert (whole.end is None) == (cut.end is None)
    if whole.end is None:
        assert piecewise == once
