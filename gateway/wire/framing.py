"""Where messages begin and end in a byte stream. Bodies are not touched. (Documentation: "Message Formats".)

A message is one type byte, a 4-byte big-endian length that counts itself, and the body. `skip_rows` is the
hot loop, and may be compiled (see `gateway.compiled`).
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from gateway.compiled import twin_of
from gateway.wire.errors import ProtocolViolation, SilentClose
from gateway.wire.sqlstate import PROGRAM_LIMIT

HEADER: Final = Struct(">BI")
unpack_header: Final = HEADER.unpack_from
HEADER_SIZE: Final = 5

#: PostgreSQL's own bounds: PQ_SMALL_MESSAGE_LIMIT and PQ_LARGE_MESSAGE_LIMIT (MaxAllocSize - 1).
SMALL_LIMIT: Final = 10_000
LARGE_LIMIT: Final = 0x3FFFFFFE

_DATA_ROW: Final = ord("D")
_COPY_DATA: Final = ord("d")

_SMALL: Final = frozenset(b"CDEHSXcfp")
_LARGE: Final = frozenset(b"QPBFd")
KNOWN_FRONTEND: Final = _SMALL | _LARGE


def pure_skip_rows(data: bytes, position: int, end: int) -> int:
    """Step over DataRow and CopyData messages. Returns the position of the first other message, or one at or past
    `end - 4` where the next header is not whole yet, or past `end` where a row's body is still to come."""
    while position + HEADER_SIZE <= end:
        kind, length = unpack_header(data, position)
        if kind != _DATA_ROW and kind != _COPY_DATA:
            return position
        position += 1 + length
    return position


_twin: Final = twin_of(__name__)
skip_rows: Final[Callable[[bytes, int, int], int]] = _twin.skip_rows if _twin is not None else pure_skip_rows


def check_frontend_length(kind: int, length: int, limit: int) -> None:
    """Judge a client message by its header alone, before any of its body is kept.

    `limit` bounds what the gateway must hold whole (Query, Parse, Bind, FunctionCall); CopyData is only ever passed on.
    Raises ProtocolViolation or, where PostgreSQL closes without a word, SilentClose.
    """
    if kind in _SMALL:
        if not 4 <= length <= SMALL_LIMIT:
            raise SilentClose(f"invalid length {length} of message {chr(kind)!r}")
        return
    if kind not in _LARGE:
        raise ProtocolViolation(f"invalid frontend message type {kind}")
    if not 4 <= length <= LARGE_LIMIT:
        raise SilentClose(f"invalid length {length} of message {chr(kind)!r}")
    if length > limit and kind != _COPY_DATA:
        raise ProtocolViolation(
            f"a message of {length} bytes is larger than this gateway takes ({limit} bytes, limits.max_message_bytes)",
            PROGRAM_LIMIT,
        )
