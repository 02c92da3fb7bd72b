"""The first record of a TLS handshake: which application protocols the client offers. (RFC 8446, 4.1.2 and 5.1; RFC 7301, 3.1.)

Python's TLS server does not tell what a client offered when nothing of it suits. It is read here, from bytes that the TLS library
reads again afterwards; so nothing but the decision to go on depends on what is found.
"""

from collections.abc import Iterator
from typing import Final

from gateway.wire.errors import SilentClose

HEADER_BYTES: Final = 5
LARGEST_RECORD: Final = HEADER_BYTES + 0x4000
#: A fatal alert, no_application_protocol, in the clear: what PostgreSQL's TLS answers to one that offers only other protocols.
NO_APPLICATION_PROTOCOL: Final = bytes((0x15, 3, 3, 0, 2, 2, 120))
_HANDSHAKE: Final = 0x16
_CLIENT_HELLO: Final = 1
_ALPN: Final = 16
_VERSION_AND_RANDOM: Final = 2 + 32


def record_size(header: bytes) -> int | None:
    """Of the record that begins with these five bytes, header and all; None: it is not one of a handshake."""
    if header[0] != _HANDSHAKE or header[1] != 3:
        return None
    size = HEADER_BYTES + int.from_bytes(header[3:5], "big")
    return size if size <= LARGEST_RECORD else None


def offered_protocols(record: bytes) -> tuple[bytes, ...]:
    """Names by ALPN, in the client's order; () when it offers none. `record` is one whole record.

    Raises SilentClose when it is not one whole ClientHello. No client cuts one into records, but who stands in between could.
    """
    fields = _Fields(record[HEADER_BYTES:])
    if fields.number(1) != _CLIENT_HELLO:
        raise _broken()
    hello = _Fields(fields.vector(3))
    hello.take(_VERSION_AND_RANDOM)
    for length_bytes in (1, 2, 1):  # session id, cipher suites, compression methods
        hello.vector(length_bytes)
    if hello.at_end:
        return ()
    extensions = _Fields(hello.vector(2))
    offered: tuple[bytes, ...] = ()
    while not extensions.at_end:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == _ALPN:
            if offered:
                raise _broken()
            offered = tuple(_names(_Fields(content)))
    return offered


def _names(content: "_Fields") -> Iterator[bytes]:
    names = _Fields(content.vector(2))
    while not names.at_end:
        yield names.vector(1)


class _Fields:
    """Reads numbers and length-prefixed vectors, one behind the other."""

    __slots__ = ("_data", "_place")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def at_end(self) -> bool:
        return self._place == len(self._data)

    def take(self, size: int) -> bytes:
        end = self._place + size
        if end > len(self._data):
            raise _broken()
        taken, self._place = self._data[self._place : end], end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_bytes: int) -> bytes:
        return self.take(self.number(length_bytes))


def _broken() -> SilentClose:
    return SilentClose("not a whole ClientHello")
