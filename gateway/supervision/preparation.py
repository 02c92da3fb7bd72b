"""What must be there before the first child starts: the state directory for us alone, key, schema, certificate, a first token."""

import asyncio
import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from gateway.proxy.audit_opening import open_trail
from gateway.proxy.audit_trail import AuditFileError
from gateway.proxy.tls import CertificateFiles, ServerTls, ensure_certificate, server_files
from gateway.secret import Secret
from gateway.services.tokens import ensure_first_token
from gateway.settings import Settings
from gateway.store import bind_key, open_store, upgrade
from gateway.store.vault import SealedVault, ensure_key
from gateway.supervision.parts import Part, StartError

_LOCKS: Final = {Part.GATEWAY: "supervisor.lock", Part.API: "api.lock", Part.COURIER: "courier.lock"}
_PREPARING: Final = "prepare.lock"
_WORKER_FILE: Final = re.compile(r"audit-(\d{1,3})[.-]")
_log: Final = structlog.stdlib.get_logger("gateway.supervision")


@dataclass(frozen=True, slots=True)
class Prepared:
    """`ca_file`: what clients need, None when it is not ours to name. `first_token`: made just now, to be shown once."""

    ca_file: Path | None
    first_token: Secret | None


@contextlib.contextmanager
def only_one(state_dir: Path, parts: frozenset[Part]) -> Iterator[None]:
    """Two gateways with one state directory would share keys, bus and audit files. Raises StartError."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if state_dir.stat().st_mode & 0o077:
            _log.warning("the state directory is open to others: chmod 700 it", directory=str(state_dir))
    except OSError as error:
        raise _unusable(state_dir, error) from error
    with contextlib.ExitStack() as held:
        for part in sorted(parts):
            if not held.enter_context(_lock(state_dir / _LOCKS[part], fcntl.LOCK_EX | fcntl.LOCK_NB)):
                raise StartError(f"another gateway is running with the state directory {state_dir} (part: {part.value})")
        yield


@contextlib.contextmanager
def _lock(path: Path, how: int) -> Iterator[bool]:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path.parent, error) from error
    try:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(file)


def _unusable(state_dir: Path, error: OSError) -> StartError:
    return StartError(f"cannot use the state directory {state_dir}: {error.strerror}")


async def prepare(settings: Settings, parts: frozenset[Part]) -> Prepared:
    """Either part can come first, or both at once. Raises StartError, StoreError, TlsError."""
    with _lock(settings.state_dir / _PREPARING, fcntl.LOCK_EX):
        ensure_key(settings.key_file)
        await upgrade(settings)
        await bind_key(settings, SealedVault.load(settings.key_file))
        ca_file = _prepare_tls(settings)
        token = None
        if Part.GATEWAY in parts:
            settle_crashed(settings)
        if Part.API in parts:
            made = await ensure_first_token(open_store(settings))
            token = made.secret if made is not None else None
    return Prepared(ca_file, token)


def _prepare_tls(settings: Settings) -> Path | None:
    try:
        made = ensure_own_certificate(settings)
    except OSError as error:
        raise StartError(f"cannot write to {settings.tls_dir}: {error.strerror}") from error
    if settings.tls.mode == "disable":
        return None
    ServerTls(*server_files(settings))  # a pair that cannot be used is said here, once
    return made.ca_file if made else None


def ensure_own_certificate(settings: Settings) -> CertificateFiles | None:
    """Made or renewed where there is none from outside. Raises TlsError, OSError."""
    if settings.tls.mode == "disable" or settings.tls.cert_file is not None:
        return None
    return ensure_certificate(settings.tls_dir, settings.tls.names)


def settle_crashed(settings: Settings) -> None:
    """End, in the audit, what former workers left open whose numbers nobody may have for long.

    A worker does that for its own number; but after a rolling restart that was killed, there are files of higher ones.
    """
    loop = asyncio.get_running_loop()
    numbers = {int(found[1]) for path in settings.audit_dir.glob("*") if (found := _WORKER_FILE.match(path.name))}
    for number in sorted(numbers):
        if number >= settings.listen.workers:
            try:
                open_trail(settings.audit_dir, number, settings.audit, loop).close()
            except (AuditFileError, OSError) as error:
                _log.warning("audit of a former worker not settled", worker=number, reason=str(error))
