"""Framing, startup packets and client messages: fed whole, byte by byte, cut anywhere, and with more behind."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.session.greeting import Begin, Cancel, Greeting, Refuse, StartTls
from gateway.wire import backend
from gateway.wire.errors import BadMessage, ProtocolViolation, SilentClose
from gateway.wire.framing import LARGE_LIMIT, SMALL_LIMIT, check_frontend_length, skip_rows
from gateway.wire.frontend import (
    BindHead,
    build_parse,
    build_query,
    check_bind_values,
    read_bind_head,
    read_execute,
    read_kind_and_name,
    read_parse,
    read_query,
    read_sasl_initial,
)
from gateway.wire.startup import CancelRequest, StartupMessage, build_cancel, build_startup, packet_size, read_packet
from tests.support import wire

NAMES = st.binary(max_size=20).filter(lambda name: b"\0" not in name)
TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40)


def body(message: bytes) -> bytes:
    return message[5:]


# -- rows --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=30), max_size=8), st.sampled_from([b"C", b"Z", b"E", b"1"]))
def test_rows_are_stepped_over_however_they_are_cut(rows: list[bytes], after: bytes) -> None:
    """The first message that is no row is found at its place, from any prefix that holds its header."""
    stream = b"".join(wire.packet("D", row) for row in rows)
    data = stream + wire.packet(after.decode(), b"rest")
    for size in range(len(data) + 1):
        position = skip_rows(data, 0, size)
        if size >= len(stream) + 5:
            assert position == len(stream)
        else:
            assert position + 5 > size  # the next header is not whole, or a row's body is still to come


@pytest.mark.parametrize("kind", range(256))
def test_lengths_are_judged_by_type(kind: int) -> None:
    """Small messages 10,000, large ones what the gateway takes, COPY data what PostgreSQL takes; others never."""
    small, large = set(b"CDEHSXcfp"), set(b"QPBFd")
    if kind not in small | large:
        with pytest.raises(ProtocolViolation):
            check_frontend_length(kind, 4, 1000)
        return
    check_frontend_length(kind, 4, 1000)
    with pytest.raises(SilentClose):
        check_frontend_length(kind, 3, 1000)
    most = SMALL_LIMIT if kind in small else LARGE_LIMIT if kind == ord("d") else 1000
    check_frontend_length(kind, most, 1000)
    with pytest.raises((SilentClose, ProtocolViolation)):
        check_frontend_length(kind, most + 1, 1000)


# -- startup -----------------------------------------------------------------------------------------------------------


@given(TEXTS.filter(bool), TEXTS, st.lists(st.tuples(TEXTS.filter(bool), TEXTS), max_size=5), st.integers(0, 0xFFFF))
def test_startup_messages(user: str, database: str, more: list[tuple[str, str]], minor: int) -> None:
    """What was put in comes out, in order; duplicates stay; `_pq_.` options are told apart."""
    more = [(name, value) for name, value in more if name not in ("user", "database")]
    pairs = [("user", user), ("database", database), *more]
    packet = wire.startup_of([(n.encode(), v.encode()) for n, v in pairs], minor=minor)
    assert packet_size(packet) == len(packet)
    message = read_packet(packet)
    assert isinstance(message, StartupMessage)
    assert (message.user, message.database, message.minor) == (user, database or user, minor)
    assert message.parameters == tuple((n, v) for n, v in more if not n.startswith("_pq_."))
    assert message.extensions == tuple(n for n, _ in more if n.startswith("_pq_."))
    assert message.needs_negotiation == (minor > 2 or bool(message.extensions))


def test_what_we_build_can_be_read() -> None:
    parameters = [("user", "u"), ("database", "d"), ("application_name", "ä b")]
    message = read_packet(build_startup(parameters))
    assert isinstance(message, StartupMessage)
    assert message.parameters == (("application_name", "ä b"),)
    assert read_packet(build_cancel(7, b"12345678")) == CancelRequest(7, b"12345678")


@pytest.mark.parametrize("length", [0, 1, 7, 10_005, 0x7FFFFFFF, 0xFFFFFFFF])
def test_impossible_startup_lengths(length: int) -> None:
    head = struct.pack(">I", length)
    assert packet_size(head[:3]) is None
    with pytest.raises(SilentClose):
        packet_size(head)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"user", b"user\0x", b"user\0x\0", b"\0x\0user\0x\0\0", b"user\0x\0\0junk\0"],
)
def test_broken_startup_layouts(content: bytes) -> None:
    packet = struct.pack(">II", 8 + len(content), 3 << 16) + content
    with pytest.raises(ProtocolViolation):
        read_packet(packet)


@pytest.mark.parametrize("size", [0, 3, 257])
def test_cancel_keys_of_other_sizes(size: int) -> None:
    """A key of 0 bytes, or beyond 256; 1 to 3 bytes are read, and fit nobody."""
    packet = wire.cancel_request(1, bytes(size))
    if size in (0, 257):
        with pytest.raises(SilentClose):
            read_packet(packet)
    else:
        assert read_packet(packet) == CancelRequest(1, bytes(size))


# -- the greeting ------------------------------------------------------------------------------------------------------

STARTUP = wire.startup("ada", "sales")


def steps(data: list[bytes], *, tls_offered: bool, encrypted: bool = False) -> list[object]:
    greeting = Greeting(tls_offered=tls_offered, encrypted=encrypted)
    found: list[object] = []
    for piece in data:
        step = greeting.feed(piece)
        while step is not None:
            found.append(step)
            if isinstance(step, StartTls | Begin | Cancel):
                return found
            step = greeting.feed(b"")
    return found


@pytest.mark.parametrize("pieces", [1, 2, 3, 1000])
def test_greetings_in_pieces(pieces: int) -> None:
    def cut(data: bytes) -> list[bytes]:
        size = max(len(data) // pieces, 1)
        return [data[at : at + size] for at in range(0, len(data), size)]

    assert steps(cut(wire.SSL_REQUEST), tls_offered=True) == [StartTls(injected=False)]
    (begun,) = steps(cut(STARTUP), tls_offered=True)
    assert isinstance(begun, Begin)
    assert begun.startup.user == "ada"
    assert steps(cut(wire.cancel_request(9, b"abcd")), tls_offered=True) == [Cancel(CancelRequest(9, b"abcd"))]
    refused, begun = steps([*cut(wire.GSS_REQUEST), *cut(STARTUP)], tls_offered=True)
    assert refused == Refuse()
    assert isinstance(begun, Begin)


def test_bytes_behind_a_request_for_encryption_are_never_parsed() -> None:
    assert steps([wire.SSL_REQUEST + STARTUP], tls_offered=True) == [StartTls(injected=True)]
    for request in (wire.GSS_REQUEST, wire.SSL_REQUEST):
        with pytest.raises(ProtocolViolation, match="unencrypted data"):
            steps([request + STARTUP], tls_offered=False)


@pytest.mark.parametrize("requests", [[wire.SSL_REQUEST] * 2, [wire.GSS_REQUEST] * 2, [wire.SSL_REQUEST, wire.GSS_REQUEST] * 2])
def test_each_kind_of_encryption_may_be_asked_for_once(requests: list[bytes]) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        steps(requests, tls_offered=False)
    assert caught.value.sqlstate == "0A000"
    with pytest.raises(ProtocolViolation):
        steps(requests[:1], tls_offered=True, encrypted=True)


def test_what_comes_behind_a_startup_packet_is_kept() -> None:
    (begun,) = steps([STARTUP + b"more"], tls_offered=True)
    assert isinstance(begun, Begin)
    assert begun.rest == b"more"


# -- client messages ---------------------------------------------------------------------------------------------------


def read_bind(message: bytes, *pieces: int) -> BindHead:
    """The values in so many at a time, and the rest at once."""
    head = read_bind_head(message)
    at, left = head.end, head.parameters
    for values in pieces:
        if values < left:
            at, left = check_bind_values(message, at, values, more=True), left - values
    check_bind_values(message, at, left)
    return head


@given(NAMES, NAMES, st.lists(st.one_of(st.none(), st.binary(max_size=20)), max_size=5), st.binary(max_size=3))
def test_bind(portal: bytes, statement: bytes, values: list[bytes | None], extra: bytes) -> None:
    message = body(wire.bind(statement.decode("latin-1"), portal.decode("latin-1"), values))
    name = lambda raw: raw.decode("latin-1").encode()  # noqa: E731 - as wire.bind writes it
    read = read_bind(message)
    assert (read[0], read[1], read[2]) == (name(portal), name(statement), len(values))
    for end in range(len(message)):
        with pytest.raises(BadMessage):
            read_bind(message[:end])
    if extra:
        with pytest.raises(BadMessage):
            read_bind(message + extra)


_VALUES = st.lists(st.one_of(st.none(), st.binary(max_size=20)), max_size=12)


@given(
    _VALUES.map(lambda values: body(wire.bind("s", "", values))),
    st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=4)), max_size=2),
    st.integers(0, 300),
    st.lists(st.integers(1, 5), max_size=12),
)
def test_bind_in_pieces(message: bytes, changes: list[tuple[int, bytes]], end: int, pieces: list[int]) -> None:
    """Whatever is wrong with it is found, and it is the same."""
    for at, instead in changes:
        message = message[:at] + instead + message[at + len(instead) :]
    for read in (message, message[:end]):
        assert outcome_of(read, *pieces) == outcome_of(read)


def outcome_of(message: bytes, *pieces: int) -> BindHead | str:
    try:
        return read_bind(message, *pieces)
    except BadMessage as bad:
        return f"{bad.sqlstate} {bad.message}"


@given(NAMES, NAMES, st.lists(st.integers(0, 2**32 - 1), max_size=4), st.binary(min_size=1, max_size=3))
def test_parse(name: bytes, sql: bytes, types: list[int], extra: bytes) -> None:
    message = body(build_parse(name, sql, tuple(types)))
    read = read_parse(message)
    assert (read[0], read[1], list(read[2])) == (name, sql, types)
    for end in range(len(message)):
        with pytest.raises(BadMessage):
            read_parse(message[:end])
    with pytest.raises(BadMessage):
        read_parse(message + extra)


@given(NAMES, st.binary(max_size=20))
def test_query_has_one_text_and_nothing_else(sql: bytes, behind: bytes) -> None:
    assert read_query(body(build_query(sql))) == sql
    with pytest.raises(BadMessage):
        read_query(sql)
    with pytest.raises(BadMessage):
        read_query(sql + b"\0" + behind + b"\0")


@given(NAMES, st.sampled_from([b"S", b"P"]))
def test_describe_close_and_execute(name: bytes, kind: bytes) -> None:
    assert read_kind_and_name(kind + name + b"\0") == (kind[0], name)
    assert read_execute(name + b"\0" + bytes(4)) == name
    for bad in (b"", b"X" + name + b"\0", kind + name, kind + name + b"\0x"):
        with pytest.raises(BadMessage):
            read_kind_and_name(bad)
    for bad in (name + b"\0" + bytes(3), name + b"\0" + bytes(5), name.replace(b"\0", b"")):
        with pytest.raises(BadMessage):
            read_execute(bad)


def test_parameters_that_lie() -> None:
    """A length beyond the message, below -1, or one whose sum wraps around 2^32."""
    head = b"\0\0\0\0\0\2"
    for lengths in ((1000, 0), (-2, 0), (0x7FFFFFFF, 0x7FFFFFFF), (-(2**31), 0)):
        with pytest.raises(BadMessage):
            read_bind(head + struct.pack(">ii", *lengths) + b"\0\0")


@given(st.binary(max_size=60))
def test_no_body_does_worse_than_bad_message(data: bytes) -> None:
    for reader in (read_query, read_parse, read_bind, read_execute, read_kind_and_name, read_sasl_initial):
        with contextlib.suppress(BadMessage):
            reader(data)


# -- server messages ---------------------------------------------------------------------------------------------------


@given(TEXTS, TEXTS, st.integers(0, 1000))
def test_our_errors_can_be_read(said: str, hint: str, position: int) -> None:
    built = backend.build_error(backend.ErrorFields("ERROR", "42501", said, hint=hint, position=position))
    fields = backend.read_error(built[5:])
    assert fields["C"] == backend.error_code(built[5:]) == "42501"
    assert fields.get("M", "") == said
    assert fields.get("H", "") == hint
    assert fields.get("P", "0") == str(position)


def test_nul_cannot_end_a_field_early() -> None:
    built = backend.build_error(backend.ErrorFields("ERROR", "42501", "a\0VFATAL\0b"))
    assert b"\0VFATAL\0" not in built


@pytest.mark.parametrize(
    ("tag", "rows"), [(b"SELECT 5\0", 5), (b"INSERT 0 7\0", 7), (b"BEGIN\0", None), (b"COPY 3\0", 3), (b"\0", None)]
)
def test_rows_of_tags(tag: bytes, rows: int | None) -> None:
    assert backend.rows_of_tag(tag) == rows
