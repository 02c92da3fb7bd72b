"""The master keys in their file: one that seals, and others that still open what was sealed before or will be sealed next.

A line for each key, `<word>:v1:<key id>:<key, base64>:<checksum>`, the word saying what it is for:
`pgbastion-master-key`           the first one seals; further ones only open (those of an old backup, say)
`pgbastion-master-key-retiring`  opens, and goes when the rotation that was begun is done
`pgbastion-master-key-next`      opens, and seals once a rotation begins
and, once keys were rotated, `pgbastion-derivation-root`: what all else is derived from, so that it outlives the first key. It is
made from that key in a way that leads to no other use of it.
"""

import base64
import binascii
import fcntl
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.store.errors import VaultError
from gateway.store.files import make_private_folder, open_private, sync_folder

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
_FORMAT: Final = "v1"
_CHECKSUM_HEX: Final = 16
_MAX_FILE_BYTES: Final = 64 * 1024
_KEY: Final = "pgbastion-master-key"
_RETIRING: Final = "pgbastion-master-key-retiring"
_NEXT: Final = "pgbastion-master-key-next"
_ROOT: Final = "pgbastion-derivation-root"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """`key_id` names it, and says nothing about it."""

    key_id: bytes
    key: bytes = field(repr=False)

    @property
    def name(self) -> str:
        return self.key_id.hex()

    @classmethod
    def made(cls) -> "MasterKey":
        return cls(secrets.token_bytes(KEY_ID_BYTES), secrets.token_bytes(KEY_BYTES))


@dataclass(frozen=True, slots=True)
class KeyRing:
    """`current` seals; all of them open. `root`: see the module; None: it follows from `current`."""

    current: MasterKey
    kept: tuple[MasterKey, ...] = ()
    retiring: tuple[MasterKey, ...] = ()
    next: MasterKey | None = None
    root: bytes | None = field(default=None, repr=False)

    @property
    def keys(self) -> tuple[MasterKey, ...]:
        return (self.current, *self.retiring, *self.kept, *([self.next] if self.next else ()))

    @property
    def derivation_root(self) -> bytes:
        return self.root or HKDF(SHA256(), KEY_BYTES, salt=None, info=b"pgbastion: derivation root").derive(self.current.key)

    def staged(self) -> "KeyRing":
        """With a key that will be the next one; it may be there already."""
        return self if self.next else replace(self, next=MasterKey.made())

    def advanced(self) -> "KeyRing":
        """With another key to seal with: the one that was staged, else a new one. What is derived stays what it was."""
        new = self.next or MasterKey.made()
        return KeyRing(new, self.kept, (self.current, *self.retiring), None, self.derivation_root)

    def settled(self, *, keep: bool) -> "KeyRing":
        """The rotation is done: everything is sealed with the current key. `keep`: the others go on opening."""
        return replace(self, retiring=(), kept=(*self.retiring, *self.kept) if keep else ())


def ensure_key(path: Path) -> None:
    """Make a ring of one key unless there is one; never replaces one. It appears whole or not at all. Raises VaultError."""
    if path.exists():
        read_ring(path)
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        make_private_folder(path.parent)
        _write(draft, KeyRing(MasterKey.made()))
        try:
            os.link(draft, path)  # fails when another process was first: then its key stands
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise VaultError(f"the master key {path} cannot be made: {error.strerror}") from error
    read_ring(path)


def replace_ring(path: Path, ring: KeyRing) -> None:
    """In one step, and on disk when this returns; for whoever holds `changing`. Raises VaultError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        owner = path.stat()
        try:
            _write(draft, ring)
            if os.geteuid() == 0:
                os.chown(draft, owner.st_uid, owner.st_gid)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise VaultError(f"the master key {path} cannot be changed: {error.strerror}") from error


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """One process at a time; one that dies lets go. Raises VaultError when another one is at it."""
    try:
        lock = open_private(path.with_name(f"{path.name}.lock"), os.O_RDWR)
    except OSError as error:
        raise VaultError(f"the master key {path} cannot be changed: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VaultError(f"somebody else is changing the master key {path} now") from None
        for draft in path.parent.glob(f".{path.name}.*"):
            draft.unlink(missing_ok=True)  # of one that died
        yield
    finally:
        os.close(lock)


def read_ring(path: Path) -> KeyRing:
    """Raises VaultError when the file is missing, damaged or readable by others."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise VaultError(f"the master key {path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise VaultError(f"the master key {path} can be read by others: run chmod 600 {path}")
    try:
        return _ring(content)
    except (ValueError, binascii.Error):
        raise VaultError(f"the master key {path} is damaged: restore it from your backup") from None


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes when the file does; None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _ring(content: bytes) -> KeyRing:
    """Raises ValueError, binascii.Error."""
    lines = [_read_line(line) for line in content.decode("ascii").splitlines() if line.strip()]
    of = {word: [key for found, key in lines if found == word] for word in (_KEY, _RETIRING, _NEXT, _ROOT)}
    ids = [key.key_id for word, key in lines if word != _ROOT]
    if not of[_KEY] or lines[0][0] != _KEY or len(set(ids)) != len(ids) or len(of[_NEXT]) > 1 or len(of[_ROOT]) > 1:
        raise ValueError("lines")
    current, *kept = of[_KEY]
    return KeyRing(
        current,
        tuple(kept),
        tuple(of[_RETIRING]),
        of[_NEXT][0] if of[_NEXT] else None,
        of[_ROOT][0].key if of[_ROOT] else None,
    )


def _read_line(line: str) -> tuple[str, MasterKey]:
    text, _, checksum = line.strip().rpartition(":")
    word, form, key_id, key = text.split(":")
    if word not in (_KEY, _RETIRING, _NEXT, _ROOT) or form != _FORMAT or not hmac.compare_digest(checksum, _checksum(text)):
        raise ValueError("line")
    found = MasterKey(bytes.fromhex(key_id), base64.b64decode(key, validate=True))
    if len(found.key_id) != KEY_ID_BYTES or len(found.key) != KEY_BYTES:
        raise ValueError("length")
    return word, found


def _write(path: Path, ring: KeyRing) -> None:
    lines = [(_KEY, ring.current), *((_RETIRING, key) for key in ring.retiring), *((_KEY, key) for key in ring.kept)]
    if ring.next is not None:
        lines.append((_NEXT, ring.next))
    if ring.root is not None:
        lines.append((_ROOT, MasterKey(bytes(KEY_ID_BYTES), ring.root)))
    with os.fdopen(open_private(path, os.O_EXCL | os.O_WRONLY), "wb") as file:
        file.write("".join(_line(word, key) for word, key in lines).encode("ascii"))
        file.flush()
        os.fsync(file.fileno())


def _line(word: str, key: MasterKey) -> str:
    text = f"{word}:{_FORMAT}:{key.name}:{base64.b64encode(key.key).decode('ascii')}"
    return f"{text}:{_checksum(text)}\n"


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_CHECKSUM_HEX]
