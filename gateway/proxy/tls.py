"""TLS on both sides: our certificate, replaced while we run, and how each target is to be trusted."""

import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, assert_never

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.access.model import TlsMode
from gateway.proxy.certificates import CertificateFiles, TlsError, ensure_certificate
from gateway.settings import Settings

__all__ = [
    "ALPN",
    "CertificateFiles",
    "ServerIdentity",
    "ServerTls",
    "TlsError",
    "TlsReloadError",
    "ensure_certificate",
    "peer_binding",
    "server_files",
    "upstream_context",
]

ALPN: Final = "postgresql"

_log: Final = structlog.stdlib.get_logger("gateway.tls")


class TlsReloadError(TlsError):
    """The new certificate cannot be used; the former one stays in use."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """A context and the channel binding of the certificate in it. A connection keeps the one it began its handshake with."""

    context: ssl.SSLContext
    binding: bytes | None


class ServerTls:
    """Our certificate. Raises TlsError when the first one cannot be loaded."""

    def __init__(self, cert_file: Path, key_file: Path, client_ca_file: Path | None = None) -> None:
        """`client_ca_file`: clients are asked for a certificate, and may have none; one that these CAs did not sign is refused."""
        self._cert_file = cert_file
        self._key_file = key_file
        self._client_ca_file = client_ca_file
        self._seen = self._stamp()
        self._identity = self._load()

    @property
    def identity(self) -> ServerIdentity:
        return self._identity

    @property
    def context(self) -> ssl.SSLContext:
        return self._identity.context

    @property
    def binding(self) -> bytes | None:
        """tls-server-end-point (RFC 5929) of our certificate; None: it has none, offer no SCRAM-SHA-256-PLUS."""
        return self._identity.binding

    def reload(self) -> None:
        """Use what the files hold now, for new connections. Raises TlsReloadError and changes nothing when that cannot be."""
        self._seen = self._stamp()
        try:
            self._identity = self._load()
        except TlsError as error:
            raise TlsReloadError(f"{error}; the former certificate stays in use") from error

    def look(self) -> None:
        """Reload if the files have changed. A pair replaced one by one is taken when its second half is there."""
        if self._stamp() == self._seen:
            return
        try:
            self.reload()
        except TlsReloadError as error:
            _log.warning("certificate not reloaded", reason=str(error))
        else:
            _log.info("certificate reloaded", file=str(self._cert_file))

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for path in (self._cert_file, self._key_file, self._client_ca_file):
            if path is None:
                continue
            try:
                status = path.stat()
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)

    def _load(self) -> ServerIdentity:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        # PostgreSQL's clients do not resume sessions: tickets would only cost.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.set_alpn_protocols([ALPN])
        before = self._stamp()
        try:
            # An encrypted key must fail here, not ask for its password on a terminal.
            context.load_cert_chain(self._cert_file, self._key_file, password=lambda: "")
            binding = _binding(x509.load_pem_x509_certificates(self._cert_file.read_bytes())[0])
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise TlsError(f"cannot use {self._cert_file} with {self._key_file}: {_reason(error)}") from error
        self._trust_clients(context)
        if self._stamp() != before:
            raise TlsError(f"{self._cert_file} or {self._key_file} changed while it was read")
        return ServerIdentity(context, binding)

    def _trust_clients(self, context: ssl.SSLContext) -> None:
        if self._client_ca_file is None:
            return
        try:
            context.load_verify_locations(cafile=self._client_ca_file)
        except OSError as error:
            raise TlsError(f"cannot use {self._client_ca_file}: {_reason(error)}") from error
        # As for targets: CAs of the kind that the PostgreSQL manual shows how to make.
        context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
        context.verify_mode = ssl.CERT_OPTIONAL


def server_files(settings: Settings) -> tuple[Path, Path, Path | None]:
    """Certificate and key: the configured ones, else those that `ensure_certificate` makes; and the CAs of clients."""
    clients = settings.tls.client_ca_file
    if settings.tls.cert_file is not None and settings.tls.key_file is not None:
        return settings.tls.cert_file, settings.tls.key_file, clients
    return settings.tls_dir / "server.pem", settings.tls_dir / "server.key", clients


@lru_cache(maxsize=256)
def upstream_context(mode: TlsMode, ca_pem: str | None) -> ssl.SSLContext | None:
    """How a target is trusted; None: no TLS. Without `ca_pem` the system's CAs count. Raises TlsError for a broken CA.

    Remembered: loading the system's CAs takes milliseconds. Pass the target's host as `server_hostname`.
    """
    if mode is TlsMode.DISABLE:
        return None
    # Bundles carry comments in any language; an empty one must not mean "whom the system trusts".
    authorities = None if ca_pem is None else ca_pem.encode("ascii", "ignore").decode() or "none"
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=authorities)
    except (ssl.SSLError, ValueError) as error:
        raise TlsError("the target's CA is not a PEM certificate") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    # From Python 3.13 on the default; it refuses CAs of the kind that the PostgreSQL manual shows how to make.
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    match mode:
        case TlsMode.VERIFY_FULL:
            pass
        case TlsMode.VERIFY_CA:
            context.check_hostname = False
        case TlsMode.REQUIRE:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        case _:
            assert_never(mode)
    return context


@lru_cache(maxsize=256)
def peer_binding(der: bytes) -> bytes | None:
    """tls-server-end-point of the certificate that upstream showed; None: it has none."""
    try:
        return _binding(x509.load_der_x509_certificate(der))
    except ValueError:
        return None


def _binding(certificate: x509.Certificate) -> bytes | None:
    """RFC 5929, 4.1: the hash of the certificate's own signature, but SHA-256 where that is MD5 or SHA-1."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except Exception:  # a signature that cryptography does not know
        return None
    if algorithm is None:  # Ed25519 and the like: undefined
        return None
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    return certificate.fingerprint(algorithm)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else "not PEM, or the key is encrypted"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
