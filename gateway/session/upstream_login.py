"""We log in to PostgreSQL, with credentials that the client never learns, and check that what answers is what we asked for.

Every answer is bounded in size and number. SCRAM must end with the server's right signature; a server that asks for no password,
or for one in clear text, is refused (but where a token stands for the password, inside verified TLS). What PostgreSQL reports
afterwards must show our settings in force. A pooler in between refuses them, or drops them without a word; where the role's own
defaults are the same, only one thing tells it apart: it makes up the process id that goes with its cancel keys. So the server is
asked for its own, once per session.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import md5
from typing import Final

from gateway.access_mode import AccessMode
from gateway.wire import backend, frontend
from gateway.wire.errors import ProtocolViolation
from gateway.wire.framing import HEADER_SIZE, unpack_header
from gateway.wire.scram import SCRAM, SCRAM_PLUS, Challenge, ClientKeys, ScramClient
from gateway.wire.startup import build_startup

_MAX_BYTES: Final = 64 * 1024
_MAX_MESSAGES: Final = 100
_PARAMETER_STATUS: Final = ord("S")
_READY: Final = ord("Z")
_VERSION_CHARACTERS: Final = 64
_REPORTS_READ_ONLY: Final = 14  # the first major that reports default_transaction_read_only
#: It goes out with the last word of our login, so that it costs no way of its own; a server reads it when it is ready.
_QUESTION: Final = frontend.build_query(
    b"/* pgbastion: is this PostgreSQL itself? */ "
    b"SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('default_transaction_read_only')"
)


def reported_major(statuses: Mapping[str, str]) -> int:
    """The server's major version, 0 when it does not say."""
    return _major(statuses.get("server_version", "")[:_VERSION_CHARACTERS])


@lru_cache(64)
def _major(version: str) -> int:
    return int("".join(c for c in version.split(".")[0] if c.isdigit()) or 0)


class UpstreamRefused(Exception):
    """Upstream did not let us in. `kind` is an audit word; `detail` is for operators and the audit, never for the client."""

    def __init__(self, kind: str, detail: str, sqlstate: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.detail = detail
        self.sqlstate = sqlstate


@dataclass(frozen=True, slots=True)
class Welcome:
    """Upstream is ready. `statuses` as reported, `rest` came behind the last message (only a notice could)."""

    statuses: dict[str, str]
    process_id: int
    key: bytes = field(repr=False)
    rest: bytes
    used_md5: bool
    used_channel_binding: bool


@dataclass(frozen=True, slots=True)
class UpstreamPlan:
    """What to ask for. `parameters` is our whole startup packet, in order; `pinned` what upstream must report.

    `is_token`: the password is a token for this login alone, that servers of its kind ask for as it is. Only inside TLS that shows
    which server it is.
    """

    parameters: list[tuple[str, str]]
    mode: AccessMode
    pinned: dict[str, str]
    allow_md5: bool
    iterations_max: int
    is_token: bool = False

    @property
    def application_name(self) -> str:
        return dict(self.parameters)["application_name"]


class UpstreamLogin:
    """`start`, then `feed`. When `challenge` is set, call `derived` with the keys for it (PBKDF2 is not for the event loop)."""

    def __init__(self, plan: UpstreamPlan, binding: bytes | None, nonce: str, reveal: Callable[[], str]) -> None:
        """`binding`: the hash of upstream's certificate, None without TLS. `reveal` gives the password, only for md5."""
        self._plan = plan
        self._binding = binding
        self._nonce = nonce
        self._reveal = reveal
        self._buffer = b""
        self._bytes = self._messages = 0
        self._scram: ScramClient | None = None
        self._proved = False
        self._authenticated = False
        self._statuses: dict[str, str] = {}
        self._process_id: int | None = None
        self._key = b""
        self._md5 = False
        self._asked = self._answered = False
        self.challenge: Challenge | None = None

    def start(self) -> bytes:
        return build_startup(self._plan.parameters)

    def derived(self, keys: ClientKeys) -> bytes:
        assert self._scram is not None  # noqa: S101 - only ever called for our own challenge
        self.challenge = None
        return frontend.message(b"p", self._scram.final(keys)) + _QUESTION

    def feed(self, data: bytes) -> tuple[bytes, Welcome | None]:
        """What to send, and the outcome when upstream is ready. Raises UpstreamRefused and ProtocolViolation."""
        buffer = self._buffer + data
        self._bytes += len(data)
        out = b""
        at, size = 0, len(buffer)
        while size - at >= HEADER_SIZE:
            kind, length = unpack_header(buffer, at)
            if not 4 <= length <= _MAX_BYTES or self._bytes > _MAX_BYTES or self._messages >= _MAX_MESSAGES:
                raise ProtocolViolation("upstream sent too much before it was ready")
            end = at + 1 + length
            if size < end:
                break
            self._messages += 1
            body, at = buffer[at + HEADER_SIZE : end], end
            if kind == _PARAMETER_STATUS and self._authenticated:  # most of them are
                name, value = backend.read_parameter_status(body)
                self._statuses[name] = value
            elif kind != _READY:
                out += self._message(chr(kind), body)
            elif self._asked:
                self._buffer = buffer[at:]
                return out, self._welcome(body)
            else:
                self._ready_first(body)
        self._buffer = buffer[at:]
        return out, None

    def _message(self, kind: str, body: bytes) -> bytes:
        match kind:
            case "R" if not self._authenticated:
                return self._authentication(int.from_bytes(body[:4], "big"), body[4:])
            case "E":
                raise self._refused(body)
            case "N":
                return b""
            case "K" if self._authenticated and 4 <= len(body) <= 4 + 256:
                self._process_id, self._key = int.from_bytes(body[:4], "big"), body[4:]
                return b""
            case "D" if self._asked:
                self._compare(backend.read_data_row(body))
                return b""
            case "T" | "C" if self._asked:
                return b""
            case _:
                raise ProtocolViolation(f"upstream sent an unexpected message {kind!r} during login")

    def _authentication(self, code: int, body: bytes) -> bytes:
        match code:
            case 10 if self._scram is None:
                return self._sasl(body.split(b"\0"))
            case 11 if self._scram is not None and self.challenge is None and not self._proved:
                self.challenge = self._scram.challenge(body, self._plan.iterations_max)
                return b""
            case 12 if self._scram is not None:
                self._scram.verify(body)
                self._proved = True
                return b""
            case 5 if self._plan.allow_md5 and len(body) == 4 and self._scram is None:
                return self._md5_answer(body)
            case 3 if self._plan.is_token and self._binding is not None and self._scram is None and not self._proved:
                self._proved, self._binding = True, None  # by its certificate, which was verified
                return frontend.message(b"p", self._reveal().encode() + b"\0") + _QUESTION
            case 5:
                raise UpstreamRefused("md5-not-allowed", "the server asks for md5 and the target does not allow it")
            case 0 if self._proved:
                self._authenticated = True
                return b""
            case 0:
                raise UpstreamRefused("no-password-asked", "the server let us in without asking for a password")
            case _:
                raise UpstreamRefused("unsupported-authentication", f"the server asks for authentication method {code}")

    def _sasl(self, mechanisms: list[bytes]) -> bytes:
        plus = SCRAM_PLUS.encode() in mechanisms and self._binding is not None
        if not plus and SCRAM.encode() not in mechanisms:
            raise UpstreamRefused("unsupported-authentication", "the server offers no SCRAM mechanism that we can use")
        # "y" tells an honest server that we would have used channel binding, so that nobody in between can hide its offer.
        self._scram = ScramClient(self._nonce, self._binding if plus else None, b"y" if self._binding is not None else b"n")
        first = self._scram.first()
        self._binding = self._binding if plus else None
        name = (SCRAM_PLUS if plus else SCRAM).encode()
        return frontend.message(b"p", name + b"\0" + len(first).to_bytes(4, "big") + first)

    def _md5_answer(self, salt: bytes) -> bytes:
        user = dict(self._plan.parameters)["user"]
        inner = md5((self._reveal() + user).encode(), usedforsecurity=False).hexdigest()
        self._md5 = self._proved = True  # md5 proves nothing about the server: the target's settings accept that
        digest = md5(inner.encode() + salt, usedforsecurity=False).hexdigest()
        return frontend.message(b"p", b"md5" + digest.encode() + b"\0") + _QUESTION

    def _refused(self, body: bytes) -> UpstreamRefused:
        fields = backend.read_error(body)
        code, text = fields["C"], fields.get("M", "")
        if "unsupported startup parameter" in text:
            return UpstreamRefused("pooler", text, code)
        return UpstreamRefused("refused", text, code)

    def _ready_first(self, status: bytes) -> None:
        """What is reported must be right already, before the answer to the one question."""
        self._check_ready(status)
        if (major := reported_major(self._statuses)) >= _REPORTS_READ_ONLY or not major:
            self._check_settings()
        self._asked = True

    def _compare(self, values: list[bytes | None]) -> None:
        process_id, read_only = ((value or b"").decode("ascii", "replace") for value in [*values, b"", b""][:2])
        self._statuses["default_transaction_read_only"] = read_only
        self._answered = True
        if self._process_id is not None and process_id != str(self._process_id):
            text = f"the server process is {process_id[:20]}, but {self._process_id} was announced, as a pooler does"
            raise UpstreamRefused("pooler", text)

    def _check_ready(self, status: bytes) -> None:
        if status != b"I" or not self._authenticated:
            raise ProtocolViolation("upstream was ready before it let us in")

    def _welcome(self, status: bytes) -> Welcome:
        self._check_ready(status)
        if not self._answered:
            raise ProtocolViolation("upstream did not answer the one question during login")
        self._check_settings()
        return Welcome(self._statuses, self._process_id or 0, self._key, self._buffer, self._md5, self._binding is not None)

    def _check_settings(self) -> None:
        if "default_transaction_read_only" not in self._statuses:
            raise UpstreamRefused("pooler", "the server does not report default_transaction_read_only, as a pooler does not")
        for name, wanted in self._plan.pinned.items():
            found = self._statuses.get(name)
            if found == wanted:
                continue
            if name == "is_superuser":
                raise UpstreamRefused("superuser", "the upstream role is a superuser")
            kind = "pooler" if found is None or name == "default_transaction_read_only" else "setting-not-in-force"
            raise UpstreamRefused(kind, f"the server reports {name} = {found!r} instead of {wanted!r}")
        if self._statuses.get("application_name") != self._plan.application_name:
            raise UpstreamRefused("pooler", "the server does not report the application_name that we sent")
