"""The client proves who it is: SCRAM-SHA-256 or SCRAM-SHA-256-PLUS, and nothing else. (Documentation: "SASL Authentication".)

An unknown user takes the same steps with mock keys, so that known and unknown look the same until the last message, which is the
same refusal. Nothing about users, targets or addresses is said before the proof is right.
"""

from dataclasses import dataclass
from typing import Final

from gateway.wire import backend
from gateway.wire.errors import ProtocolViolation
from gateway.wire.framing import HEADER_SIZE, unpack_header
from gateway.wire.frontend import read_sasl_initial
from gateway.wire.scram import SCRAM, SCRAM_PLUS, ScramServer, ServerKeys
from gateway.wire.startup import LATEST_MINOR, StartupMessage

#: PostgreSQL's bound for a whole SASL message (PG_MAX_SASL_MESSAGE_LENGTH); a longer one it calls a wrong password.
_MAX_BODY: Final = 1024
_PASSWORD_MESSAGE: Final = ord("p")


@dataclass(frozen=True, slots=True)
class Proved:
    """The proof was right: `rest` came behind it and is not looked at yet."""

    final: bytes  # AuthenticationSASLFinal, to be sent when the session is let in or refused
    rest: bytes


@dataclass(frozen=True, slots=True)
class WrongPassword:
    pass


def negotiation(startup: StartupMessage) -> bytes:
    """What goes before any answer to a client that speaks a later protocol than we do."""
    if not startup.needs_negotiation:
        return b""
    return backend.negotiate_protocol_version(LATEST_MINOR, startup.extensions)


class Login:
    """`greeting` first; then `feed` until it returns an outcome. Raises ProtocolViolation and BadMessage."""

    __slots__ = ("_binding", "_buffer", "_known", "_mechanism", "_scram", "_startup")

    def __init__(self, startup: StartupMessage, keys: ServerKeys, binding: bytes | None, nonce: str, known: str) -> None:
        """`known`: "known", or anything else for a user whose proof must fail whatever it is."""
        self._startup = startup
        self._scram = ScramServer(keys, binding, nonce)
        self._binding = binding
        self._known = known
        self._mechanism = ""
        self._buffer = b""

    def greeting(self) -> bytes:
        mechanisms = [SCRAM_PLUS, SCRAM] if self._binding is not None else [SCRAM]
        return negotiation(self._startup) + backend.authentication_sasl(mechanisms)

    def feed(self, data: bytes) -> tuple[bytes, Proved | WrongPassword | None]:
        """What to send, and the outcome when there is one."""
        self._buffer += data
        out = b""
        while len(self._buffer) >= HEADER_SIZE:
            kind, length = unpack_header(self._buffer, 0)
            if kind != _PASSWORD_MESSAGE:
                raise ProtocolViolation(f"expected SASL response, got message type {kind}")
            if not 4 <= length <= _MAX_BODY + 4:
                return out, WrongPassword()
            if len(self._buffer) < 1 + length:
                break
            body, self._buffer = self._buffer[HEADER_SIZE : 1 + length], self._buffer[1 + length :]
            if not self._mechanism:
                out += self._first(body)
                continue
            final = self._scram.final(body)
            if final is None or self._known != "known":
                return out, WrongPassword()
            return out, Proved(backend.authentication_sasl_final(final), self._buffer)
        return out, None

    def _first(self, body: bytes) -> bytes:
        raw, initial = read_sasl_initial(body)
        mechanism = raw.decode("ascii", "replace")
        offered = mechanism == SCRAM or (mechanism == SCRAM_PLUS and self._binding is not None)
        if not offered:
            raise ProtocolViolation("client selected an invalid SASL authentication mechanism")
        self._mechanism = mechanism
        if initial is None:  # allowed by the protocol: an empty challenge asks for it
            raise ProtocolViolation("the initial SASL response is missing")
        return backend.authentication_sasl_continue(self._scram.first(mechanism, initial))
