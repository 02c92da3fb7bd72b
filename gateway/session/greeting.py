"""What comes before a StartupMessage: requests for encryption, cancel requests. (Documentation: "SSL Session Encryption".)

Each kind of encryption may be asked for once, GSSAPI never after TLS. Bytes that came in the clear behind a request for TLS are an
injection attempt: they are never parsed, and the client hears about them inside TLS, as PostgreSQL says it.
"""

from dataclasses import dataclass
from enum import Enum

from gateway.wire.errors import ProtocolViolation
from gateway.wire.sqlstate import FEATURE_NOT_SUPPORTED
from gateway.wire.startup import LATEST_MINOR, CancelRequest, GssRequest, SslRequest, StartupMessage, packet_size, read_packet


class Answer(Enum):
    """One byte to send as it is; after YES the TLS handshake begins."""

    YES = b"S"
    NO = b"N"


@dataclass(frozen=True, slots=True)
class StartTls:
    """Send `Answer.YES`, then shake hands. `injected`: clear bytes came behind the request."""

    injected: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """Send `Answer.NO` and go on reading."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The session begins; `rest` came behind the startup packet."""

    startup: StartupMessage
    rest: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    request: CancelRequest


Step = StartTls | Refuse | Begin | Cancel


class Greeting:
    """`feed`, then carry out the step it returns (None: more bytes are needed), then feed b"" until it returns None again.

    Raises ProtocolViolation or SilentClose. `encrypted`: this connection is inside TLS already.
    """

    __slots__ = ("_buffer", "_gss_done", "_tls_done", "_tls_offered")

    def __init__(self, *, tls_offered: bool, encrypted: bool) -> None:
        self._buffer = b""
        self._tls_offered = tls_offered
        self._tls_done = encrypted
        self._gss_done = encrypted

    @property
    def started(self) -> bool:
        return bool(self._buffer)

    def feed(self, data: bytes) -> Step | None:
        self._buffer += data
        size = packet_size(self._buffer)
        if size is None or len(self._buffer) < size:
            return None
        packet, rest = self._buffer[:size], self._buffer[size:]
        self._buffer = b""
        match read_packet(packet):
            case SslRequest() if not self._tls_done:
                self._tls_done = True
                if self._tls_offered:
                    return StartTls(injected=bool(rest))
                self._no_rest("SSL", rest)
                return Refuse()
            case GssRequest() if not self._gss_done:
                self._gss_done = True
                self._no_rest("GSSAPI encryption", rest)
                return Refuse()
            case SslRequest() | GssRequest():
                code = int.from_bytes(packet[4:8], "big")
                text = f"unsupported frontend protocol {code >> 16}.{code & 0xFFFF}: server supports 3.0 to 3.{LATEST_MINOR}"
                raise ProtocolViolation(text, FEATURE_NOT_SUPPORTED)
            case CancelRequest() as request:
                return Cancel(request)
            case StartupMessage() as startup:
                return Begin(startup, rest)

    def _no_rest(self, what: str, rest: bytes) -> None:
        if rest:
            raise ProtocolViolation(f"received unencrypted data after {what} request")


def injected() -> ProtocolViolation:
    return ProtocolViolation("received unencrypted data after SSL request")
