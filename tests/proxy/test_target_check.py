"""`targets test`: each way in which a real server can be wrong is named, with what to do about it."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from psycopg import sql

from gateway.access.model import DatabaseRole, ListMode, Target, TlsMode
from gateway.access_mode import AccessMode
from gateway.demo.postgres import TlsFiles, start_postgres
from gateway.ports import CheckStep
from gateway.proxy.target_check import check_target
from gateway.secret import Secret
from gateway.services.target_sql import init_sql
from tests.support.hostile import LOGIN, PASSWORD, Guest, error, hostile, ready, row
from tests.support.one_secret import dialer_with
from tests.support.upstream import Database, Login
from tests.support.wire import packet, text

ALL = ["dns", "tcp", "tls", "login", "role", "database", "settings"]
_CANARY = "canary-5be1"


def target_of(database: Database, **changes: Any) -> Target:
    upstream = database.upstream
    tls = TlsMode.VERIFY_FULL if upstream.has_tls else TlsMode.DISABLE
    made = Target(
        id="t",
        name="shop",
        host=upstream.host,
        port=upstream.port,
        dbname=database.name,
        tls=tls,
        ca_pem=upstream.ca_file.read_text() if upstream.has_tls else None,
        allow_md5=False,
        enabled=True,
        allowlist=ListMode.INHERIT,
        roles={},
    )
    return replace(made, **changes)


def elsewhere(port: int, **changes: Any) -> Target:
    made = Target("t", "shop", "127.0.0.1", port, "webshop", TlsMode.DISABLE, None, False, True, ListMode.INHERIT, {})
    return replace(made, **changes)


def check(
    target: Target,
    login: Login,
    *,
    mode: AccessMode = AccessMode.READ_ONLY,
    seconds: float = 5.0,
    run: Callable[..., Any] = asyncio.run,
) -> list[CheckStep]:
    """Every result is looked through for secrets, and for the rules that each has to keep."""
    role = DatabaseRole("r", login.name, b"sealed")
    steps: list[CheckStep] = run(
        check_target(dialer_with(login.password), target, role, mode=mode, timeout_seconds=seconds, iterations_max=100_000)
    )
    said = repr(steps)
    assert login.password.reveal() not in said
    assert _CANARY not in said
    assert said.isprintable()
    assert all(step.ok for step in steps[:-1])
    assert steps[-1].ok or steps[-1].remedy, "a failure without a remedy"
    names = [step.name for step in steps]
    assert names == sorted(names, key=ALL.index)
    return steps


def failure(steps: list[CheckStep]) -> tuple[str, str]:
    assert not steps[-1].ok, steps
    return steps[-1].name, steps[-1].detail


@contextlib.contextmanager
def role_with(database: Database, attributes: str = "", granted: str = "") -> Iterator[Login]:
    login = Login(f"r_{secrets.token_hex(4)}", Secret(secrets.token_urlsafe(18)))
    name = sql.Identifier(login.name)
    with database.upstream.connect(database.name) as admin:
        password = sql.Literal(login.password.reveal())
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, password) + sql.SQL(f" {attributes}"))
        if granted:
            admin.execute(sql.SQL(granted).format(role=name))
        try:
            yield login
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {name}; DROP ROLE {name}").format(name=name))


# --- all is well


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_roles_made_by_init_sql_pass(database: Database, run: Callable[..., Any]) -> None:
    reader, writer = (Login(f"{kind}_{secrets.token_hex(4)}", Secret(secrets.token_urlsafe(18))) for kind in ("ro", "rw"))
    with database.upstream.connect(database.name) as admin:
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        admin.execute(init_sql(database.name, read_only_role=reader.name, read_write_role=writer.name))
        for login in (reader, writer):
            admin.execute(f"ALTER ROLE {login.name} PASSWORD '{login.password.reveal()}'")
        try:
            for mode, login in ((AccessMode.READ_ONLY, reader), (AccessMode.READ_WRITE, writer)):
                steps = check(target_of(database), login, mode=mode, run=run)
                assert [step.name for step in steps] == ALL
                assert all(step.ok for step in steps), steps
                assert f"PostgreSQL {database.upstream.major}" in steps[-1].detail
                if database.upstream.has_tls:
                    assert steps[2].detail.startswith("TLSv1.")
                    assert "bound to the TLS channel" in steps[3].detail
            count = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'targets-test'").fetchone()
            assert count is not None
        finally:
            for login in (reader, writer):
                admin.execute(f"DROP OWNED BY {login.name}; DROP ROLE {login.name}")


def test_it_leaves_nothing_behind(database: Database) -> None:
    check(target_of(database), database.app_ro)
    with database.upstream.connect() as admin:
        deadline = time.monotonic() + 3
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'targets-test' OR datname = %s"
        while admin.execute(query, (database.name,)).fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.02)


# --- the network


def test_a_name_that_does_not_exist(database: Database) -> None:
    assert failure(check(elsewhere(5432, host="no-such-host.invalid"), database.app_ro))[0] == "dns"


def test_a_port_where_nothing_listens(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    step, said = failure(check(elsewhere(port), database.app_ro))
    assert (step, said) == ("tcp", f"nothing listens on 127.0.0.1 port {port}")


def test_an_address_that_does_not_answer(database: Database) -> None:
    """A full backlog drops what comes, as a firewall does."""
    with socket.socket() as deaf, contextlib.ExitStack() as stack:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(contextlib.closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        started = time.monotonic()
        step, said = failure(check(elsewhere(deaf.getsockname()[1]), database.app_ro, seconds=0.7))
        assert (step, "does not answer" in said) == ("tcp", True)
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(("tls", "step"), [(TlsMode.REQUIRE, "tls"), (TlsMode.DISABLE, "login")])
def test_a_server_that_takes_the_connection_and_is_silent(database: Database, tls: TlsMode, step: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        found, said = failure(check(elsewhere(silent.getsockname()[1], tls=tls), database.app_ro, seconds=0.7))
        assert found == step
        assert "takes connections, but does not answer" in said
        assert time.monotonic() - started < 2


# --- TLS


@contextlib.contextmanager
def tls_server(directory: Path, *names: str, expired: bool = False) -> Iterator[tuple[int, str]]:
    """A real PostgreSQL with this certificate: its port and its CA."""
    authority = trustme.CA()
    past = datetime.now(UTC) - timedelta(days=1)
    certificate = authority.issue_cert(*names, **({"not_after": past} if expired else {}))
    cert_file, key_file = directory / "server.pem", directory / "server.key"
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(cert_file, append=True)
    certificate.private_key_pem.write_to_path(key_file)
    with start_postgres(directory, tls=TlsFiles(cert_file, key_file)) as server:
        if not server.has_tls:
            pytest.skip("this PostgreSQL was built without TLS")
        yield server.port, authority.cert_pem.bytes().decode()


def needs_tls(database: Database) -> None:
    if not database.upstream.has_tls:
        pytest.skip("this PostgreSQL was built without TLS")


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_another_ca(database: Database, run: Callable[..., Any]) -> None:
    needs_tls(database)
    other = trustme.CA().cert_pem.bytes().decode()
    steps = check(target_of(database, ca_pem=other), database.app_ro, run=run)
    assert failure(steps) == ("tls", "the server's certificate is not signed by the target's CA file")
    assert "--ca-file" in steps[-1].remedy
    assert failure(check(target_of(database, ca_pem=None), database.app_ro))[1].endswith("the system's CAs")


def test_another_name(database: Database, tmp_path: Path) -> None:
    with tls_server(tmp_path, "db.example.com") as (port, ca):
        steps = check(elsewhere(port, tls=TlsMode.VERIFY_FULL, ca_pem=ca), database.app_ro)
        assert failure(steps) == ("tls", "the server's certificate is not for 127.0.0.1")
        steps = check(elsewhere(port, tls=TlsMode.VERIFY_FULL, ca_pem=ca, host="localhost"), database.app_ro)
        assert failure(steps) == ("tls", "the server's certificate is not for localhost")
        # A weaker mode takes it, and says how weak it is.
        steps = check(elsewhere(port, tls=TlsMode.VERIFY_CA, ca_pem=ca), database.app_ro)
        assert steps[2].ok
        assert "verify-full" in steps[2].remedy


def test_an_expired_certificate(database: Database, tmp_path: Path) -> None:
    with tls_server(tmp_path, "127.0.0.1", expired=True) as (port, ca):
        steps = check(elsewhere(port, tls=TlsMode.VERIFY_FULL, ca_pem=ca), database.app_ro)
        assert failure(steps) == ("tls", "the server's certificate, or one above it, has expired")


def test_no_tls_offered_and_a_broken_ca(database: Database) -> None:
    def refuse(guest: Guest) -> None:
        guest.first_packet()
        guest.send(b"N")
        guest.until_gone()

    with hostile(refuse) as server:
        assert (
            failure(check(elsewhere(server.port, tls=TlsMode.REQUIRE), database.app_ro))[1] == "the server does not offer TLS"
        )
    steps = check(target_of(database, tls=TlsMode.VERIFY_FULL, ca_pem="-----BEGIN"), database.app_ro)
    assert failure(steps) == ("tls", "the target's CA file is not a PEM certificate")


# --- login


def test_a_wrong_password_and_no_such_role(database: Database) -> None:
    """PostgreSQL does not tell them apart, and this does not pretend to."""
    for login in (Login(database.app_ro.name, Secret(_CANARY)), Login("nobody_of_that_name", Secret(_CANARY))):
        steps = check(target_of(database), login)
        assert failure(steps) == ("login", f'the server refused the password of "{login.name}"')
        assert f"pgbastion targets login shop --mode read_only --login {login.name}" in steps[-1].remedy


def test_a_role_without_login(database: Database) -> None:
    with role_with(database, granted="ALTER ROLE {role} NOLOGIN") as login:
        assert failure(check(target_of(database), login)) == ("login", f'the role "{login.name}" may not log in')


def test_a_role_without_a_connection_left(database: Database) -> None:
    with role_with(database, "CONNECTION LIMIT 0") as login:
        assert "no connection left" in failure(check(target_of(database), login))[1]


def test_pg_hba_md5_trust_and_clear_text(database: Database, tmp_path: Path) -> None:
    """One server, and its pg_hba.conf in each state."""
    password = Secret(secrets.token_urlsafe(18))
    with start_postgres(tmp_path, settings={"password_encryption": "md5"}) as server:
        import psycopg

        with psycopg.connect(
            host=server.host,
            port=server.port,
            user=server.superuser,
            password=server.superuser_password.reveal(),
            dbname="postgres",
            autocommit=True,
        ) as admin:
            admin.execute(f"CREATE ROLE old LOGIN PASSWORD '{password.reveal()}'")
            admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            hba = server.data_dir / "pg_hba.conf"
            rest = hba.read_text()
            target, login = elsewhere(server.port, dbname="postgres"), Login("old", password)

            def under(line: str, *, allow_md5: bool = False) -> list[CheckStep]:
                hba.write_text(f"host all old all {line}\n{rest}")
                admin.execute("SELECT pg_reload_conf()")
                time.sleep(0.3)
                return check(replace(target, allow_md5=allow_md5), login)

            steps = under("reject")
            assert failure(steps) == ("login", "pg_hba.conf on the server does not let the gateway in")
            assert 'host  "postgres"  "old"' in steps[-1].remedy
            assert "asks for the password as md5" in failure(under("md5"))[1]
            steps = under("md5", allow_md5=True)
            assert steps[-1].ok
            assert "md5 is weak" in steps[3].remedy
            assert "without a password" in failure(under("trust"))[1]
            assert "another proof" in failure(under("password"))[1]


# --- role


@pytest.mark.parametrize("attribute", ["REPLICATION", "BYPASSRLS", "CREATEROLE", "CREATEDB"])
def test_a_role_with_more_than_a_login(database: Database, attribute: str) -> None:
    with role_with(database, attribute) as login:
        steps = check(target_of(database), login)
        assert failure(steps) == ("role", f'"{login.name}" has {attribute}')
        assert f'ALTER ROLE "{login.name}" NO{attribute};' in steps[-1].remedy


def test_a_superuser(database: Database) -> None:
    upstream = database.upstream
    login = Login(upstream.superuser, upstream.superuser_password)
    assert failure(check(target_of(database), login)) == ("role", f'"{login.name}" is a superuser, and the gateway uses none')


def test_a_member_of_a_mighty_role(database: Database) -> None:
    with role_with(database, granted="GRANT pg_read_server_files TO {role}") as login:
        assert failure(check(target_of(database), login))[1].endswith("is a member of the role pg_read_server_files")


@pytest.mark.parametrize(
    ("granted", "said"),
    [
        ("CREATE TABLE notes (id int); GRANT INSERT ON notes TO {role}", "may write, although"),
        ("CREATE TABLE notes (id int, word text); GRANT UPDATE (word) ON notes TO {role}", "public.notes"),
        ("CREATE SEQUENCE counter; GRANT USAGE ON SEQUENCE counter TO {role}", "public.counter"),
        ("CREATE TABLE notes (id int); ALTER TABLE notes OWNER TO {role}", "public.notes"),
        ("CREATE MATERIALIZED VIEW seen AS SELECT 1 AS one; ALTER MATERIALIZED VIEW seen OWNER TO {role}", "public.seen"),
        ('CREATE SCHEMA "Odd one"; GRANT CREATE ON SCHEMA "Odd one" TO {role}', 'in the schema "Odd one"'),
    ],
)
def test_a_reader_who_could_write(database: Database, granted: str, said: str) -> None:
    with role_with(database, granted=granted) as login:
        steps = check(target_of(database), login)
        assert steps[-1].name == "role"
        assert said in failure(steps)[1]
        assert "REVOKE" in steps[-1].remedy
        # For a login of read_write that is its work.
        assert check(target_of(database), login, mode=AccessMode.READ_WRITE)[-1].ok


# --- database and settings


def test_no_such_database(database: Database) -> None:
    steps = check(target_of(database, dbname="not_here"), database.app_ro)
    assert failure(steps) == ("database", 'there is no database "not_here"')
    assert steps[-2] == CheckStep("login", ok=True, detail=f'the server let "{database.app_ro.name}" in')


def test_a_database_that_it_may_not_enter(database: Database) -> None:
    with database.superuser() as admin:
        admin.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database.name)))
    steps = check(target_of(database), database.app_ro)
    assert failure(steps)[0] == "database"
    assert f'GRANT CONNECT ON DATABASE "{database.name}" TO "{database.app_ro.name}";' in steps[-1].remedy


def test_advice_beside_a_good_answer(database: Database) -> None:
    """Tables that nobody lets it read, temporary tables, functions with their owner's rights."""
    with database.superuser() as admin:
        admin.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(database.name)))
        admin.execute("CREATE FUNCTION mighty() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'")
    with role_with(database) as login:
        (step,) = (step for step in check(target_of(database), login) if step.name == "database")
        assert step.ok
        for word in ("TEMPORARY", "SECURITY DEFINER"):
            assert word in step.remedy


def test_a_standby_and_other_versions(database: Database) -> None:
    def server_like(version: str, standby: str) -> Callable[[Guest], None]:
        def script(guest: Guest) -> None:
            guest.log_in(server_version=version)
            guest.read()
            guest.send(packet("C", text("SELECT 0")), ready())
            guest.read()
            guest.send(row("3", "3", standby, standby[1], "f", "0"), ready())
            guest.until_gone()

        return script

    def settings(version: str, standby: str = "off") -> CheckStep:
        with hostile(server_like(version, standby)) as server:
            login = Login(LOGIN, Secret(PASSWORD))
            return check(elsewhere(server.port), login, mode=AccessMode.READ_WRITE)[-1]

    assert settings("16.4", "on").detail == "nothing can be written there: the server is read-only by its settings"
    assert settings("13.1").ok
    assert not settings("12.22").ok
    assert not settings("nonsense").ok
    newer = settings("19devel")
    assert newer.ok
    assert "newer" in newer.remedy


# --- servers that lie


def asked(*, attributes: bytes = b"", after: bytes = b"", **reports: str) -> Callable[[Guest], None]:
    def script(guest: Guest) -> None:
        guest.log_in(**reports)
        guest.read()
        guest.send(attributes or (error("42501", _CANARY, "ERROR") + ready()), after)
        guest.until_gone()

    return script


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (asked(), "role"),
        (asked(attributes=row("x\x1b[31m" + "y" * 500, "SUPERUSER") + ready()), "role"),
        (asked(attributes=b"D" + (1 << 30).to_bytes(4, "big") + b"x" * 1000), "role"),
        (asked(attributes=row("a", "b") + ready() + ready()), "role"),
        (asked(attributes=b"\x00" * 100), "role"),
        (lambda guest: guest.log_in(is_superuser="on"), "role"),
        (lambda guest: guest.log_in(standard_conforming_strings="off"), "settings"),
        (lambda guest: guest.log_in(application_name=_CANARY), "settings"),
        (lambda guest: guest.log_in(), "role"),
        (lambda guest: guest.send(error("XX000", _CANARY)), "login"),
        (lambda guest: guest.send(error("ca-na", _CANARY)), "login"),
        (lambda guest: guest.send(b"HTTP/1.1 400 Bad Request\r\n\r\n" + _CANARY.encode()), "login"),
    ],
)
def test_a_hostile_server(database: Database, script: Callable[[Guest], None], expected: str) -> None:
    with hostile(script) as server:
        started = time.monotonic()
        steps = check(elsewhere(server.port), Login(LOGIN, Secret(PASSWORD)), seconds=2)
        assert failure(steps)[0] == expected
        assert time.monotonic() - started < 4


def test_another_server_in_its_place(database: Database) -> None:
    """It takes any proof and cannot give its own."""

    def pretend(guest: Guest) -> None:
        guest.first_packet()
        guest.scram(final=lambda _: "v=" + "A" * 43 + "=")
        guest.until_gone()

    with hostile(pretend) as server:
        assert "could not prove" in failure(check(elsewhere(server.port), Login(LOGIN, Secret(PASSWORD))))[1]
