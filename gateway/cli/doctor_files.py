"""What `doctor` looks at on disk: the state directory, the master key, the audit directory, the certificate."""

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.findings import Finding, ok, problem, warning
from gateway.cli.local import account

if TYPE_CHECKING:
    from cryptography import x509

    from gateway.settings import Settings

_NOT_STARTED: Final = "The first start makes it: pgbastion serve"
_LOW_BYTES: Final = 1 << 30
_TOO_LOW_BYTES: Final = 64 << 20
_SOON: Final = timedelta(days=14)
_CRL_SOON: Final = timedelta(days=3)


def look_at_files(settings: "Settings", now: datetime) -> Iterator[Finding]:
    yield _state_dir(settings.state_dir)
    if not can_look_into(settings.state_dir):
        return
    yield _key(settings.key_file)
    yield _audit_dir(settings)
    if settings.tls.mode == "disable":
        yield warning("certificate", "TLS is switched off: passwords and data are in clear text", 'Set tls.mode = "require".')
    else:
        yield _certificate("certificate", *_server_files(settings), settings.tls.names, now)
        if settings.tls.client_ca_file is not None:
            yield _client_authorities(settings.tls.client_ca_file, now)
        if settings.tls.client_crl_file is not None:
            yield _client_revocations(settings.tls.client_crl_file, now)
        if settings.tls.cert_file is not None and settings.public.ca_file is None:
            text = "nobody can be issued a short-lived credential: how clients verify the certificate is not set"
            yield warning("public address", text, 'Set public.ca_file to its CA\'s file, or to "system".')
    if settings.admin_api.enabled and settings.admin_api.cert_file is not None:
        key_file = settings.admin_api.key_file or settings.admin_api.cert_file
        yield _certificate("api certificate", settings.admin_api.cert_file, key_file, (), now)


def can_look_into(state_dir: Path) -> bool:
    """Also when there is nothing yet."""
    try:
        return not state_dir.exists() or os.access(state_dir, os.R_OK | os.X_OK, effective_ids=True)
    except PermissionError:
        return False


def _state_dir(path: Path) -> Finding:
    check = "state directory"
    try:
        found = path.stat()
    except FileNotFoundError:
        return warning(check, f"{path} is not there yet", _NOT_STARTED)
    except OSError as error:
        return problem(check, f"{path}: {error.strerror}", "Run this as the gateway's own account, or as root.")
    owner = account(found.st_uid)
    if not stat.S_ISDIR(found.st_mode):
        return problem(check, f"{path} is no directory", "Set state_dir to one.")
    if found.st_mode & 0o077:
        return problem(check, f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):04o})", f"chmod 700 {path}")
    if os.geteuid() not in (0, found.st_uid):
        return problem(check, f"{path} belongs to {owner}", f"Run pgbastion as {owner}.")
    foreign = sorted(each.name for each in path.iterdir() if each.lstat().st_uid != found.st_uid)
    if foreign:
        what = f"{path} belongs to {owner}, but not {', '.join(foreign[:3])}"
        return problem(check, what, f"chown {owner} {path / foreign[0]}")
    return ok(check, f"{path}, only for {owner}")


def _key(path: Path) -> Finding:
    from gateway.store.errors import VaultError
    from gateway.store.key_ring import read_ring

    if not path.exists():
        return warning("master key", f"{path} is not there yet", _NOT_STARTED)
    try:
        ring = read_ring(path)
    except VaultError as error:
        return problem("master key", str(error), "Put the right key in its place (mode 600), from the backup.")
    if ring.retiring:
        return warning("master key", "a rotation was begun and is not finished", "pgbastion secrets rotate-key")
    return ok("master key", f"{ring.current.name}, in {path}")


def _audit_dir(settings: "Settings") -> Finding:
    path, check = settings.audit_dir, "audit directory"
    place = path if path.exists() else next(each for each in path.parents if each.exists())
    if not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
        return problem(
            check, f"{path} cannot be written", "No statement runs unless it can be audited: fix its owner and mode."
        )
    if not path.exists():
        return warning(check, f"{path} is not there yet", _NOT_STARTED)
    if path.stat().st_mode & 0o077:
        return problem(check, f"{path} is open to others", f"chmod 700 {path}")
    free = shutil.disk_usage(path).free
    text = f"{path}, {free / (1 << 30):.1f} GiB free"
    if free < _TOO_LOW_BYTES:
        return problem(check, text, "When it is full, no statement runs: move old files away.")
    if free < max(_LOW_BYTES, 2 * settings.audit.rotate_bytes):
        return warning(check, text, "When it is full, no statement runs: move old files away, or make room.")
    return ok(check, text)


def _server_files(settings: "Settings") -> tuple[Path, Path]:
    if settings.tls.cert_file is not None:
        return settings.tls.cert_file, settings.tls.key_file or settings.tls.cert_file
    return settings.tls_dir / "server.pem", settings.tls_dir / "server.key"


def _certificate(check: str, cert_file: Path, key_file: Path, names: Sequence[str], now: datetime) -> Finding:
    import ssl

    from cryptography import x509

    if not cert_file.exists():
        return warning(check, f"{cert_file} is not there yet", _NOT_STARTED)
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert_file, key_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        return problem(check, f"{cert_file} and {key_file}: {error}", "Name a certificate and the key that it was made for.")
    ends = certificate.not_valid_after_utc
    text = f"{cert_file}, until {ends:%Y-%m-%d}, for {', '.join(_names(certificate)) or 'no name'}"
    if ends <= now or now < certificate.not_valid_before_utc:
        return problem(check, f"{cert_file} is not valid now (until {ends:%Y-%m-%d})", "Renew it; a changed file is taken up.")
    missing = [name for name in names if name not in _names(certificate)]
    if missing:
        return warning(
            check, f"{cert_file} does not name {', '.join(missing)}", "Clients with verify-full need the name they use."
        )
    if ends - now < _SOON:
        return warning(check, text, "Renew it soon; a changed file is taken up by itself.")
    return ok(check, text)


def _client_authorities(file: Path, now: datetime) -> Finding:
    from cryptography import x509

    check = "client certificates"
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        return problem(check, f"{file}: {error}", "Name a file with the CAs (PEM) that sign clients' certificates.")
    ends = min(each.not_valid_after_utc for each in found)
    text = f"{file}, {len(found)} CA{'s' if len(found) > 1 else ''}, until {ends:%Y-%m-%d}"
    if ends <= now + _SOON:
        return warning(check, text, "Machines with certificates of a CA that has ended cannot log in with them.")
    return ok(check, text)


def _client_revocations(file: Path, now: datetime) -> Finding:
    from gateway.proxy.client_trust import check_revocations

    check = "revoked certificates"
    try:
        found = check_revocations(file.read_bytes())
    except (OSError, ValueError) as error:
        return problem(
            check, f"{file}: {error}", "Name a file with the revocation lists (PEM) of the CAs in tls.client_ca_file."
        )
    due = min((each.next_update_utc for each in found if each.next_update_utc is not None), default=None)
    until = "" if due is None else f", good until {due:%Y-%m-%d %H:%M} UTC"
    text = f"{file}, {sum(len(each) for each in found)} revoked{until}"
    if due is not None and due <= now:
        return problem(check, text, "No client certificate is taken until there is a newer list.")
    if due is not None and due - now < _CRL_SOON:
        return warning(check, text, "When it is out of date, no client certificate is taken: put a newer one there.")
    return ok(check, text)


def _names(certificate: "x509.Certificate") -> list[str]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*found.get_values_for_type(x509.DNSName), *(str(each) for each in found.get_values_for_type(x509.IPAddress))]


def now_utc() -> datetime:
    return datetime.now(UTC)
