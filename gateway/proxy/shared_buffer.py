"""Reading from TLS transports into one buffer, which all connections of a worker share: what comes is taken in the same step.

Otherwise uvloop asks for a block of 256 kB for each read, and asyncio's own loop copies more.
"""

import asyncio
from typing import Final

_SIZE: Final = 64 * 1024  # four TLS records; what is more comes in the event loop's next turn
_VIEW: Final = memoryview(bytearray(_SIZE))
_NOBODY: Final = asyncio.Protocol()


class SharedBuffer(asyncio.BufferedProtocol):
    """Stands before a protocol of the usual kind."""

    __slots__ = ("_protocol", "data_received")

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self.data_received = protocol.data_received

    @staticmethod
    def get_buffer(sizehint: int) -> memoryview:
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(_VIEW[:nbytes].tobytes())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """uvloop's TLS keeps what it calls for as long as its transport is kept: that must not keep the session."""
        protocol, self._protocol, self.data_received = self._protocol, _NOBODY, _NOBODY.data_received
        protocol.connection_lost(exc)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


def set_protocol(transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
    """From here on what comes over the transport is the protocol's, through a shared buffer where it is inside TLS."""
    inside_tls = transport.get_extra_info("ssl_object") is not None
    transport.set_protocol(SharedBuffer(protocol) if inside_tls else protocol)
