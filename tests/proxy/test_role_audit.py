"""`targets audit` on a real server: each right that a reader should not have is found, and ended by the SQL that is named."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.access.model import DatabaseRole
from gateway.access_mode import AccessMode
from gateway.ports import RoleAudit, RoleFinding, Severity
from gateway.proxy.role_audit import audit_target
from gateway.secret import Secret
from gateway.services.target_sql import Hardening, init_sql
from tests.proxy.test_target_check import elsewhere, role_with, target_of
from tests.support.hostile import LOGIN, PASSWORD, Guest, error, hostile, ready, row
from tests.support.one_secret import dialer_with
from tests.support.upstream import Database, Login

_CANARY = "canary-91ac"


def audit(
    database: Database, login: Login, *, mode: AccessMode = AccessMode.READ_ONLY, port: int = 0, seconds: float = 10.0
) -> RoleAudit:
    target = elsewhere(port) if port else target_of(database)
    role = DatabaseRole("r", login.name, b"sealed")
    found = asyncio.run(
        audit_target(dialer_with(login.password), target, role, mode=mode, timeout_seconds=seconds, iterations_max=100_000)
    )
    said = repr(found)
    assert login.password.reveal() not in said
    assert said.isprintable()
    weights = [list(Severity).index(each.severity) for each in found.findings]
    assert weights == sorted(weights)
    assert all(each.meaning and each.remedy for each in found.findings)
    return found


def heavy(found: RoleAudit) -> list[RoleFinding]:
    assert found.obstacle is None, found.obstacle
    return [each for each in found.findings if each.severity is not Severity.INFO]


@contextmanager
def made_by_init_sql(database: Database) -> Iterator[tuple[Login, Login]]:
    logins = tuple(Login(f"{kind}_{secrets.token_hex(4)}", Secret(secrets.token_urlsafe(18))) for kind in ("ro", "rw"))
    script = init_sql(database.name, read_only_role=logins[0].name, read_write_role=logins[1].name, hardening=Hardening.APPLIED)
    with database.upstream.connect(database.name) as admin:
        admin.execute("DROP FUNCTION evil_secdef()")  # of these tests' tables: it writes with its owner's rights
        admin.execute(script)
        for login in logins:
            admin.execute(f"ALTER ROLE {login.name} PASSWORD '{login.password.reveal()}'")
        try:
            yield logins[0], logins[1]
        finally:
            for login in logins:
                admin.execute(f"DROP OWNED BY {login.name}; DROP ROLE {login.name}")


def test_what_init_sql_makes_can_do_nothing_else(database: Database) -> None:
    with made_by_init_sql(database) as (reader, writer):
        assert heavy(audit(database, reader)) == []
        assert heavy(audit(database, writer, mode=AccessMode.READ_WRITE)) == []
        found = heavy(audit(database, writer))  # a writer's login where a reader's belongs
        assert {each.check for each in found} == {"writing"}
        assert all(each.severity is Severity.CRITICAL for each in found)


def test_its_limits_can_be_closed_too(database: Database) -> None:
    with made_by_init_sql(database) as (reader, _), database.superuser() as admin:
        for each in audit(database, reader).findings:
            assert each.check == "limits"
            admin.execute(each.remedy)
        assert audit(database, reader) == RoleAudit(reader.name)


def test_a_superuser(database: Database) -> None:
    upstream = database.upstream
    found = audit(database, Login(upstream.superuser, upstream.superuser_password))
    (each,) = found.findings
    assert (each.check, each.severity) == ("attribute", Severity.CRITICAL)


FLAWS = [
    ("ALTER ROLE {role} REPLICATION", "attribute", "critical", "REPLICATION"),
    ("ALTER ROLE {role} BYPASSRLS", "attribute", "critical", "BYPASSRLS"),
    ("ALTER ROLE {role} CREATEROLE", "attribute", "critical", "CREATEROLE"),
    ("ALTER ROLE {role} CREATEDB", "attribute", "warning", "CREATEDB"),
    ("GRANT pg_read_server_files TO {role}", "membership", "critical", "pg_read_server_files"),
    ("GRANT pg_signal_backend TO {role}", "membership", "warning", "pg_signal_backend"),
    ("ALTER ROLE {role} NOINHERIT; GRANT pg_write_server_files TO {role}", "membership", "critical", "SET ROLE"),
    ("CREATE TABLE mine (id int); ALTER TABLE mine OWNER TO {role}", "ownership", "critical", "mine"),
    ("CREATE SCHEMA odd; ALTER SCHEMA odd OWNER TO {role}", "ownership", "critical", "schema odd"),
    ('CREATE SCHEMA "Odd one"; GRANT CREATE ON SCHEMA "Odd one" TO {role}', "creating", "critical", 'SCHEMA "Odd one"'),
    ("DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {role}', current_database()); END $$", "creating", "critical",
     "DATABASE"),
    ("DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO PUBLIC', current_database()); END $$", "temporary", "warning",
     "PUBLIC may TEMPORARY"),
    ("CREATE TABLE notes (id int); GRANT INSERT, DELETE ON notes TO {role}", "writing", "critical", "DELETE, INSERT"),
    ("CREATE TABLE notes (id int); GRANT TRIGGER ON notes TO PUBLIC", "writing", "critical", "TRIGGER"),
    ("CREATE TABLE notes (id int, \"a word\" text); GRANT UPDATE (id, \"a word\") ON notes TO {role}", "writing", "critical",
     "public.notes"),
    ("CREATE SEQUENCE counter; GRANT USAGE ON SEQUENCE counter TO {role}", "writing", "critical", "SEQUENCE public.counter"),
    ("SELECT lo_create(4711); GRANT UPDATE ON LARGE OBJECT 4711 TO {role}", "writing", "critical", "LARGE OBJECT 4711"),
    ("GRANT EXECUTE ON FUNCTION pg_sleep(float8) TO {role}", "functions", "warning", "pg_sleep"),
    ("GRANT EXECUTE ON FUNCTION pg_terminate_backend TO {role}", "functions", "warning", "pg_terminate_backend"),
    ("GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO PUBLIC", "functions", "warning", "pg_notify"),
    ("GRANT EXECUTE ON FUNCTION pg_read_file(text) TO {role}", "functions", "critical", "pg_read_file"),
    ("GRANT EXECUTE ON FUNCTION query_to_xml TO {role}", "functions", "info", "query_to_xml"),
    ("CREATE FUNCTION mighty() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'", "definers", "warning", "mighty"),
    ("CREATE FOREIGN DATA WRAPPER far; CREATE SERVER away FOREIGN DATA WRAPPER far; GRANT USAGE ON FOREIGN SERVER away TO {role}",
     "foreign", "warning", "FOREIGN SERVER away"),
    ("CREATE FOREIGN DATA WRAPPER far; GRANT USAGE ON FOREIGN DATA WRAPPER far TO {role}", "foreign", "critical", "far"),
    ("CREATE FOREIGN DATA WRAPPER far; CREATE SERVER away FOREIGN DATA WRAPPER far; "
     "CREATE USER MAPPING FOR {role} SERVER away", "foreign", "warning", "away"),
    ("CREATE FOREIGN DATA WRAPPER far; CREATE SERVER away FOREIGN DATA WRAPPER far; "
     "CREATE FOREIGN TABLE there (id int) SERVER away; GRANT SELECT ON there TO {role}", "foreign", "warning", "public.there"),
    ("GRANT SELECT ON pg_authid TO {role}", "secrets", "critical", "pg_authid"),
    ("ALTER ROLE {role} CONNECTION LIMIT -1", "limits", "info", "connection limit"),
]  # fmt: skip


@pytest.mark.parametrize(("flaw", "check", "severity", "said"), FLAWS, ids=[f"{each[1]}-{each[3]}" for each in FLAWS])
def test_a_role_with_one_flaw(database: Database, flaw: str, check: str, severity: str, said: str) -> None:
    """It is the only thing found, and the SQL in the finding ends it."""
    with made_by_init_sql(database) as (login, _), database.superuser() as admin:
        before = set(audit(database, login).findings)
        admin.execute("SET search_path = public")
        admin.execute(flaw.format(role=login.name))
        found = set(audit(database, login).findings) - before
        assert len(found) == 1, found
        (each,) = found
        assert (each.check, each.severity, said in each.detail) == (check, severity, True), each
        for statement in each.remedy.removesuffix(";").split("; "):
            admin.execute(statement)
        assert set(audit(database, login).findings) <= before


def test_rights_of_a_role_that_it_could_only_become(database: Database) -> None:
    group = f"g_{secrets.token_hex(4)}"
    with role_with(database, "NOINHERIT CONNECTION LIMIT 5") as login, database.superuser() as admin:
        admin.execute(
            f"CREATE ROLE {group}; GRANT {group} TO {login.name}; CREATE TABLE t (i int); GRANT INSERT ON t TO {group}"
        )
        try:
            found = {each.check: each for each in audit(database, login).findings}
            assert found["membership"].severity is Severity.INFO
            assert found["writing"].detail == f"{group} may INSERT: TABLE public.t"
        finally:
            admin.execute(f"DROP OWNED BY {group}; DROP ROLE {group}")


@pytest.mark.parametrize("path", ["public", "public, pg_catalog"])
def test_the_databases_own_search_path_and_operators_are_not_believed(database: Database, path: str) -> None:
    with role_with(database) as login, database.superuser() as admin:
        admin.execute("CREATE FUNCTION lie(name, name) RETURNS bool LANGUAGE sql AS 'SELECT false'")
        admin.execute("CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = lie)")
        admin.execute("CREATE TABLE notes (id int)")
        admin.execute(f"GRANT INSERT ON notes TO {login.name}; ALTER ROLE {login.name} SET search_path = {path}")
        assert "writing" in {each.check for each in audit(database, login).findings}


def test_many_tables_are_counted(database: Database) -> None:
    with role_with(database) as login, database.superuser() as admin:
        admin.execute("DO $$ BEGIN FOR i IN 1..130 LOOP EXECUTE format('CREATE TABLE many_%s (id int)', i); END LOOP; END $$")
        admin.execute(f"GRANT INSERT ON ALL TABLES IN SCHEMA public TO {login.name}")
        (found,) = [each for each in audit(database, login).findings if each.check == "writing"]
        tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm')"
        count = admin.execute(tables).fetchone()
        assert count is not None
        assert f"and more ({count[0]} in all)" in found.detail


def test_a_login_that_fails_is_an_obstacle(database: Database) -> None:
    found = audit(database, Login(database.app_ro.name, Secret(_CANARY)))
    assert found.obstacle is not None
    assert (found.obstacle.name, found.findings) == ("login", ())


@pytest.mark.parametrize(
    "answer",
    [
        error("42501", _CANARY, "ERROR") + ready(),
        row("too", "few") + ready(),
        b"D" + (1 << 30).to_bytes(4, "big") + b"x" * 1000,
        b"\x00" * 100,
        b"",
    ],
)
def test_a_hostile_server(database: Database, answer: bytes) -> None:
    def script(guest: Guest) -> None:
        guest.log_in()
        guest.read()
        guest.send(answer)
        guest.until_gone()

    with hostile(script) as server:
        started = time.monotonic()
        found = audit(database, Login(LOGIN, Secret(PASSWORD)), port=server.port, seconds=2)
        assert found.obstacle is not None
        assert (found.obstacle.name, found.findings) == ("role", ())
        assert _CANARY not in repr(found)
        assert time.monotonic() - started < 5
