"""What a client says before it logs in. (Documentation: "Message Formats", SSLRequest to StartupMessage.)"""

from dataclasses import dataclass, field
from typing import Final

from gateway.wire.errors import ProtocolViolation, SilentClose
from gateway.wire.sqlstate import FEATURE_NOT_SUPPORTED, INVALID_AUTHORIZATION

MAX_STARTUP_BODY: Final = 10_000
LATEST_MINOR: Final = 2

_CANCEL: Final = 80877102
_SSL: Final = 80877103
_GSS: Final = 80877104


@dataclass(frozen=True, slots=True)
class SslRequest:
    pass


@dataclass(frozen=True, slots=True)
class GssRequest:
    pass


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """`process_id` and `key` as the client got them in BackendKeyData (4 bytes in 3.0, up to 256 in 3.2)."""

    process_id: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartupMessage:
    """`parameters` in the order given, without `user` and `database`; duplicates are kept (the last one wins)."""

    minor: int
    user: str
    database: str
    parameters: tuple[tuple[str, str], ...]
    extensions: tuple[str, ...]  # the names of _pq_. options, none of which we know

    @property
    def needs_negotiation(self) -> bool:
        return self.minor > LATEST_MINOR or bool(self.extensions)


FirstPacket = SslRequest | GssRequest | CancelRequest | StartupMessage


def packet_size(head: bytes) -> int | None:
    """The whole length of the packet that starts with `head`, or None while the length word is not whole.

    Raises SilentClose for a length that PostgreSQL closes on (below 8 or over 10,000 of body).
    """
    if len(head) < 4:
        return None
    length = int.from_bytes(head[:4], "big")
    if not 8 <= length <= MAX_STARTUP_BODY + 4:
        raise SilentClose(f"invalid length {length} of startup packet")
    return length


def read_packet(packet: bytes) -> FirstPacket:
    """One whole packet, length word included. Raises ProtocolViolation or SilentClose as PostgreSQL answers."""
    code = int.from_bytes(packet[4:8], "big")
    if code == _CANCEL:
        if not 13 <= len(packet) <= 12 + 256:
            raise SilentClose("invalid length of cancel request")
        return CancelRequest(int.from_bytes(packet[8:12], "big"), packet[12:])
    if code == _SSL:
        return SslRequest()
    if code == _GSS:
        return GssRequest()
    major, minor = code >> 16, code & 0xFFFF
    if major < 3:
        raise SilentClose(f"protocol {major}.{minor}")
    if major != 3:
        raise ProtocolViolation(
            f"unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{LATEST_MINOR}", FEATURE_NOT_SUPPORTED
        )
    return _startup_message(minor, packet[8:])


def _startup_message(minor: int, body: bytes) -> StartupMessage:
    if not body.endswith(b"\0"):
        raise _bad_layout()
    fields = body[:-1].split(b"\0")
    # A well-formed body is (name NUL value NUL)* NUL: after the final NUL is cut, an even number of parts and one empty one.
    if fields.pop() != b"" or len(fields) % 2:
        raise _bad_layout()
    try:
        texts = [field.decode("utf-8") for field in fields]
    except UnicodeDecodeError:
        raise ProtocolViolation("startup packet is not valid UTF-8") from None
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    if any(not name for name, _ in pairs):
        raise _bad_layout()
    named = dict(pairs)
    user = named.get("user", "")
    if not user:
        raise ProtocolViolation("no PostgreSQL user name specified in startup packet", INVALID_AUTHORIZATION)
    return StartupMessage(
        minor=minor,
        user=user,
        database=named.get("database") or user,
        parameters=tuple((n, v) for n, v in pairs if n not in ("user", "database") and not n.startswith("_pq_.")),
        extensions=tuple(n for n, _ in pairs if n.startswith("_pq_.")),
    )


def _bad_layout() -> ProtocolViolation:
    return ProtocolViolation("invalid startup packet layout: expected terminator as last byte")


def build_startup(parameters: list[tuple[str, str]]) -> bytes:
    """Our own StartupMessage to upstream, protocol 3.0, parameters in the order given."""
    body = b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in parameters) + b"\0"
    return (8 + len(body)).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + body


def build_cancel(process_id: int, key: bytes) -> bytes:
    return (12 + len(key)).to_bytes(4, "big") + _CANCEL.to_bytes(4, "big") + process_id.to_bytes(4, "big") + key


SSL_REQUEST: Final = (8).to_bytes(4, "big") + _SSL.to_bytes(4, "big")
