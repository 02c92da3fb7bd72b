"""Messages that clients send: readers of whole bodies, and the few that we build. (Documentation: "Message Formats".)

Readers get the body without its header and raise BadMessage where PostgreSQL raises an ERROR 08P01 (pq_getmsgend and friends).
"""

import struct
from typing import Final, NamedTuple

from gateway.wire.errors import BadMessage

_INT16: Final = struct.Struct(">H")
_INT32: Final = struct.Struct(">i")
_int16 = _INT16.unpack_from
_int32 = _INT32.unpack_from


class Parse(NamedTuple):
    name: bytes
    sql: bytes
    parameter_types: tuple[int, ...]


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (4 + len(body)).to_bytes(4, "big") + body


def read_query(body: bytes) -> bytes:
    """The SQL text of a Query: all of the body but its one NUL."""
    if not body or body.find(b"\0") != len(body) - 1:
        raise BadMessage("invalid message format" if b"\0" in body else "invalid string in message")
    return body[:-1]


def read_parse(body: bytes) -> Parse:
    name, at = _string(body, 0)
    sql, at = _string(body, at)
    try:
        (count,) = _int16(body, at)
    except struct.error:
        raise BadMessage("insufficient data left in message") from None
    if len(body) != at + 2 + 4 * count:
        raise BadMessage("invalid message format")
    types = struct.Struct(f">{count}I").unpack_from(body, at + 2) if count else ()
    return Parse(name, sql, types)


class BindHead(NamedTuple):
    """A Bind up to its values, which begin at `end`."""

    portal: bytes
    statement: bytes
    parameters: int  # how many
    formats: int
    end: int


def read_bind_head(body: bytes) -> BindHead:
    """The values behind it are another matter: see `check_bind_values`."""
    portal_end = body.find(b"\0")
    end = body.find(b"\0", portal_end + 1)
    if portal_end < 0 or end < 0:
        raise BadMessage("invalid string in message")
    try:
        (formats,) = _int16(body, end + 1)
        at = end + 3 + 2 * formats
        (parameters,) = _int16(body, at)
    except struct.error:
        raise BadMessage("insufficient data left in message") from None
    if formats > 1 and formats != parameters:
        raise BadMessage(f"bind message has {formats} parameter formats but {parameters} parameters")
    return BindHead(body[:portal_end], body[portal_end + 1 : end], parameters, formats, at + 2)


def check_bind_values(body: bytes | memoryview, at: int, values: int, *, more: bool = False) -> int:
    """Every length of so many values from `at` on, so that what is counted is what upstream will read; returns where they end.

    Behind the last of them, unless there are `more`, stand the formats of the result and nothing else. To check some, and more
    from where those end, comes to the same as to check all.
    """
    try:
        for _ in range(values):
            (length,) = _int32(body, at)
            at += 4
            if length > 0:
                at += length
            elif length < -1:
                raise BadMessage("invalid parameter length in bind message")
        if more:
            return at
        (results,) = _int16(body, at)
    except struct.error:
        raise BadMessage("insufficient data left in message") from None
    if len(body) != at + 2 + 2 * results:
        raise BadMessage("invalid message format")
    return at


def read_execute(body: bytes) -> bytes:
    """The portal's name; the row limit is upstream's matter."""
    end = body.find(b"\0")
    if end < 0:
        raise BadMessage("invalid string in message")
    if len(body) != end + 5:
        raise BadMessage("invalid message format")
    return body[:end]


def read_kind_and_name(body: bytes) -> tuple[int, bytes]:
    """Of Describe and Close: ord("S") or ord("P"), and the name."""
    if not body or body[0] not in b"SP":
        raise BadMessage("invalid message subtype")
    if body.find(b"\0", 1) != len(body) - 1:
        raise BadMessage("invalid message format" if b"\0" in body[1:] else "invalid string in message")
    return body[0], body[1:-1]


def _string(body: bytes, at: int) -> tuple[bytes, int]:
    end = body.find(b"\0", at)
    if end < 0:
        raise BadMessage("invalid string in message")
    return body[at:end], end + 1


def build_query(sql: bytes) -> bytes:
    return message(b"Q", sql + b"\0")


def build_parse(name: bytes, sql: bytes, parameter_types: tuple[int, ...] = ()) -> bytes:
    types = b"".join(oid.to_bytes(4, "big") for oid in parameter_types)
    return message(b"P", name + b"\0" + sql + b"\0" + len(parameter_types).to_bytes(2, "big") + types)


def read_sasl_initial(body: bytes) -> tuple[bytes, bytes | None]:
    """SASLInitialResponse: the mechanism and the initial response (None: absent)."""
    mechanism, at = _string(body, 0)
    if len(body) < at + 4:
        raise BadMessage("insufficient data left in message")
    (length,) = _int32(body, at)
    data = body[at + 4 :]
    if length == -1 and not data:
        return mechanism, None
    if length != len(data):
        raise BadMessage("invalid message format")
    return mechanism, data


TERMINATE: Final = message(b"X", b"")
SYNC: Final = message(b"S", b"")
FLUSH: Final = message(b"H", b"")
