"""The certificate that a client showed in its TLS handshake, as far as a login asks for it.

OpenSSL has verified it by then: a CA of `tls.client_ca_file` signed it for clients, it is valid now, and the client has its key.
"""

from collections.abc import Iterator
from ssl import SSLObject
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from gateway.access.model import Denial
from gateway.access.proof import ClientCertificate, Proof
from gateway.proxy.tls import ServerTls

_log: Final = structlog.stdlib.get_logger("gateway.login")


def certificate_of(tls: SSLObject | None) -> ClientCertificate | None:
    """None: it showed none, or one that cannot be read."""
    der = None if tls is None else tls.getpeercert(binary_form=True)
    if not der:
        return None
    try:
        return read_certificate(der)
    except Exception as error:  # OpenSSL takes some that cryptography does not: such a client is asked for a password
        _log.warning("a client's certificate cannot be read", error=str(error))
        return None


def read_certificate(der: bytes) -> ClientCertificate:
    """Raises ValueError, and whatever else cryptography has, for one that it does not take."""
    certificate = x509.load_der_x509_certificate(der)
    return ClientCertificate(
        frozenset(_names(certificate)),
        f"{certificate.serial_number:x}",
        certificate.fingerprint(hashes.SHA256()).hex(),
        certificate.not_valid_after_utc,
        certificate.issuer.public_bytes(),
    )


def why_revoked(proof: Proof | None, tls: ServerTls | None) -> Denial | None:
    """What a session that a certificate opened hears when the CA's newest list has it. New handshakes OpenSSL refuses itself."""
    if tls is None or not isinstance(proof, ClientCertificate):
        return None
    serial = int(proof.serial, 16)
    for crl in tls.identity.revocations:
        if crl.issuer.public_bytes() == proof.issuer and crl.get_revoked_certificate_by_serial_number(serial) is not None:
            text = "this client certificate was revoked by its CA"
            return Denial("certificate-revoked", "28000", text, "Connect with a new one.")
    return None


def _names(certificate: x509.Certificate) -> Iterator[str]:
    """Of the subject the common name, where there is exactly one. Prefixes keep it apart from the alternative names."""
    match certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        case [name] if isinstance(name.value, str):
            yield f"cn:{name.value}"
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    yield from (f"dns:{name}" for name in others.get_values_for_type(x509.DNSName))
    yield from (f"uri:{name}" for name in others.get_values_for_type(x509.UniformResourceIdentifier))
