"""Which client certificates a TLS handshake takes: those of the CAs that are named, without those that they have revoked."""

import ssl
from pathlib import Path

from cryptography import x509

from gateway.upstream_tls import TlsError

_BEGIN = b"-----BEGIN "
_CRL = b"-----BEGIN X509 CRL-----"


Revocations = tuple[x509.CertificateRevocationList, ...]


def trust_clients(context: ssl.SSLContext, ca_file: Path, crl_file: Path | None) -> Revocations:
    """Clients are asked for a certificate, and may have none. Raises TlsError for a file that cannot be used.

    The lists are for sessions that have begun: these end when their certificate is in one.
    With a revocation list, each CA that signs clients needs one in the file: a certificate about which none speaks, or only one
    that is out of date, is refused.
    """
    found: Revocations = ()
    try:
        context.load_verify_locations(cafile=ca_file)
        if crl_file is not None:
            found = tuple(check_revocations(crl_file.read_bytes()))
            context.load_verify_locations(cafile=crl_file)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise TlsError(
            f"cannot use {ca_file if crl_file is None else f'{ca_file} with {crl_file}'}: {_reason(error)}"
        ) from error
    # As for targets: CAs of the kind that the PostgreSQL manual shows how to make.
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    context.verify_mode = ssl.CERT_OPTIONAL
    return found


def check_revocations(text: bytes) -> list[x509.CertificateRevocationList]:
    """What is in the file: lists, and nothing else, since a certificate in it would be trusted as a CA. Raises ValueError."""
    if _CRL not in text or text.count(_BEGIN) != text.count(_CRL):
        raise ValueError("the revocation file should hold X509 CRLs (PEM), and nothing else")
    return [x509.load_pem_x509_crl(_CRL + part) for part in text.split(_CRL)[1:]]


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else "not PEM"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
