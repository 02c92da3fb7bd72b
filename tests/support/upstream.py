"""The real PostgreSQL behind the tests: a container where an engine answers, else a server that we start ourselves."""

import contextlib
import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import trustme
from psycopg import sql

import gateway.demo
from gateway.demo.postgres import TlsFiles, start_postgres
from gateway.secret import Secret
from gateway.services.target_sql import harden_sql

CHOICE_VARIABLE = "PGBASTION_TEST_POSTGRES"  # installed | embedded | container
_IMAGE = "postgres:17"
_DATA = Path(gateway.demo.__file__).parent / "data"


@dataclass(frozen=True)
class Upstream:
    """A running server and its superuser. `ca_file` verifies its certificate when `has_tls`."""

    host: str
    port: int
    superuser: str
    superuser_password: Secret
    has_tls: bool
    major: int
    ca_file: Path
    log_file: Path | None

    def connect(self, dbname: str = "postgres", **more: Any) -> "psycopg.Connection[Any]":
        """As superuser, directly, in autocommit."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.superuser,
            password=self.superuser_password.reveal(),
            dbname=dbname,
            autocommit=True,
            **more,
        )


@dataclass(frozen=True)
class Login:
    """An upstream role that a target may use."""

    name: str
    password: Secret


@dataclass(frozen=True)
class Database:
    """A fresh database with the tables of tests/support/tables.sql, and the two upstream logins of a target."""

    upstream: Upstream
    name: str
    app_ro: Login
    app_rw: Login
    _open: list["psycopg.Connection[Any]"] = field(default_factory=list, repr=False)

    def superuser(self) -> "psycopg.Connection[Any]":
        """A direct superuser connection in autocommit, closed at the end of the test."""
        return self._remember(self.upstream.connect(self.name))

    def connect(self, login: Login, **more: Any) -> "psycopg.Connection[Any]":
        """A direct connection as one of the logins, in autocommit, closed at the end of the test."""
        connection = psycopg.connect(
            host=self.upstream.host,
            port=self.upstream.port,
            user=login.name,
            password=login.password.reveal(),
            dbname=self.name,
            autocommit=True,
            **more,
        )
        return self._remember(connection)

    def _remember(self, connection: "psycopg.Connection[Any]") -> "psycopg.Connection[Any]":
        self._open.append(connection)
        return connection


def make_certificates(directory: Path) -> tuple[Path, TlsFiles]:
    """A throw-away CA (its file is the first answer) and a certificate for every name of this machine's loopback."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1", "::1")
    ca_file, cert_file, key_file = (directory / name for name in ("ca.pem", "server.pem", "server.key"))
    authority.cert_pem.write_to_path(ca_file)
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(cert_file, append=True)
    certificate.private_key_pem.write_to_path(key_file)
    return ca_file, TlsFiles(cert_file, key_file)


@contextlib.contextmanager
def running_upstream(directory: Path) -> Iterator[Upstream]:
    """One server for a test session, by PGBASTION_TEST_POSTGRES or whatever this machine has."""
    choice = os.environ.get(CHOICE_VARIABLE, "")
    ca_file, tls = make_certificates(directory)
    if choice == "container" or (not choice and _engine_answers()):
        with contextlib.ExitStack() as stack:
            try:
                upstream = stack.enter_context(_container(ca_file, tls))
            except Exception as error:  # an engine without a way to the image, say
                if choice:
                    raise
                warnings.warn(f"no PostgreSQL in a container ({error}); starting one here", stacklevel=2)
            else:
                yield upstream
                return
    prefer = choice if choice in ("installed", "embedded") else "any"
    with start_postgres(Path(tempfile.gettempdir()), prefer=prefer, tls=tls) as server:
        yield Upstream(
            server.host,
            server.port,
            server.superuser,
            server.superuser_password,
            server.has_tls,
            server.major,
            ca_file,
            server.log_file,
        )


def _engine_answers() -> bool:
    """Is there a container engine, and is it up?"""
    try:
        import docker

        with contextlib.closing(docker.from_env(timeout=3)) as client:
            return bool(client.ping())
    except Exception:  # docker-py raises a dozen kinds for "not here"
        return False


@contextlib.contextmanager
def _container(ca_file: Path, tls: TlsFiles) -> Iterator[Upstream]:
    from testcontainers.postgres import PostgresContainer

    password = secrets.token_urlsafe(24)
    switch_on_tls = tls.cert_file.parent / "tls.sh"
    # The server insists on owning its key, so it makes its own copy.
    switch_on_tls.write_text(
        "cp /tls/server.pem /tls/server.key $PGDATA/ && chmod 600 $PGDATA/server.key\n"
        "printf \"ssl=on\\nssl_cert_file='server.pem'\\nssl_key_file='server.key'\\nfsync=off\\nmax_connections=200\\n\" "
        ">> $PGDATA/postgresql.conf\n"
    )
    for readable in (tls.cert_file.parent, tls.key_file, switch_on_tls):
        readable.chmod(0o755 if readable.is_dir() else 0o644)
    container = (
        PostgresContainer(_IMAGE, username="postgres", password=password, dbname="postgres")
        .with_volume_mapping(str(tls.cert_file.parent), "/tls", "ro")
        .with_volume_mapping(str(switch_on_tls), "/docker-entrypoint-initdb.d/tls.sh", "ro")
    )
    with container:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(5432))
        major = int(_IMAGE.rpartition(":")[2])
        yield Upstream(host, port, "postgres", Secret(password), True, major, ca_file, None)


def make_logins(upstream: Upstream) -> tuple[Login, Login]:
    """The roles app_ro and app_rw, once per server, with random passwords."""
    logins = [Login(name, Secret(secrets.token_urlsafe(24))) for name in ("app_ro", "app_rw")]
    script = (_DATA / "roles.sql").read_text()
    with upstream.connect() as connection:
        for key, login in zip(("ro", "rw"), logins, strict=True):
            script = script.replace(f"%{key}%", login.name)
            script = script.replace(f"%{key}_password%", sql.Literal(login.password.reveal()).as_string(connection))
        connection.execute(script)
    return logins[0], logins[1]


@contextlib.contextmanager
def fresh_database(upstream: Upstream, logins: tuple[Login, Login]) -> Iterator[Database]:
    """A database of its own for one test, dropped afterwards."""
    name = f"t_{secrets.token_hex(6)}"
    database = Database(upstream, name, *logins)
    identifier = sql.Identifier(name)
    with upstream.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    try:
        with upstream.connect(name) as connection:
            connection.execute(Path(__file__).with_name("tables.sql").read_text())
            connection.execute(harden_sql())
        yield database
    finally:
        for opened in database._open:
            opened.close()
        with upstream.connect() as connection:
            try:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))
            except psycopg.Error as error:
                warnings.warn(f"{name} was not dropped: {error}", stacklevel=2)
