"""How an upstream server is trusted: for sessions, and for whoever administers it."""

import ssl
from functools import lru_cache
from typing import assert_never

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gateway.access.model import TlsMode


class TlsError(Exception):
    """Root of TLS errors; the text is for people."""


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
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_IGNORE_UNEXPECTED_EOF  # who just closes has ended
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
        return binding_of(x509.load_der_x509_certificate(der))
    except ValueError:
        return None


def binding_of(certificate: x509.Certificate) -> bytes | None:
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
