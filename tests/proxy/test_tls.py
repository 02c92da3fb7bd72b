"""Certificates made, renewed and reloaded; bindings; how upstream is trusted."""

import contextlib
import hashlib
import os
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from gateway.access.model import TlsMode
from gateway.proxy.certificates import CertificateFiles
from gateway.proxy.tls import ServerTls, TlsError, TlsReloadError, ensure_certificate, peer_binding, upstream_context
from gateway.settings import Settings

NAMES = ["localhost", "127.0.0.1", "::1"]


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def subject_names(path: Path) -> set[str]:
    names = certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


@contextlib.contextmanager
def listening(context: ssl.SSLContext) -> Iterator[int]:
    """A server that shakes hands once and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def shake() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection, context.wrap_socket(connection, server_side=True) as wrapped:
                    wrapped.recv(1)

        thread = threading.Thread(target=shake)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join(5)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> str | None:
    """Raises ssl.SSLCertVerificationError; returns the protocol agreed on by ALPN."""
    with (
        listening(server) as port,
        socket.create_connection(("127.0.0.1", port)) as plain,
        client.wrap_socket(plain, server_hostname=name) as wrapped,
    ):
        return wrapped.selected_alpn_protocol()


# --- our own CA and certificate


def test_a_client_that_has_the_ca_file_trusts_us_by_every_name(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "tls", NAMES)
    server = ServerTls(files.cert_file, files.key_file)
    client = ssl.create_default_context(cafile=files.ca_file)
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    client.set_alpn_protocols(["postgresql"])
    for name in NAMES:
        assert shake_hands(server.context, client, name) == "postgresql"
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server.context, client, "example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server.context, ssl.create_default_context())


def test_keys_are_ours_alone(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path / "tls", NAMES)
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    for key in (files.key_file, tmp_path / "tls" / "ca.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not [path for path in (tmp_path / "tls").iterdir() if path.name.startswith(".")]


def test_the_ca_signs_servers_and_nothing_that_signs(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, NAMES)
    authority = certificate(files.ca_file)
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert authority.not_valid_after_utc - datetime.now(UTC) > timedelta(days=3600)
    assert not certificate(files.cert_file).extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, NAMES)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert ensure_certificate(tmp_path, list(reversed(NAMES))) == files
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_names_get_another_certificate_from_the_same_ca(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, NAMES)
    authority = files.ca_file.read_bytes()
    ensure_certificate(tmp_path, ["db.example.org"])
    assert subject_names(files.cert_file) == {"db.example.org"}
    assert files.ca_file.read_bytes() == authority
    certificate(files.cert_file).verify_directly_issued_by(certificate(files.ca_file))


def test_a_certificate_near_its_end_is_made_anew_and_one_that_is_not_stays(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    files = ensure_certificate(tmp_path, NAMES, now=now)
    first = files.cert_file.read_bytes()
    ensure_certificate(tmp_path, NAMES, now=now + timedelta(days=360))
    assert files.cert_file.read_bytes() == first
    ensure_certificate(tmp_path, NAMES, now=now + timedelta(days=370))
    assert files.cert_file.read_bytes() != first


def test_a_ca_near_its_end_is_said(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, NAMES)
    with pytest.raises(TlsError, match="ends soon"):
        ensure_certificate(tmp_path, NAMES, now=datetime.now(UTC) + timedelta(days=3640))


@pytest.mark.parametrize("broken", ["server.pem", "server.key"])
def test_a_broken_pair_is_made_anew(tmp_path: Path, broken: str) -> None:
    files = ensure_certificate(tmp_path, NAMES)
    (tmp_path / broken).write_bytes((tmp_path / broken).read_bytes()[:50])
    ensure_certificate(tmp_path, NAMES)
    ServerTls(files.cert_file, files.key_file)


def test_without_the_cas_key_a_good_certificate_goes_on_and_a_due_one_is_said(tmp_path: Path) -> None:
    ensure_certificate(tmp_path, NAMES)
    (tmp_path / "ca.key").unlink()
    ensure_certificate(tmp_path, NAMES)
    with pytest.raises(TlsError, match=r"ca\.key"):
        ensure_certificate(tmp_path, ["other"])


def test_impossible_names_are_said(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="empty"):
        ensure_certificate(tmp_path, [])
    with pytest.raises(TlsError, match="höst"):
        ensure_certificate(tmp_path, ["höst"])


# --- reload


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return ensure_certificate(tmp_path, NAMES)


def renew(files: CertificateFiles) -> None:
    files.cert_file.unlink()
    ensure_certificate(files.cert_file.parent, NAMES)


def test_reload_takes_the_new_pair_and_its_binding(files: CertificateFiles) -> None:
    tls = ServerTls(files.cert_file, files.key_file)
    former = tls.identity
    assert former.binding == hashlib.sha256(der(files.cert_file)).digest()
    renew(files)
    tls.reload()
    assert tls.context is not former.context
    assert tls.binding == hashlib.sha256(der(files.cert_file)).digest() != former.binding


def der(path: Path) -> bytes:
    return certificate(path).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("fault", ["missing", "cut", "of another key", "garbage"])
def test_a_reload_that_cannot_be_keeps_the_former_pair(files: CertificateFiles, tmp_path: Path, fault: str) -> None:
    tls = ServerTls(files.cert_file, files.key_file)
    former = tls.identity
    match fault:
        case "missing":
            files.key_file.unlink()
        case "cut":
            files.cert_file.write_bytes(files.cert_file.read_bytes()[:100])
        case "of another key":
            files.key_file.write_bytes(ensure_certificate(tmp_path / "other", NAMES).key_file.read_bytes())
        case _:
            files.key_file.write_bytes(os.urandom(100))
    with pytest.raises(TlsReloadError, match="former certificate stays"):
        tls.reload()
    assert tls.identity is former
    shake_hands(tls.context, ssl.create_default_context(cafile=files.ca_file))


def test_an_encrypted_key_fails_and_asks_nobody(files: CertificateFiles) -> None:
    key = serialization.load_pem_private_key(files.key_file.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"canary")
    files.key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    with pytest.raises(TlsError):
        ServerTls(files.cert_file, files.key_file)


def test_changed_files_are_noticed_and_a_half_changed_pair_waits_for_its_other_half(files: CertificateFiles) -> None:
    tls = ServerTls(files.cert_file, files.key_file)
    former = tls.identity
    other = ensure_certificate(files.cert_file.parent / "other", NAMES)
    files.cert_file.write_bytes(other.cert_file.read_bytes())
    tls.look()
    assert tls.identity is former
    files.key_file.write_bytes(other.key_file.read_bytes())
    tls.look()
    assert tls.binding == hashlib.sha256(der(other.cert_file)).digest()


# --- bindings (T11)

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ELLIPTIC = ec.generate_private_key(ec.SECP384R1())
PSS = padding.PSS(padding.MGF1(hashes.SHA384()), padding.PSS.DIGEST_LENGTH)


def self_signed(
    key: CertificateIssuerPrivateKeyTypes,
    algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None,
    pss: padding.PSS | None = None,
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    made = builder.sign(key, algorithm, rsa_padding=pss)
    return made.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("der_bytes", "name"),
    [
        (self_signed(RSA, hashes.SHA256()), "sha256"),
        (self_signed(RSA, hashes.SHA384()), "sha384"),
        (self_signed(RSA, hashes.SHA384(), PSS), "sha384"),
        (self_signed(ELLIPTIC, hashes.SHA384()), "sha384"),
        (self_signed(ELLIPTIC, hashes.SHA512()), "sha512"),
    ],
)
def test_the_binding_is_the_hash_that_the_certificate_is_signed_with(der_bytes: bytes, name: str) -> None:
    assert peer_binding(der_bytes) == hashlib.new(name, der_bytes).digest()


def test_sha1_binds_by_sha256(tmp_path: Path) -> None:
    # Today's libraries do not sign with SHA-1: the algorithm's name is changed in a certificate, whose signature nobody checks.
    sha256_with_rsa, sha1_with_rsa = (bytes.fromhex(f"2a864886f70d0101{end}") for end in ("0b", "05"))
    old = self_signed(RSA, hashes.SHA256()).replace(sha256_with_rsa, sha1_with_rsa)
    assert peer_binding(old) == hashlib.sha256(old).digest()


def test_a_signature_without_a_hash_has_no_binding() -> None:
    assert peer_binding(self_signed(ed25519.Ed25519PrivateKey.generate(), None)) is None
    assert peer_binding(b"no certificate") is None


# --- upstream


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def server_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def trusts(mode: TlsMode, ca_pem: str | None, server: ssl.SSLContext, name: str = "localhost") -> bool:
    context = upstream_context(mode, ca_pem)
    assert context is not None
    try:
        shake_hands(server, context, name)
    except ssl.SSLCertVerificationError:
        return False
    return True


def test_each_mode_trusts_what_libpq_would(authority: trustme.CA) -> None:
    ours, others = authority.cert_pem.bytes().decode(), trustme.CA().cert_pem.bytes().decode()
    right, wrong = server_of(authority, "localhost"), server_of(authority, "elsewhere")
    assert trusts(TlsMode.VERIFY_FULL, ours, right)
    assert not trusts(TlsMode.VERIFY_FULL, ours, wrong)
    assert not trusts(TlsMode.VERIFY_FULL, others, right)
    assert not trusts(TlsMode.VERIFY_FULL, None, right)
    assert trusts(TlsMode.VERIFY_CA, ours, wrong)
    assert not trusts(TlsMode.VERIFY_CA, others, right)
    assert trusts(TlsMode.REQUIRE, others, wrong)
    assert upstream_context(TlsMode.DISABLE, None) is None


def test_an_address_is_verified_as_an_address(authority: trustme.CA) -> None:
    ours = authority.cert_pem.bytes().decode()
    server = server_of(authority, str(ip_address("127.0.0.1")))
    assert trusts(TlsMode.VERIFY_FULL, ours, server, "127.0.0.1")
    assert not trusts(TlsMode.VERIFY_FULL, ours, server, "127.0.0.2")


def test_a_ca_made_as_the_manual_says_is_good_enough() -> None:
    """No key usage, no key identifiers: `openssl req -x509` of old; Python 3.13's strict default would refuse it."""
    context = upstream_context(TlsMode.VERIFY_FULL, ssl.DER_cert_to_PEM_cert(self_signed(RSA, hashes.SHA256())))
    assert context is not None
    assert not context.verify_flags & ssl.VerifyFlags.VERIFY_X509_STRICT


def test_a_bundle_may_have_comments(authority: trustme.CA) -> None:
    bundle = "# Zertifizierungsstelle für Prüfungen\n" + authority.cert_pem.bytes().decode()
    assert trusts(TlsMode.VERIFY_FULL, bundle, server_of(authority, "localhost"))


def test_a_broken_ca_is_said() -> None:
    for broken in ("nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ü", ""):
        with pytest.raises(TlsError, match="not a PEM certificate"):
            upstream_context(TlsMode.VERIFY_FULL, broken)


def test_old_protocols_are_refused_on_both_sides(files: CertificateFiles) -> None:
    upstream = upstream_context(TlsMode.REQUIRE, None)
    assert upstream is not None
    for context in (ServerTls(files.cert_file, files.key_file).context, upstream):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION


# --- revocation lists


def test_a_list_that_cannot_be_used_keeps_the_former(files: CertificateFiles, tmp_path: Path) -> None:
    crl = tmp_path / "ca.crl"
    crl.write_bytes(revocations(files))
    tls = ServerTls(files.cert_file, files.key_file, files.ca_file, crl)
    former = tls.identity
    assert former.context.verify_flags & ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    authority = files.ca_file.read_bytes()
    for text in (b"", b"garbage", revocations(files)[:80], authority, revocations(files) + authority):
        crl.write_bytes(text)
        with pytest.raises(TlsReloadError, match="former certificate stays"):
            tls.reload()
        with pytest.raises(TlsError, match=r"ca\.crl"):
            ServerTls(files.cert_file, files.key_file, files.ca_file, crl)
        assert tls.identity is former
    crl.write_bytes(revocations(files) * 2)
    tls.look()
    assert tls.identity is not former


def test_a_list_is_of_no_use_without_its_ca(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="client_crl_file needs client_ca_file"):
        Settings.model_validate({"state_dir": tmp_path, "tls": {"client_crl_file": tmp_path / "ca.crl"}})


def revocations(files: CertificateFiles) -> bytes:
    """An empty list of our own CA."""
    key = serialization.load_pem_private_key((files.ca_file.parent / "ca.key").read_bytes(), None)
    now = datetime.now(UTC)
    made = x509.CertificateRevocationListBuilder().issuer_name(certificate(files.ca_file).subject)
    made = made.last_update(now).next_update(now + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]
