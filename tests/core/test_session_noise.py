"""Noise on either side of a session: nothing raises, and a session that has ended relays no more."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access_mode import AccessMode, GrantOption
from gateway.session.verdicts import PolicyInForce
from gateway.session.watched import LIFT
from gateway.statements.policy import Policy
from tests.support.playbook import BOUND, NO_DATA, PARSED, Playbook, done, failed, playbook, ready
from tests.support.wire import FLUSH, SYNC, bind, close, copy_data, describe, execute, extended, packet, parse, query

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


CREATE = "CREATE TEMP TABLE t (k int)"
_CLIENT = st.sampled_from(
    [
        query("SELECT 1"),
        query(CREATE),
        query("DELETE FROM t WHERE true"),
        query("INSERT INTO t VALUES (1)"),
        query("BEGIN"),
        query("PREPARE a AS SELECT 1"),
        extended(CREATE),
        extended(CREATE) + SYNC,
        extended("DELETE FROM t WHERE true") + SYNC,
        parse(CREATE, "c"),
        parse("SELECT 1", "a"),
        *(bind(name, portal) for name in ("", "a", "c") for portal in ("", "p")),
        bind("a") + execute() + SYNC,
        describe("S", "c"),
        close("S"),
        *(execute(portal) for portal in ("", "p")),
        SYNC,
        SYNC,
        FLUSH,
        packet("F", bytes(10)),
    ]
)
_UPSTREAM = st.sampled_from(
    [
        *(PARSED, BOUND, NO_DATA, done("SET"), done("SELECT 1"), done("DELETE 9"), packet("s"), packet("3")),
        *(ready(), ready("T"), failed("57014"), failed("57014") + ready()),
        PARSED + BOUND + done("SET"),
        PARSED + BOUND + done("SET") + PARSED + BOUND + done("CREATE TABLE") + ready(),
        PARSED + BOUND + NO_DATA + done("DELETE 9"),
        PARSED + ready(),
    ]
)
_TALK = st.lists(st.tuples(st.booleans(), _CLIENT, _UPSTREAM), max_size=40)


def watchful(mode: AccessMode) -> Playbook:
    """Under a ceiling, or with temporary tables."""
    book = playbook(mode)
    reading = mode is AccessMode.READ_ONLY
    options = frozenset({GrantOption.TEMPORARY_TABLES}) if reading else frozenset[GrantOption]()
    policy = Policy(mode, server_major=16, options=options, max_changed_rows=None if reading else 5)
    book.shared.in_force = PolicyInForce(policy, 1000, 1_000_000, 1000)
    book.shared.first_policy = policy
    return book


def messages(sent: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(sent):
        (length,) = struct.unpack_from(">I", sent, at + 1)
        found.append(sent[at : at + 1 + length])
        at += 1 + length
    return found


@given(_TALK, st.sampled_from(list(AccessMode)))
@settings(max_examples=1500, deadline=None)
def test_whatever_is_said_nothing_else_runs_lifted(talk: list[tuple[bool, bytes, bytes]], mode: AccessMode) -> None:
    """Of everything that left: between a lift and the end of its transaction stands the one text, executed once."""
    book = watchful(mode)
    sent = b""
    for from_client, data, reply in talk:
        if from_client:
            sent += book.client(data)
        else:
            book.upstream(reply)
            if book.client_side.waiting_for_replies and book.end is None:
                sent += book.resume()
        if book.end is not None:
            break
    assert not (mode is AccessMode.READ_WRITE and LIFT in sent)
    lift = messages(LIFT)
    all_sent = messages(sent)
    for start in [at for at, message in enumerate(all_sent) if message == lift[0]]:
        assert all_sent[start : start + 3] == lift
        executed, failed = 0, False
        for message in all_sent[start + 3 :]:
            if message == SYNC or message.startswith(b"Q"):
                assert message == SYNC or b"pgbastion_denied_" in message
                break
            failed = failed or b"pgbastion_denied_" in message  # and upstream skips what follows, up to the Sync
            executed += message.startswith(b"E") and not failed
            assert message[:1] in b"PBDEHC"
            assert not message.startswith(b"P") or CREATE.encode() in message or b"pgbastion_denied_" in message
        assert executed <= 1


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
