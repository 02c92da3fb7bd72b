"""Machines log in with client certificates: which, as whom, and how that ends. With psql and asyncpg."""

import asyncio
import hashlib
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from gateway.access.model import UserKind
from gateway.services import certificates, users
from tests.e2e.conftest import WIDE_OPEN
from tests.support.doors import program
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.upstream import Database


@dataclass(frozen=True)
class Machine:
    """A user with a certificate, and its files."""

    person: Person
    target: str
    cert: Path
    key: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    ca, file = trustme.CA(), tmp_path_factory.mktemp("ca") / "client-ca.pem"
    ca.cert_pem.write_to_path(file)
    return ca, file


@pytest.fixture(scope="module")
def guarded(authority: tuple[trustme.CA, Path]) -> Iterator[RunningGateway]:
    with running_gateway(throttle=WIDE_OPEN, tls={"client_ca_file": str(authority[1])}) as running:
        yield running


@pytest.fixture
def machine(guarded: RunningGateway, authority: tuple[trustme.CA, Path], shared_database: Database, tmp_path: Path) -> Machine:
    person, target = guarded.analyst(shared_database)
    store = guarded.admin.store
    guarded.admin.change(users.update_user(store, name=person.name, kind=UserKind.MACHINE, **WHY))
    names = {f"cn:{person.name}"}
    guarded.admin.change(certificates.set_certificate_names(store, name=person.name, certificate_names=names, **WHY))
    machine = Machine(person, target, *issued_to(authority[0], person.name, tmp_path))
    wait_until_in(guarded, machine)
    return machine


def issued_to(ca: trustme.CA, name: str, folder: Path) -> tuple[Path, Path]:
    made = ca.issue_cert(f"{name}.internal".replace("_", "-"), common_name=name)
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    made.cert_chain_pems[0].write_to_path(cert)
    made.private_key_pem.write_to_path(key)
    key.chmod(0o600)
    return cert, key


def connect(gateway: RunningGateway, machine: Machine, **more: Any) -> "psycopg.Connection[Any]":
    facts = {"sslcert": str(machine.cert), "sslkey": str(machine.key), "password": None, **more}
    return gateway.client(machine.person, machine.target, **facts)


def wait_until_in(gateway: RunningGateway, machine: Machine) -> None:
    deadline = time.monotonic() + 5
    while True:
        try:
            connect(gateway, machine).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def use_until_it_ends(session: "psycopg.Connection[Any]") -> None:
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        session.execute("SELECT 1")
        time.sleep(0.02)


def test_psql_needs_no_password(guarded: RunningGateway, machine: Machine) -> None:
    environment = {
        "PGHOST": guarded.host,
        "PGPORT": str(guarded.port),
        "PGUSER": machine.person.name,
        "PGDATABASE": machine.target,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(guarded.ca_file),
        "PGSSLCERT": str(machine.cert),
        "PGSSLKEY": str(machine.key),
    }
    psql = program("psql", "postgresql-client")
    command = [psql, "-XwAt", "-c", "\\echo :USER", "-c", "SELECT 1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{machine.person.name}\n1\n", "")
    started = guarded.wait_for_event(event="session_start", user=machine.person.name)
    certificate = ssl.PEM_cert_to_DER_cert(machine.cert.read_text())
    assert started["certificate_sha256"] == hashlib.sha256(certificate).hexdigest()
    assert started["certificate_serial"]


def test_asyncpg_needs_no_password(guarded: RunningGateway, machine: Machine) -> None:
    trust = ssl.create_default_context(cafile=guarded.ca_file)
    trust.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    trust.load_cert_chain(machine.cert, machine.key)

    async def ask() -> str:
        session = await asyncpg.connect(
            host=guarded.host, port=guarded.port, user=machine.person.name, database=machine.target, ssl=trust
        )
        try:
            return str(session.get_settings().session_authorization)
        finally:
            await session.close()

    assert asyncio.run(ask()) == machine.person.name


def test_a_certificate_is_nobody_elses(guarded: RunningGateway, machine: Machine, shared_database: Database) -> None:
    """Another name to log in as: a password is asked for, and the right one does."""
    other, target = guarded.analyst(shared_database)
    files = {"sslcert": str(machine.cert), "sslkey": str(machine.key)}
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        guarded.client(other, target, password=None, **files)
    with guarded.client(other, target, **files) as session:
        assert session.info.parameter_status("session_authorization") == other.name


def test_the_password_goes_on(guarded: RunningGateway, machine: Machine) -> None:
    with guarded.client(machine.person, machine.target) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)
    assert "certificate_serial" not in guarded.wait_for_event(event="session_start", user=machine.person.name)


def test_other_certificates(guarded: RunningGateway, machine: Machine, tmp_path: Path) -> None:
    """Of another CA, or not meant for clients: the handshake fails, as with PostgreSQL, and the log says why."""
    strangers = Machine(machine.person, machine.target, *issued_to(trustme.CA(), machine.person.name, tmp_path))
    with pytest.raises(psycopg.OperationalError, match=r"SSL|closed the connection"):
        connect(guarded, strangers)
    deadline = time.monotonic() + 5
    while not any("a client's certificate was refused" in line for line in guarded.log):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listed(ca: trustme.CA, file: Path, *revoked: Path, days: float = 1.0) -> None:
    """The CA's revocation list, put in the file's place."""
    key = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    now = datetime.now(UTC)
    made = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(now - timedelta(days=2))
    made = made.next_update(now + timedelta(days=days))
    for path in revoked:
        serial = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
        made = made.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - timedelta(days=1)).build()
        )
    new = file.with_suffix(".new")
    new.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))  # type: ignore[arg-type]
    new.replace(file)


def shut_out(gateway: RunningGateway, machine: Machine) -> None:
    """Within the time in which files are looked at."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            connect(gateway, machine).close()
        except psycopg.OperationalError:
            break
        time.sleep(0.1)
    with pytest.raises(psycopg.OperationalError, match=r"SSL|closed the connection"):
        connect(gateway, machine)


def test_a_revoked_certificate_is_shut_out_and_others_are_not(shared_database: Database, tmp_path: Path) -> None:
    ca, crl = trustme.CA(), tmp_path / "ca.crl"
    (tmp_path / "ca.pem").write_bytes(ca.cert_pem.bytes())
    listed(ca, crl)
    with running_gateway(
        throttle=WIDE_OPEN, tls={"client_ca_file": str(tmp_path / "ca.pem"), "client_crl_file": str(crl)}
    ) as gateway:
        store, machines = gateway.admin.store, []
        for _ in range(2):
            person, target = gateway.analyst(shared_database)
            gateway.admin.change(users.update_user(store, name=person.name, kind=UserKind.MACHINE, **WHY))
            names = {f"cn:{person.name}"}
            gateway.admin.change(certificates.set_certificate_names(store, name=person.name, certificate_names=names, **WHY))
            machines.append(Machine(person, target, *issued_to(ca, person.name, tmp_path)))
        for machine in machines:
            wait_until_in(gateway, machine)
        lost, kept = machines
        going, staying = connect(gateway, lost), connect(gateway, kept)
        by_password = gateway.client(lost.person, lost.target)
        listed(ca, crl, lost.cert)
        with pytest.raises(psycopg.errors.AdminShutdown, match="this client certificate was revoked by its CA"):
            use_until_it_ends(going)
        shut_out(gateway, lost)
        for session in (staying, by_password):
            assert session.execute("SELECT 1").fetchone() == (1,)
            session.close()
        wait_until_in(gateway, kept)
        with gateway.client(lost.person, lost.target) as session:  # by the password, without the certificate
            assert session.execute("SELECT 1").fetchone() == (1,)
        listed(ca, crl, days=-1)  # out of date: nobody can say any more
        shut_out(gateway, kept)
        listed(ca, crl)
        wait_until_in(gateway, kept)
        wait_until_in(gateway, lost)


def test_a_name_taken_off_ends_sessions(guarded: RunningGateway, machine: Machine) -> None:
    session = connect(guarded, machine)
    store = guarded.admin.store
    guarded.admin.change(certificates.set_certificate_names(store, name=machine.person.name, certificate_names=(), **WHY))
    with pytest.raises(psycopg.errors.AdminShutdown, match="certificate"):
        use_until_it_ends(session)
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        connect(guarded, machine)
