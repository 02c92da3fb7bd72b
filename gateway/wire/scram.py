"""Both ends of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677; documentation: "SASL Authentication").

The server end knows only StoredKey and ServerKey, never a password. PostgreSQL's way is followed where it differs from the RFC:
the user name comes from the startup packet, so that `n=` is ignored and may be empty. Channel binding is tls-server-end-point.
"""

import hmac
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass, field
from hashlib import pbkdf2_hmac, sha256
from typing import Final

from gateway.wire.errors import ProtocolViolation
from gateway.wire.sqlstate import FEATURE_NOT_SUPPORTED, INVALID_AUTHORIZATION

SCRAM: Final = "SCRAM-SHA-256"
SCRAM_PLUS: Final = "SCRAM-SHA-256-PLUS"
MAX_MESSAGE: Final = 1024
_BINDING_TYPE: Final = b"tls-server-end-point"


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What a stored verifier gives: enough to check a proof, useless for making one."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _xor(one: bytes, other: bytes) -> bytes:
    """Of two keys: 32 bytes each."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(32, "big")


def _attributes(text: bytes) -> list[tuple[bytes, bytes]]:
    pairs = []
    for part in text.split(b","):
        if len(part) < 2 or part[1:2] != b"=" or not part[:1].isalpha():
            raise ProtocolViolation("malformed SCRAM message")
        pairs.append((part[:1], part[2:]))
    return pairs


_PRINTABLE: Final = bytes(c for c in range(0x21, 0x7F) if c != 0x2C)


def _printable(text: bytes) -> bool:
    return bool(text) and not text.translate(None, _PRINTABLE)


class ScramServer:
    """One exchange: `first` then `final`. `binding` is our certificate's hash, None without TLS or without a usable one."""

    __slots__ = ("_auth", "_binding", "_gs2", "_keys", "_nonce", "_server_nonce")

    def __init__(self, keys: ServerKeys, binding: bytes | None, server_nonce: str) -> None:
        self._keys = keys
        self._binding = binding
        self._server_nonce = server_nonce.encode()
        self._gs2 = b""
        self._nonce = b""
        self._auth = b""

    def first(self, mechanism: str, message: bytes) -> bytes:
        """client-first-message -> server-first-message. Raises ProtocolViolation with PostgreSQL's code."""
        if len(message) > MAX_MESSAGE or b"\0" in message:
            raise ProtocolViolation("malformed SCRAM message")
        flag, comma, rest = message.partition(b",")
        self._check_flag(mechanism, flag)
        authzid, comma2, bare = rest.partition(b",")
        if not comma or not comma2:
            raise ProtocolViolation("malformed SCRAM message")
        if authzid:
            raise ProtocolViolation("client uses authorization identity, but it is not supported", FEATURE_NOT_SUPPORTED)
        if bare.startswith(b"m="):
            raise ProtocolViolation("client requires an unsupported SCRAM extension", FEATURE_NOT_SUPPORTED)
        pairs = _attributes(bare)
        if [key for key, _ in pairs[:2]] != [b"n", b"r"] or not _printable(pairs[1][1]):
            raise ProtocolViolation("malformed SCRAM message")
        self._gs2 = flag + b",,"
        self._nonce = pairs[1][1] + self._server_nonce
        salt = _encode(self._keys.salt)
        answer = b"r=" + self._nonce + b",s=" + salt + b",i=" + str(self._keys.iterations).encode()
        self._auth = bare + b"," + answer
        return answer

    def _check_flag(self, mechanism: str, flag: bytes) -> None:
        if mechanism == SCRAM_PLUS:
            if not flag.startswith(b"p="):
                raise ProtocolViolation("client selected SCRAM-SHA-256-PLUS, but did not include channel binding data")
            if flag != b"p=" + _BINDING_TYPE:
                raise ProtocolViolation("unsupported SCRAM channel-binding type")
        elif flag == b"y":
            if self._binding is not None:  # somebody in the middle hid PLUS from the client
                raise ProtocolViolation("SCRAM channel binding negotiation error", INVALID_AUTHORIZATION)
        elif flag != b"n":
            raise ProtocolViolation("malformed SCRAM message")

    def final(self, message: bytes) -> bytes | None:
        """client-final-message -> server-final-message, or None when the proof is wrong."""
        if len(message) > MAX_MESSAGE or b"\0" in message:
            raise ProtocolViolation("malformed SCRAM message")
        without_proof, comma, proof_text = message.rpartition(b",p=")
        pairs = _attributes(without_proof) if comma else []
        if [key for key, _ in pairs[:2]] != [b"c", b"r"]:
            raise ProtocolViolation("malformed SCRAM message")
        expected = self._gs2 + (self._binding or b"" if self._gs2.startswith(b"p=") else b"")
        if not hmac.compare_digest(pairs[0][1], _encode(expected)):
            if not self._gs2.startswith(b"p="):
                raise ProtocolViolation("unexpected SCRAM channel-binding attribute in client-final-message")
            raise ProtocolViolation("SCRAM channel binding check failed", INVALID_AUTHORIZATION)
        if not hmac.compare_digest(pairs[1][1], self._nonce):
            raise ProtocolViolation("malformed SCRAM message")
        proof = _decode(proof_text)
        if len(proof) != 32:
            raise ProtocolViolation("malformed SCRAM message")
        auth = self._auth + b"," + without_proof
        client_key = _xor(proof, _mac(self._keys.stored_key, auth))
        if not hmac.compare_digest(sha256(client_key).digest(), self._keys.stored_key):
            return None
        return b"v=" + _encode(_mac(self._keys.server_key, auth))


def _encode(raw: bytes) -> bytes:
    return b2a_base64(raw, newline=False)


def _decode(text: bytes) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True)
    except Base64Error:
        raise ProtocolViolation("malformed SCRAM message") from None


@dataclass(frozen=True, slots=True, repr=False)
class ClientKeys:
    """What a password, salt and iteration count give; cacheable, as secret as the password."""

    client_key: bytes
    server_key: bytes


def derive_client_keys(password: str, salt: bytes, iterations: int) -> ClientKeys:
    """PBKDF2: about a millisecond at 4,096 iterations; the password must be prepared (SASLprep) already."""
    salted = pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    return ClientKeys(_mac(salted, b"Client Key"), _mac(salted, b"Server Key"))


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server's first message asks for."""

    salt: bytes
    iterations: int


class ScramClient:
    """One exchange with upstream: `first`, `challenge`, `final`, `verify`. Every step checks what the server may not change."""

    __slots__ = ("_auth", "_binding", "_client_nonce", "_gs2", "_keys", "_nonce", "_server_first")

    def __init__(self, client_nonce: str, binding: bytes | None, tls_without_plus: bytes = b"n") -> None:
        """`binding`: the server certificate's hash when SCRAM-SHA-256-PLUS was chosen."""
        self._client_nonce = client_nonce.encode()
        self._binding = binding
        self._gs2 = b"p=" + _BINDING_TYPE + b",," if binding is not None else tls_without_plus + b",,"
        self._server_first = b""
        self._nonce = b""
        self._auth = b""
        self._keys: ClientKeys | None = None

    def first(self) -> bytes:
        return self._gs2 + b"n=,r=" + self._client_nonce

    def challenge(self, message: bytes, iterations_max: int) -> Challenge:
        """server-first-message. Refuses a foreign nonce and a work factor outside 4,096 to `iterations_max`."""
        pairs = dict(_attributes(message))
        nonce, count = pairs.get(b"r", b""), pairs.get(b"i", b"")
        if not nonce.startswith(self._client_nonce) or len(nonce) <= len(self._client_nonce) or len(nonce) > MAX_MESSAGE:
            raise ProtocolViolation("upstream's SCRAM nonce is not ours")
        if not count.isdigit() or len(count) > 9 or not 4096 <= int(count) <= iterations_max:
            raise ProtocolViolation("upstream's SCRAM iteration count is out of bounds")
        salt = _decode(pairs.get(b"s", b""))
        if not salt:
            raise ProtocolViolation("upstream's SCRAM salt is empty")
        self._server_first, self._nonce = message, nonce
        return Challenge(salt, int(count))

    def final(self, keys: ClientKeys) -> bytes:
        without_proof = b"c=" + _encode(self._gs2 + (self._binding or b"")) + b",r=" + self._nonce
        self._auth = b"n=,r=" + self._client_nonce + b"," + self._server_first + b"," + without_proof
        self._keys = keys
        signature = _mac(sha256(keys.client_key).digest(), self._auth)
        return without_proof + b",p=" + _encode(_xor(keys.client_key, signature))

    def verify(self, message: bytes) -> None:
        """server-final-message: without the right signature the server never knew the password."""
        if self._keys is None or not message.startswith(b"v="):
            raise ProtocolViolation("upstream's SCRAM server signature is missing")
        if not hmac.compare_digest(_decode(message[2:]), _mac(self._keys.server_key, self._auth)):
            raise ProtocolViolation("upstream's SCRAM server signature is wrong")
