"""Upstream and other secrets at rest: AES-256-GCM, each bound to its row, under a master key in a file of its own.

Copying a sealed secret to another row, another column or under another key makes it unreadable. Each names the key that it is
sealed with; a key that is not known is looked for in the file, which may have been changed since (see store/key_ring.py).
"""

import secrets
from collections.abc import Callable
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
from gateway.store.key_ring import KEY_BYTES, KEY_ID_BYTES, KeyRing, MasterKey, ensure_key, read_ring, stamp
from gateway.store.keys_wanted import said

__all__ = ["SealedVault", "ensure_key", "key_of"]

_SEALED_FORMAT: Final = b"\x01"
_NONCE_BYTES: Final = 12
_HEADER_BYTES: Final = 1 + KEY_ID_BYTES + _NONCE_BYTES
_TABLE_AND_COLUMN: Final = b"target_roles\0sealed_secret\0"


class SealedVault:
    """Seals and opens secrets with the keys of one file. Implements ports.Vault, ports.Sealer and ports.SecretBox.

    Seals with the key that is the file's first when it seals; opens with all that were in it since this was made.
    """

    def __init__(self, ring: KeyRing, path: Path | None = None) -> None:
        """`path`: None, when there is no file to look at again."""
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._root = ring.derivation_root
        self._ciphers: dict[bytes, AESGCM] = {}
        self._take(ring)

    @classmethod
    def load(cls, path: Path) -> "SealedVault":
        """Raises VaultError when the file is missing, damaged or readable by others."""
        before = stamp(path)
        vault = cls(read_ring(path), path)
        vault._stamp = before
        return vault

    @property
    def key_id(self) -> str:
        """Which key seals; safe to show."""
        return self._current.hex()

    @property
    def key_ids(self) -> list[str]:
        """Which open; the one that seals comes first."""
        return sorted((each.hex() for each in self._ciphers), key=lambda name: name != self.key_id)

    def knows(self, key_id: str) -> bool:
        """Whether it opens what is sealed with this key; looks at the file again before it says no."""
        return self._cipher(bytes.fromhex(key_id)) is not None

    def seal(self, row_id: str, secret: Secret) -> bytes:
        """The bytes to keep as `sealed_secret` or `pending_secret` of the database role with this id, and of no other.

        Raises VaultError when the key file is not what it should be any more.
        """
        return self._seal(secret, _TABLE_AND_COLUMN, row_id)

    def open(self, role: DatabaseRole) -> Secret:
        """Raises VaultError when the key does not fit, or the row was tampered with or swapped."""
        return self._open(role.sealed_secret, _TABLE_AND_COLUMN, role.id, lambda: f"the secret of database role {role.id}")

    def seal_for(self, use: SealedUse, bound_to: str, secret: Secret) -> bytes:
        """See ports.SecretBox. Raises VaultError as `seal` does."""
        return self._seal(secret, _prefix(use), bound_to)

    def open_for(self, use: SealedUse, bound_to: str, sealed: bytes) -> Secret:
        """Raises VaultError for anything that `seal_for` has not made for the same."""
        return self._open(sealed, _prefix(use), bound_to, lambda: f"a secret ({use.value})")

    def reopen(self, use: SealedUse | None, bound_to: str, sealed: bytes) -> Secret:
        """By what it is: `use` None is a database role's. Raises VaultError."""
        prefix = _TABLE_AND_COLUMN if use is None else _prefix(use)
        return self._open(sealed, prefix, bound_to, lambda: "it")

    def reseal(self, use: SealedUse | None, bound_to: str, secret: Secret) -> bytes:
        """The reverse of `reopen`."""
        return self._seal(secret, _TABLE_AND_COLUMN if use is None else _prefix(use), bound_to)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another use (such as the mock SCRAM secret), alike in every process and after every change of keys."""
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"pgbastion: {purpose}".encode()).derive(self._root)

    def _seal(self, secret: Secret, prefix: bytes, row_id: str) -> bytes:
        self._look()
        key_id, nonce = self._current, secrets.token_bytes(_NONCE_BYTES)
        plain = secret.reveal().encode("utf-8")
        return _SEALED_FORMAT + key_id + nonce + self._ciphers[key_id].encrypt(nonce, plain, _bound_to(prefix, row_id, key_id))

    def _open(self, sealed: bytes, prefix: bytes, row_id: str, what: Callable[[], str]) -> Secret:
        if len(sealed) <= _HEADER_BYTES or sealed[:1] != _SEALED_FORMAT:
            raise VaultError(f"{what()} is not in a form this program knows")
        key_id = sealed[1 : 1 + KEY_ID_BYTES]
        cipher = self._ciphers.get(key_id) or self._cipher(key_id)
        if cipher is None:
            raise VaultError(f"{what()} is sealed with master key {key_id.hex()}, but {said(self)}")
        nonce = sealed[1 + KEY_ID_BYTES : _HEADER_BYTES]
        try:
            plain = cipher.decrypt(nonce, sealed[_HEADER_BYTES:], _bound_to(prefix, row_id, key_id))
        except InvalidTag:
            raise VaultError(f"{what()} was altered or belongs to another row") from None
        return Secret(plain.decode("utf-8"))

    # -- the file --------------------------------------------------------------------------------------------------------

    def _take(self, ring: KeyRing) -> None:
        """Keys that are gone from the file go on opening until this process ends: what they sealed may be on its way."""
        self._current = ring.current.key_id
        self._ciphers |= {key.key_id: AESGCM(_sealing_key(key)) for key in ring.keys if key.key_id not in self._ciphers}

    def _look(self) -> None:
        """Raises VaultError."""
        if self._path is not None and (now := stamp(self._path)) != self._stamp:
            self._take(read_ring(self._path))
            self._stamp = now

    def _cipher(self, key_id: bytes) -> AESGCM | None:
        if key_id not in self._ciphers:
            try:
                self._look()
            except VaultError:
                return None
        return self._ciphers.get(key_id)

    def __repr__(self) -> str:
        return f"SealedVault(key_id={self.key_id!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a vault cannot be serialised")


def key_of(sealed: bytes) -> str:
    """The id of the key that these bytes are sealed with; "" for what is not sealed."""
    return sealed[1 : 1 + KEY_ID_BYTES].hex() if sealed[:1] == _SEALED_FORMAT else ""


def _sealing_key(key: MasterKey) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"pgbastion: seal upstream secrets").derive(key.key)


def _bound_to(prefix: bytes, row_id: str, key_id: bytes) -> bytes:
    return prefix + row_id.encode("utf-8") + b"\0" + key_id


def _prefix(use: SealedUse) -> bytes:
    return use.value.encode("ascii") + b"\0"
