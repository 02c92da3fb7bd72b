"""SCRAM-SHA-256 verifiers in PostgreSQL's own form. Pure; the salt is the caller's.

A verifier lets the gateway check a password without being able to know it. `Verifier` is handed to the login exchange, which
knows nothing of this package.
"""

import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from dataclasses import dataclass, field
from typing import Final

DEFAULT_ITERATIONS: Final = 4096
"""What PostgreSQL itself uses, so that known and unknown users, old and new, all announce the same number."""

_TEXT: Final = re.compile(r"SCRAM-SHA-256\$([1-9][0-9]{0,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")
_KEY_BYTES: Final = 32
_SALT_BYTES: Final = 16
_MAX_ITERATIONS: Final = 2**31 - 1

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


class VerifierError(ValueError):
    """A stored verifier that cannot be read. Its text never repeats the verifier."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What RFC 5802 stores about a password. `salt` in bytes (16 when made here), both keys 32 bytes."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


def saslprep(text: str) -> str:
    """RFC 4013 as PostgreSQL does it: ASCII is left alone, and a text that may not be prepared is used as it is.

    Prohibited and bidirectional checks look at the *mapped* text, before normalisation, because PostgreSQL's do.
    """
    if text.isascii():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in text if stringprep.in_table_c12(c) or not stringprep.in_table_b1(c)
    )
    if not mapped or any(check(c) for c in mapped for check in _PROHIBITED):
        return text
    if any(stringprep.in_table_d1(c) for c in mapped):
        ends_well = stringprep.in_table_d1(mapped[0]) and stringprep.in_table_d1(mapped[-1])
        if not ends_well or any(stringprep.in_table_d2(c) for c in mapped):
            return text
    return unicodedata.normalize("NFKC", mapped)


def make_verifier(password: str, salt: bytes, iterations: int = DEFAULT_ITERATIONS) -> str:
    """PostgreSQL's text form for this password. `salt` should be 16 random bytes. Takes about a millisecond."""
    if not salt or not 0 < iterations <= _MAX_ITERATIONS:
        raise ValueError("a verifier needs a salt and a positive number of iterations")
    verifier = _derive(password, salt, iterations)
    return f"SCRAM-SHA-256${iterations}:{_encode(salt)}${_encode(verifier.stored_key)}:{_encode(verifier.server_key)}"


def parse_verifier(text: str) -> Verifier:
    """Read PostgreSQL's text form. Raises VerifierError."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise VerifierError("not a SCRAM-SHA-256 verifier")
    iterations = int(match[1])
    try:
        salt, stored_key, server_key = [binascii.a2b_base64(match[i], strict_mode=True) for i in (2, 3, 4)]
    except binascii.Error as error:
        raise VerifierError("a SCRAM-SHA-256 verifier with broken base64") from error
    if iterations > _MAX_ITERATIONS or not salt or len(stored_key) != _KEY_BYTES or len(server_key) != _KEY_BYTES:
        raise VerifierError("a SCRAM-SHA-256 verifier with parts of the wrong size")
    return Verifier(iterations, salt, stored_key, server_key)


def mock_verifier(user_name: str, secret: bytes, iterations: int = DEFAULT_ITERATIONS) -> Verifier:
    """What an unknown user is asked against: looks like a real one, and is the same on every worker and after a restart.

    No password fits it, except with the chance of guessing a 256-bit key.
    """
    name = user_name.encode("utf-8", "surrogateescape")

    def part(purpose: bytes) -> bytes:
        return hmac.digest(secret, purpose + b"\0" + name, "sha256")

    return Verifier(iterations, part(b"salt")[:_SALT_BYTES], part(b"stored-key"), part(b"server-key"))


def password_fits(password: str, verifier: Verifier) -> bool:
    """Whether this password made the verifier. Both keys are compared, each in constant time."""
    made = _derive(password, verifier.salt, verifier.iterations)
    stored = hmac.compare_digest(made.stored_key, verifier.stored_key)
    server = hmac.compare_digest(made.server_key, verifier.server_key)
    return stored and server


def _derive(password: str, salt: bytes, iterations: int) -> Verifier:
    prepared = saslprep(password).encode("utf-8")
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return Verifier(iterations, salt, hashlib.sha256(client_key).digest(), server_key)


def _encode(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii")
