"""The gateway's own CA and server certificate, for those who configure none.

The CA is made once and stays, so that what clients were given keeps working; the server certificate is made anew when it nears
its end, when the names change, or when its key does not fit. Only the supervisor calls this: there is no lock.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.upstream_tls import TlsError

_CA_LIFE: Final = timedelta(days=3652)
_SERVER_LIFE: Final = timedelta(days=397)
_RENEW_BEFORE_END: Final = timedelta(days=30)
_CLOCK_SKEW: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """`ca_file` is what clients put in sslrootcert."""

    ca_file: Path
    cert_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def ensure_certificate(directory: Path, names: Sequence[str], *, now: datetime | None = None) -> CertificateFiles:
    """Make what is missing or due. `names` are DNS names and addresses. Raises TlsError, OSError."""
    at = now or datetime.now(UTC)
    wanted = _general_names(names)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = CertificateFiles(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    if _is_good(files, wanted, at):
        return files
    authority = _ensure_authority(files.ca_file, directory / "ca.key", at)
    if authority.certificate.not_valid_after_utc <= at + _RENEW_BEFORE_END:
        raise TlsError(f"the CA {files.ca_file} ends soon: remove {directory}, start again, and give clients the new CA file")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _issue_server(authority, key, wanted, at)
    _write(files.key_file, _key_pem(key), mode=0o600)
    _write(files.cert_file, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return files


def _general_names(names: Sequence[str]) -> tuple[x509.GeneralName, ...]:
    if not names:
        raise TlsError("tls.names is empty: name at least one host that clients connect to")
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            try:
                found.append(x509.DNSName(name))
            except ValueError as error:
                raise TlsError(f"tls.names: {name!r} is neither an address nor an ASCII host name") from error
    return tuple(dict.fromkeys(found))


def _is_good(files: CertificateFiles, wanted: tuple[x509.GeneralName, ...], at: datetime) -> bool:
    """Whether the pair on disk fits together, is ours, bears exactly these names and does not end soon."""
    try:
        certificate = x509.load_pem_x509_certificate(files.cert_file.read_bytes())
        key = serialization.load_pem_private_key(files.key_file.read_bytes(), password=None)
        authority = x509.load_pem_x509_certificate(files.ca_file.read_bytes())
        certificate.verify_directly_issued_by(authority)
        bears = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # missing, broken or not ours: whatever it is, a new one is the answer
        return False
    return (
        key.public_key() == certificate.public_key()
        and set(bears) == set(wanted)
        and certificate.not_valid_before_utc <= at < certificate.not_valid_after_utc - _RENEW_BEFORE_END
    )


def _ensure_authority(cert_file: Path, key_file: Path, at: datetime) -> _Authority:
    if cert_file.exists():
        try:
            certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise TlsError(
                f"the server certificate is due, and the CA in {cert_file.parent} cannot sign it ({error}): "
                f"put ca.key back, or remove {cert_file.parent} and give clients the new CA file"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise TlsError(f"{key_file} is not the key of {cert_file}")
        return _Authority(certificate, key)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _issue_authority(key, at)
    _write(key_file, _key_pem(key), mode=0o600)
    _write(cert_file, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return _Authority(certificate, key)


def _issue_authority(key: ec.EllipticCurvePrivateKey, at: datetime) -> x509.Certificate:
    # Each CA has its own subject: two gateways' CA files can stand in one file.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pgbastion CA {secrets.token_hex(4)}")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _CLOCK_SKEW)
        .not_valid_after(at + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )


def _issue_server(
    authority: _Authority, key: ec.EllipticCurvePrivateKey, names: tuple[x509.GeneralName, ...], at: datetime
) -> x509.Certificate:
    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pgbastion")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _CLOCK_SKEW)
        .not_valid_after(min(at + _SERVER_LIFE, authority.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
