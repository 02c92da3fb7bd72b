"""Upstreams that must not be used: poolers, superusers, servers that ask for no password, or that TLS does not vouch for.

Each is refused with a text that leaks nothing, and an audit record that says what the administrator needs.
"""

import contextlib
import secrets
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import trustme
from psycopg import sql

from gateway.access.model import TlsMode
from gateway.access_mode import AccessMode
from gateway.demo.postgres import start_postgres
from gateway.secret import Secret
from gateway.services import targets
from tests.support import wire
from tests.support.gateway import WHY, Person, RunningGateway
from tests.support.hostile import AUTHENTICATED, KEY, PROCESS_ID, Guest, error, hostile, ready, row, victim_of
from tests.support.pooler import running_pgbouncer
from tests.support.truth import upstream_checksum
from tests.support.upstream import Database, Login, Upstream
from tests.support.wire import packet

IGNORED = "default_transaction_read_only,extra_float_digits,standard_conforming_strings,options"
BOTH = pytest.mark.parametrize("mode", list(AccessMode))


def target_at(gateway: RunningGateway, place: targets.Place, mode: AccessMode, login: Login) -> tuple[Person, str]:
    """Somebody with a grant on a new target at that place."""
    name, person = f"t_{secrets.token_hex(4)}", gateway.person()
    gateway.admin.change(targets.create_target(gateway.admin.store, name=name, place=place, **WHY))
    gateway.login(name, mode, login.name, login.password)
    gateway.grant(person, name, mode)
    return person, name


def place_of(database: Database, *, port: int = 0, tls: TlsMode = TlsMode.DISABLE, **more: object) -> targets.Place:
    upstream = database.upstream
    return targets.Place(upstream.host, port or upstream.port, database.name, tls, **more)  # type: ignore[arg-type]


def refused(gateway: RunningGateway, place: targets.Place, mode: AccessMode, login: Login) -> tuple[str, dict[str, object]]:
    """What the client reads, and the audit's record. The text names no upstream host, port, database, role or password."""
    person, target = target_at(gateway, place, mode, login)
    suffix = ":rw" if mode is AccessMode.READ_WRITE else ""
    for _ in range(100):
        with pytest.raises(psycopg.OperationalError) as caught:
            gateway.client(person, target + suffix)
        if "does not exist" not in str(caught.value):
            break  # the workers know of the grant by now
    said = str(caught.value).replace(f'connection to server at "{gateway.host}", port {gateway.port} failed:', "")
    assert "FATAL" in said
    for secret in (login.name, login.password.reveal(), place.host, str(place.port), place.dbname):
        assert secret not in said, said
    return said, gateway.wait_for_event(event="upstream_refused", user=person.name)


def login_of(database: Database, mode: AccessMode) -> Login:
    return database.app_ro if mode is AccessMode.READ_ONLY else database.app_rw


@BOTH
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ignore_startup_parameters": IGNORED},
        {"ignore_startup_parameters": IGNORED, "pool_mode": "transaction"},
        {"ignore_startup_parameters": IGNORED, "pool_mode": "statement"},
    ],
    ids=["refuses our settings", "drops them", "per transaction", "per statement"],
)
def test_a_pooler_is_refused_by_name(
    gateway: RunningGateway, database: Database, settings: dict[str, str], mode: AccessMode
) -> None:
    """Also one that drops our settings where the role's own defaults hide it. Nothing reaches the database."""
    admin = database.superuser()
    before = upstream_checksum(admin)
    with running_pgbouncer(database, **settings) as port:
        said, record = refused(gateway, place_of(database, port=port), mode, login_of(database, mode))
    assert "connection pooler" in said
    assert "administrator" in said
    assert record["kind"] == "pooler"
    assert upstream_checksum(admin) == before


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (row("12345", "on"), "pooler"),
        (row(str(PROCESS_ID), "off"), "pooler"),
        (row(), "pooler"),
        (b"", "protocol"),
        (error("42501", "no functions for you", "ERROR"), "refused"),
    ],
    ids=["another process", "other settings", "no values", "no answer", "an error"],
)
def test_the_one_question(gateway: RunningGateway, answer: bytes, kind: str) -> None:
    """Everything that a server reports is right: what it answers must fit as well."""

    def script(guest: Guest) -> None:
        guest.first_packet()
        guest.scram()
        guest.send(AUTHENTICATED, guest.reports(), packet("K", struct.pack(">I", PROCESS_ID) + KEY), ready())
        guest.read()
        guest.send(answer, ready())
        guest.until_gone()

    with hostile(script) as server:
        victim = victim_of(gateway, server.port)
        with pytest.raises(wire.Refused) as caught:
            victim.log_in()
        assert caught.value.sqlstate == "08001"
        assert gateway.wait_for_event(event="upstream_refused", target=victim.target)["kind"] == kind


@pytest.fixture(scope="module")
def bare(upstream_logins: tuple[Login, Login], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A server of our own whose pg_hba.conf a test may write; without TLS."""
    with start_postgres(tmp_path_factory.mktemp("bare")) as server:
        upstream = Upstream(
            server.host,
            server.port,
            server.superuser,
            server.superuser_password,
            server.has_tls,
            server.major,
            Path("/nonexistent"),
            server.log_file,
        )
        with upstream.connect() as admin:
            admin.execute("SET password_encryption = 'md5'")
            for login in upstream_logins:
                admin.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(login.name), sql.Literal(login.password.reveal())
                    )
                )
        yield Database(upstream, "postgres", *upstream_logins)


@contextlib.contextmanager
def hba(database: Database, method: str) -> Iterator[None]:
    """How the login of the read-only role is to be asked for."""
    with database.upstream.connect() as admin:
        (shown,) = admin.execute("SHOW hba_file").fetchone() or ("",)
        path = Path(shown)
        before = path.read_text()
        path.write_text(f"host all {database.app_ro.name} 127.0.0.1/32 {method}\n{before}")
        admin.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            path.write_text(before)
            admin.execute("SELECT pg_reload_conf()")


def test_md5_is_refused_unless_the_target_allows_it(gateway: RunningGateway, bare: Database) -> None:
    with hba(bare, "md5"):
        said, record = refused(gateway, place_of(bare), AccessMode.READ_ONLY, bare.app_ro)
        assert "did not let the gateway in" in said
        assert record["kind"] == "md5-not-allowed"
        person, target = target_at(gateway, place_of(bare, allow_md5=True), AccessMode.READ_ONLY, bare.app_ro)
        gateway.settle(person, target)
        with gateway.client(person, target) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        weak = gateway.wait_for_event(event="upstream_security", user=person.name)
        assert weak["weaker"] == "tls disable, md5 password"


@pytest.mark.parametrize(("method", "kind"), [("trust", "no-password-asked"), ("password", "unsupported-authentication")])
def test_a_server_that_asks_for_no_password_or_a_clear_one(
    gateway: RunningGateway, bare: Database, method: str, kind: str
) -> None:
    """The password is not sent, and a server that trusts anybody is not trusted."""
    with hba(bare, method):
        said, record = refused(gateway, place_of(bare, allow_md5=True), AccessMode.READ_ONLY, bare.app_ro)
    assert "did not let the gateway in" in said
    assert record["kind"] == kind


def test_a_superuser_is_refused(gateway: RunningGateway, database: Database) -> None:
    boss = Login(database.upstream.superuser, database.upstream.superuser_password)
    said, record = refused(gateway, place_of(database), AccessMode.READ_WRITE, boss)
    assert "superuser" in said
    assert record["kind"] == "superuser"


def test_a_wrong_password(gateway: RunningGateway, database: Database) -> None:
    login = Login(database.app_ro.name, Secret("not-the-password-8c2f"))
    said, record = refused(gateway, place_of(database), AccessMode.READ_ONLY, login)
    assert "password authentication" not in said
    assert (record["kind"], record["sqlstate"]) == ("refused", "28P01")


def test_a_database_that_is_not_there(gateway: RunningGateway, database: Database) -> None:
    upstream = database.upstream
    place = targets.Place(upstream.host, upstream.port, "no_such_database_here", TlsMode.DISABLE)
    _, record = refused(gateway, place, AccessMode.READ_ONLY, database.app_ro)
    assert record["sqlstate"] == "3D000"
    assert "no_such_database_here" in str(record["detail"])


def test_a_server_that_is_not_there(gateway: RunningGateway, database: Database) -> None:
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        place = place_of(database, port=nobody.getsockname()[1])
        said, record = refused(gateway, place, AccessMode.READ_ONLY, database.app_ro)
    assert "cannot be reached" in said
    assert record["kind"] == "unreachable"


def test_a_server_without_tls(gateway: RunningGateway, bare: Database) -> None:
    """A target that wants verify-full goes no further than the server's "no"."""
    place = place_of(bare, tls=TlsMode.VERIFY_FULL)
    _, record = refused(gateway, place, AccessMode.READ_ONLY, bare.app_ro)
    assert record["kind"] == "tls"
    assert "does not offer TLS" in str(record["detail"])


def test_the_wrong_certificate_authority(gateway: RunningGateway, database: Database) -> None:
    if not database.upstream.has_tls:
        pytest.skip("this PostgreSQL was built without TLS")
    stranger = trustme.CA().cert_pem.bytes().decode()
    for tls, ca_pem in ((TlsMode.VERIFY_FULL, stranger), (TlsMode.VERIFY_CA, stranger), (TlsMode.VERIFY_FULL, None)):
        place = place_of(database, tls=tls, ca_pem=ca_pem)
        _, record = refused(gateway, place, AccessMode.READ_ONLY, database.app_ro)
        assert record["kind"] == "tls"
        assert "certificate verify failed" in str(record["detail"])
