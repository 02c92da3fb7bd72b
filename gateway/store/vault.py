"""Upstream and other secrets at rest: AES-256-GCM, each bound to its row, under a master key in a file of its own.

Copying a sealed secret to another row, another column or under another key makes it unreadable. The file holds one line:
`pgbastion-master-key:v1:<key id>:<key, base64>:<checksum>`; the key id says which key a store wants, and nothing about the key.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.access.model import DatabaseRole
from gateway.ports import SealedUse
from gateway.secret import Secret
from gateway.store.errors import VaultError
from gateway.store.files import make_private_folder, open_private, sync_folder

_PREFIX: Final = "pgbastion-master-key"
_FORMAT: Final = "v1"
_KEY_BYTES: Final = 32
_KEY_ID_BYTES: Final = 8
_CHECKSUM_HEX: Final = 16
_SEALED_FORMAT: Final = b"\x01"
_NONCE_BYTES: Final = 12
_HEADER_BYTES: Final = 1 + _KEY_ID_BYTES + _NONCE_BYTES
_TABLE_AND_COLUMN: Final = b"target_roles\0sealed_secret\0"


def ensure_key(path: Path) -> None:
    """Make the master key unless there is one; never replaces one. It appears whole or not at all. Raises VaultError."""
    if path.exists():
        _read_key(path)
        return
    key_id, key = secrets.token_bytes(_KEY_ID_BYTES), secrets.token_bytes(_KEY_BYTES)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        make_private_folder(path.parent)
        with os.fdopen(open_private(draft, os.O_EXCL | os.O_WRONLY), "wb") as file:
            file.write(_key_line(key_id, key))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails when another process was first: then its key stands
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise VaultError(f"the master key {path} cannot be made: {error.strerror}") from error
    _read_key(path)


class SealedVault:
    """Seals and opens secrets with the key of one file. Implements ports.Vault, ports.Sealer and ports.SecretBox."""

    def __init__(self, key_id: bytes, key: bytes) -> None:
        self._key_id = key_id
        self._key = key
        self._cipher = AESGCM(self.derive("seal upstream secrets"))

    @classmethod
    def load(cls, path: Path) -> "SealedVault":
        """Raises VaultError when the file is missing, damaged or readable by others."""
        return cls(*_read_key(path))

    @property
    def key_id(self) -> str:
        """Which key this is; safe to show."""
        return self._key_id.hex()

    def seal(self, row_id: str, secret: Secret) -> bytes:
        """The bytes to keep as `sealed_secret` of the database role with this id, and of no other."""
        return self._seal(secret, self._bound_to(_TABLE_AND_COLUMN, row_id))

    def open(self, role: DatabaseRole) -> Secret:
        """Raises VaultError when the key does not fit, or the row was tampered with or swapped."""
        bound_to = self._bound_to(_TABLE_AND_COLUMN, role.id)
        return self._open(role.sealed_secret, bound_to, f"the secret of database role {role.id}")

    def seal_for(self, use: SealedUse, bound_to: str, secret: Secret) -> bytes:
        """See ports.SecretBox."""
        return self._seal(secret, self._bound_to(_prefix(use), bound_to))

    def open_for(self, use: SealedUse, bound_to: str, sealed: bytes) -> Secret:
        """Raises VaultError for anything that `seal_for` has not made for the same."""
        return self._open(sealed, self._bound_to(_prefix(use), bound_to), f"a secret ({use.value})")

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another use (such as the mock SCRAM secret), the same in every process that has this key."""
        return HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"pgbastion: {purpose}".encode()).derive(self._key)

    def _seal(self, secret: Secret, bound_to: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _SEALED_FORMAT + self._key_id + nonce + self._cipher.encrypt(nonce, secret.reveal().encode("utf-8"), bound_to)

    def _open(self, sealed: bytes, bound_to: bytes, what: str) -> Secret:
        if len(sealed) <= _HEADER_BYTES or sealed[:1] != _SEALED_FORMAT:
            raise VaultError(f"{what} is not in a form this program knows")
        key_id = sealed[1 : 1 + _KEY_ID_BYTES]
        if key_id != self._key_id:
            raise VaultError(f"{what} is sealed with master key {key_id.hex()}, but the key file holds key {self.key_id}")
        nonce = sealed[1 + _KEY_ID_BYTES : _HEADER_BYTES]
        try:
            plain = self._cipher.decrypt(nonce, sealed[_HEADER_BYTES:], bound_to)
        except InvalidTag:
            raise VaultError(f"{what} was altered or belongs to another row") from None
        return Secret(plain.decode("utf-8"))

    def _bound_to(self, prefix: bytes, row_id: str) -> bytes:
        return prefix + row_id.encode("utf-8") + b"\0" + self._key_id

    def __repr__(self) -> str:
        return f"SealedVault(key_id={self.key_id!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a vault cannot be serialised")


def _prefix(use: SealedUse) -> bytes:
    return use.value.encode("ascii") + b"\0"


def _key_line(key_id: bytes, key: bytes) -> bytes:
    text = f"{_PREFIX}:{_FORMAT}:{key_id.hex()}:{base64.b64encode(key).decode('ascii')}"
    return f"{text}:{_checksum(text)}\n".encode("ascii")


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_CHECKSUM_HEX]


def _read_key(path: Path) -> tuple[bytes, bytes]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            line = file.read(1024)
    except OSError as error:
        raise VaultError(f"the master key {path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise VaultError(f"the master key {path} can be read by others: run chmod 600 {path}")
    try:
        text, _, checksum = line.decode("ascii").strip().rpartition(":")
        prefix, form, key_id, key = text.split(":")
        if (prefix, form) != (_PREFIX, _FORMAT) or not hmac.compare_digest(checksum, _checksum(text)):
            raise ValueError("checksum")
        raw_id, raw_key = bytes.fromhex(key_id), base64.b64decode(key, validate=True)
    except (ValueError, binascii.Error):
        raise VaultError(f"the master key {path} is damaged: restore it from your backup") from None
    if len(raw_id) != _KEY_ID_BYTES or len(raw_key) != _KEY_BYTES:
        raise VaultError(f"the master key {path} is damaged: restore it from your backup")
    return raw_id, raw_key
