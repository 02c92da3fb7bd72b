"""TLS on both sides: our certificate, replaced while we run, and how each target is to be trusted."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from gateway.proxy.certificates import CertificateFiles, ensure_certificate
from gateway.proxy.client_trust import Revocations, trust_clients
from gateway.settings import Settings
from gateway.upstream_tls import TlsError, binding_of, peer_binding, upstream_context

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
    """A context, the channel binding of the certificate in it, and what clients' CAs have revoked.

    A connection keeps the one it began its handshake with.
    """

    context: ssl.SSLContext
    binding: bytes | None
    revocations: Revocations = ()


class ServerTls:
    """Our certificate. Raises TlsError when the first one cannot be loaded."""

    def __init__(
        self, cert_file: Path, key_file: Path, client_ca_file: Path | None = None, client_crl_file: Path | None = None
    ) -> None:
        """`client_ca_file`: clients are asked for a certificate, and may have none; one that these CAs did not sign, or that
        `client_crl_file` says they have revoked, is refused."""
        self._cert_file = cert_file
        self._key_file = key_file
        self._client_ca_file = client_ca_file
        self._client_crl_file = client_crl_file
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

    def look(self) -> bool:
        """Reload if the files have changed; whether it did. A pair replaced one by one is taken when its second half is there."""
        if self._stamp() == self._seen:
            return False
        try:
            self.reload()
        except TlsReloadError as error:
            _log.warning("certificate not reloaded", reason=str(error))
            return False
        _log.info("certificate reloaded", file=str(self._cert_file))
        return True

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for path in (self._cert_file, self._key_file, self._client_ca_file, self._client_crl_file):
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
        context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF  # who just closes has ended; else OpenSSL answers, and is reset for it
        context.set_alpn_protocols([ALPN])
        before = self._stamp()
        try:
            # An encrypted key must fail here, not ask for its password on a terminal.
            context.load_cert_chain(self._cert_file, self._key_file, password=lambda: "")
            binding = binding_of(x509.load_pem_x509_certificates(self._cert_file.read_bytes())[0])
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise TlsError(f"cannot use {self._cert_file} with {self._key_file}: {_reason(error)}") from error
        revocations: Revocations = ()
        if self._client_ca_file is not None:
            revocations = trust_clients(context, self._client_ca_file, self._client_crl_file)
        if self._stamp() != before:
            raise TlsError(f"{self._cert_file} or {self._key_file} changed while it was read")
        return ServerIdentity(context, binding, revocations)


def server_files(settings: Settings) -> tuple[Path, Path, Path | None, Path | None]:
    """Certificate and key: the configured ones, else those that `ensure_certificate` makes; CAs of clients; their CRLs."""
    clients = settings.tls.client_ca_file, settings.tls.client_crl_file
    if settings.tls.cert_file is not None and settings.tls.key_file is not None:
        return settings.tls.cert_file, settings.tls.key_file, *clients
    return settings.tls_dir / "server.pem", settings.tls_dir / "server.key", *clients


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else "not PEM, or the key is encrypted"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
