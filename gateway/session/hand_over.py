"""An upstream session that was opened ahead becomes a client's: its name is changed to the client's, what it reports is checked.

Nothing else differs from a session opened for the client, since only clients without settings of their own in the startup packet
get one. But the name that RESET goes back to stays the one it waited under, which has the session's id and no person: so that one
is put right again after each RESET (see `replies`).
"""

from dataclasses import replace
from typing import Final

from gateway.session.conversation import Naming
from gateway.session.startup_settings import Wishes, label_of
from gateway.session.upstream_login import UpstreamRefused, Welcome
from gateway.statements.edits import quote
from gateway.wire import backend, frontend
from gateway.wire.errors import ProtocolViolation
from gateway.wire.framing import HEADER_SIZE, unpack_header

_MAX_BYTES: Final = 64 * 1024
#: What the session that waits says of itself, before its id and behind it.
WAITING_USER: Final = "pgbastion"
WAITING_APPLICATION: Final = "opened ahead"


def suits(wishes: Wishes) -> bool:
    """Whether this client finds in a session opened ahead what it would find in one opened for it.

    A setting of the startup packet is what RESET goes back to, which no SET is.
    """
    return not wishes.settings


def name_query(application_name: str) -> bytes:
    """A Query that names the session."""
    return frontend.build_query(f"SET application_name = {quote(application_name).strip()}".encode())


def name_again(application_name: str, nonce: str) -> bytes:
    """The same as a group that leaves the unnamed statement and portal alone, under a name that nobody can guess."""
    name = f"pgbastion_{nonce}".encode()
    text = f"SET application_name = {quote(application_name).strip()}".encode()
    bind = name + b"\0" + name + bytes(7)  # the portal, the statement; no formats, no values, results as text
    return b"".join(
        (
            frontend.build_parse(name, text),
            frontend.message(b"B", bind),
            frontend.message(b"E", name + bytes(5)),
            frontend.message(b"C", b"P" + name + b"\0"),
            frontend.message(b"C", b"S" + name + b"\0"),
            frontend.SYNC,
        )
    )


def named_ahead(session_id: str, application_name: str, nonce: str) -> Naming:
    """Of a session that was opened ahead: what a RESET makes of its name, and what it is to be."""
    reset_name = f"{label_of(WAITING_USER, session_id)} {WAITING_APPLICATION}"
    return Naming(reset_name, name_again(application_name, nonce))


class HandOver:
    """Send `name_query`, then `feed` what comes until it returns the Welcome for the client."""

    def __init__(self, welcome: Welcome, application_name: str, pinned: dict[str, str]) -> None:
        self._welcome = welcome
        self._expected = {**pinned, "application_name": application_name}
        self._buffer = b""
        self._reported: dict[str, str] = {}
        self._completed = False

    def feed(self, data: bytes) -> Welcome | None:
        """Raises UpstreamRefused and ProtocolViolation: then it is no session to hand over."""
        self._buffer += data
        if len(self._buffer) > _MAX_BYTES:
            raise ProtocolViolation("upstream sent too much for a SET")
        while len(self._buffer) >= HEADER_SIZE:
            kind, length = unpack_header(self._buffer, 0)
            if not 4 <= length <= _MAX_BYTES:
                raise ProtocolViolation(f"invalid length {length} of message {chr(kind)!r}")
            if len(self._buffer) < 1 + length:
                break
            body, self._buffer = self._buffer[HEADER_SIZE : 1 + length], self._buffer[1 + length :]
            if self._message(chr(kind), body):
                return self._checked()
        return None

    def _message(self, kind: str, body: bytes) -> bool:
        match kind:
            case "S":
                name, value = backend.read_parameter_status(body)
                self._reported[name] = value
            case "C" if body == b"SET\0" and not self._completed:
                self._completed = True
            case "Z" if body == b"I" and self._completed and not self._buffer:
                return True
            case "N":
                pass
            case "E":
                raise UpstreamRefused(
                    "refused", "the session that was opened ahead could not be named", backend.error_code(body)
                )
            case _:
                raise ProtocolViolation(f"upstream sent an unexpected message {kind!r} for a SET")
        return False

    def _checked(self) -> Welcome:
        statuses = {**self._welcome.statuses, **self._reported}
        for name, wanted in self._expected.items():
            if statuses.get(name) != wanted:
                raise UpstreamRefused("setting-not-in-force", f"the server reports {name} = {statuses.get(name)!r}")
        return replace(self._welcome, statuses=statuses)
