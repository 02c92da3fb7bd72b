"""What people prove themselves with when they sign in: a password, a code of their authenticator, or a recovery code.

A password's hash is slow on purpose (argon2id); whoever serves others meanwhile runs it in a thread. A recovery code is random
enough (75 bits) that SHA-256 of it can only be undone by guessing.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from functools import cache
from typing import Final

import argon2
import pyotp

from gateway.access.accounts import STEP_SECONDS
from gateway.secret import Secret
from gateway.services.errors import ServiceError

MIN_CHARACTERS: Final = 12
MAX_CHARACTERS: Final = 256
RECOVERY_CODES: Final = 10

_GENERATED_BYTES: Final = 24
_SECRET_CHARACTERS: Final = 32  # base32: 160 bits
_RECOVERY_BYTES: Final = 10  # base32: 16 characters, of which 15 are kept
_RECOVERY_CHARACTERS: Final = 15
_GROUP: Final = 5
_DIGITS: Final = 6
_HASHER: Final = argon2.PasswordHasher.from_parameters(argon2.profiles.RFC_9106_LOW_MEMORY)


def check_sign_in_password(password: Secret) -> None:
    text = password.reveal()
    if not MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS:
        raise ServiceError(
            "password-length",
            f"a password for signing in needs {MIN_CHARACTERS} to {MAX_CHARACTERS} characters",
            "Leave it out to have one made.",
        )
    if not text.isprintable():
        raise ServiceError("password-characters", "a password cannot hold control characters")


def new_password() -> Secret:
    """32 characters, 192 bits."""
    return Secret(secrets.token_urlsafe(_GENERATED_BYTES))


def hash_password(password: Secret) -> str:
    """Takes some 0.1 s and 64 MB."""
    return _HASHER.hash(password.reveal())


def is_password(stored: str | None, password: Secret) -> bool:
    """As slow as `hash_password`, also when there is none to compare with: how long it takes says nothing about that."""
    try:
        matches = _HASHER.verify(stored or _nobodys(), password.reveal()[: MAX_CHARACTERS + 1])
    except argon2.exceptions.VerifyMismatchError:
        return False
    return matches and stored is not None


@cache
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_urlsafe(_GENERATED_BYTES))


def new_authenticator_secret() -> Secret:
    """Base32, as authenticators take it."""
    return Secret(pyotp.random_base32(_SECRET_CHARACTERS))


def otpauth_url(secret: Secret, user_name: str) -> Secret:
    """What an authenticator reads as a QR code: it holds the secret."""
    return Secret(pyotp.TOTP(secret.reveal()).provisioning_uri(name=user_name, issuer_name="pgbastion"))


def step_of(secret: Secret, code: str, now: datetime, last_step: int) -> int | None:
    """The time step that this code is of: the present one or a neighbour, as clocks differ; never one that was used already."""
    if len(code) != _DIGITS or not code.isdecimal() or not code.isascii():
        return None
    totp = pyotp.TOTP(secret.reveal())
    present = int(now.timestamp()) // STEP_SECONDS
    found = None
    for step in (present - 1, present, present + 1):
        if hmac.compare_digest(totp.generate_otp(step), code) and step > last_step:
            found = step
    return found


def new_recovery_codes() -> list[Secret]:
    """To be shown once: `abcde-fghij-klmno`, each good for one sign-in without the authenticator."""
    return [_recovery_code() for _ in range(RECOVERY_CODES)]


def recovery_hash(code: str) -> str:
    """What is kept of one, as hex. Dashes, spaces and case do not matter."""
    plain = "".join(character for character in code.lower() if character.isalnum())
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()


def _recovery_code() -> Secret:
    text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode("ascii").lower()[:_RECOVERY_CHARACTERS]
    return Secret("-".join(text[start : start + _GROUP] for start in range(0, _RECOVERY_CHARACTERS, _GROUP)))
