"""Login roles of people on a real server: made and dropped by a superuser, and by an admin that has CREATEROLE and no more."""

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from gateway.access.model import ListMode, Target, TlsMode
from gateway.custody.login_roles import Left, LoginRoleRefused, LoginRoles
from gateway.custody.login_sql import LoginSpec, Marker
from gateway.custody.upstream_admin import AdminConnection, admin_connection, scram_verifier
from gateway.secret import Secret
from tests.support.hostile import LOGIN, PASSWORD, Guest, hostile, ready, row
from tests.support.upstream import Database, Login, Upstream, fresh_database

OPTIONS_MAJOR = 16
IN_A_DAY = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


@dataclass(frozen=True)
class Stage:
    """`admin`: by which the roles are made. `login`: a name that no other test uses."""

    database: Database
    admin: Login
    gateway_id: str
    login: str

    @property
    def member_of(self) -> str:
        return self.database.app_rw.name

    def place(self, dbname: str) -> Target:
        upstream = self.database.upstream
        tls = TlsMode.VERIFY_FULL if upstream.has_tls else TlsMode.DISABLE
        ca_pem = upstream.ca_file.read_text() if upstream.has_tls else None
        return Target("t", "shop", upstream.host, upstream.port, dbname, tls, ca_pem, False, True, ListMode.INHERIT, {})

    def roles(self, gateway_id: str = "", dbname: str = "") -> LoginRoles:
        @asynccontextmanager
        async def connect(name: str) -> AsyncIterator[AdminConnection]:
            async with admin_connection(self.place(name), self.admin.name, self.admin.password) as connection:
                yield connection

        return LoginRoles(gateway_id or self.gateway_id, dbname or self.database.name, connect)

    def spec(self, password: str = "first password", **more: Any) -> LoginSpec:
        marker = Marker(self.gateway_id, "22222222-2222-4222-8222-222222222222")
        verifier = scram_verifier(Secret(password))
        spec = LoginSpec(self.login, self.member_of, verifier, IN_A_DAY, 5, marker, "alice on shop (read_write)")
        return replace(spec, **more)

    def connect(self, password: str = "first password") -> "psycopg.Connection[Any]":
        return self.database.connect(Login(self.login, Secret(password)))

    def ask(self, query: str, *values: object, dbname: str = "") -> list[tuple[Any, ...]]:
        with self.database.upstream.connect(dbname or self.database.name) as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def facts(self) -> tuple[Any, ...] | None:
        columns = "rolcanlogin, nullif(rolvaliduntil, 'infinity'), rolconnlimit, rolpassword IS NULL"
        return next(iter(self.ask(f"SELECT {columns} FROM pg_authid WHERE rolname = %s", self.login)), None)


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


@pytest.fixture(scope="module")
def server(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Database]:
    with fresh_database(postgres, upstream_logins) as fresh:
        yield fresh


@pytest.fixture(params=["superuser", "createrole"])
def stage(request: pytest.FixtureRequest, server: Database) -> Iterator[Stage]:
    upstream = server.upstream
    admin = Login(upstream.superuser, upstream.superuser_password)
    name = sql.Identifier(made := f"adm_{secrets.token_hex(4)}")
    if request.param == "createrole":
        admin = Login(made, Secret(secrets.token_urlsafe(24)))
        with upstream.connect() as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(name, sql.Literal(admin.password.reveal()))
            )
            if upstream.major >= OPTIONS_MAJOR:
                grant = sql.SQL("GRANT app_ro, app_rw TO {} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE")
                connection.execute(grant.format(name))
            connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(server.name), name))
    stage = Stage(server, admin, str(uuid.uuid4()), f"pgb_alice_{secrets.token_hex(3)}")
    yield stage
    with upstream.connect(server.name) as connection:
        for role in (stage.login, made):
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None:
                connection.execute(sql.SQL("REASSIGN OWNED BY {0} TO app_rw; DROP OWNED BY {0}").format(sql.Identifier(role)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


async def test_a_person_has_the_rights_of_the_database_role_and_a_name_of_their_own(stage: Stage) -> None:
    await stage.roles().make(stage.spec())
    assert stage.facts() == (True, IN_A_DAY, 5, False)
    with closing(stage.connect()) as session:
        who = session.execute("SELECT current_user, session_user, pg_has_role(current_user, 'app_rw', 'USAGE')").fetchone()
        assert who == (stage.login, stage.login, True)
        if stage.database.upstream.major >= OPTIONS_MAJOR:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute("SET ROLE app_rw")
    more = "rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
    assert stage.ask(f"SELECT {more} FROM pg_roles WHERE rolname = %s", stage.login) == [(False,)]
    ((remark,),) = stage.ask("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", stage.login)
    assert remark.startswith(f"pgbastion:{stage.gateway_id}:")


async def test_it_has_the_settings_of_the_database_role(stage: Stage) -> None:
    """As far as this admin may set them: of the rest it is told."""
    upstream, dbname = stage.database.upstream, sql.Identifier(stage.database.name)
    with upstream.connect() as root:
        root.execute(
            "ALTER ROLE app_rw SET search_path = shop, \"$user\", public; ALTER ROLE app_rw SET log_statement = 'none'"
        )
        root.execute("ALTER ROLE app_rw SET application.tenant = 'a=b'")
        root.execute(sql.SQL("ALTER ROLE app_rw IN DATABASE {} SET statement_timeout = '31min'").format(dbname))
        try:
            notices = await stage.roles().make(stage.spec())
        finally:
            for name in ("search_path", "log_statement", "application.tenant"):  # the role has others, for everybody's tests
                root.execute(f"ALTER ROLE app_rw RESET {name}")
            root.execute(sql.SQL("ALTER ROLE app_rw IN DATABASE {} RESET ALL").format(dbname))
    told = sorted(notice.split()[1] for notice in notices)
    names = {"search_path": 'shop, "$user", public', "statement_timeout": "31min", "application.tenant": "a=b"}
    if stage.admin.name != upstream.superuser:
        assert "log_statement" in told
        assert set(told) <= {"application.tenant", "log_statement", "temp_file_limit"}
    with closing(stage.connect()) as session:
        for name in names.keys() - set(told):
            assert session.execute(f"SHOW {name}").fetchone() == (names[name],)


async def test_made_again_it_is_as_it_was_asked_for_last(stage: Stage) -> None:
    roles = stage.roles()
    await roles.make(stage.spec())
    await roles.make(stage.spec("second password", valid_until=None, most=7, member_of=stage.database.app_ro.name))
    assert stage.facts() == (True, None, 7, False)
    with pytest.raises(psycopg.OperationalError):
        stage.connect()
    with closing(stage.connect("second password")) as session:
        assert session.execute("SELECT pg_has_role(current_user, 'app_rw', 'MEMBER')").fetchone() == (False,)
        assert session.execute("SELECT pg_has_role(current_user, 'app_ro', 'USAGE')").fetchone() == (True,)
    (marked,) = await roles.marked()
    assert (marked.login, marked.enabled, marked.member_of) == (stage.login, True, ("app_ro",))


async def test_its_end_is_moved(stage: Stage) -> None:
    roles = stage.roles()
    await roles.make(stage.spec())
    later = IN_A_DAY + timedelta(days=3)
    assert await roles.prolong(stage.login, later)
    assert stage.facts() == (True, later, 5, False)
    assert not await roles.prolong("pgb_nobody_000000", None)


MADE = (
    "CREATE TABLE public.made (id serial PRIMARY KEY); INSERT INTO public.made DEFAULT VALUES",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA their_own; CREATE TYPE their_own.t AS (a int)",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "GRANT SELECT ON public.made TO PUBLIC",
)
OWNERS = (
    "SELECT tableowner FROM pg_tables WHERE tablename = 'made' "
    "UNION ALL SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE proname = 'mine' "
    "UNION ALL SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'their_own' "
    "UNION ALL SELECT pg_get_userbyid(lomowner) FROM pg_largeobject_metadata WHERE oid = 4711"
)


async def test_nothing_is_left_of_it_in_any_database(stage: Stage, upstream_logins: tuple[Login, Login]) -> None:
    """What it owns is the database role's, in each of them."""
    upstream = stage.database.upstream
    with fresh_database(upstream, upstream_logins) as one, fresh_database(upstream, upstream_logins) as other:
        roles = stage.roles(dbname=one.name)
        await roles.make(stage.spec())
        for name in (one.name, other.name):
            with upstream.connect(name) as root:
                root.execute("GRANT CREATE ON SCHEMA public TO app_rw; SELECT lo_create(4711)")
                root.execute(sql.SQL("GRANT CREATE, CONNECT ON DATABASE {} TO app_rw").format(sql.Identifier(name)))
                root.execute(sql.SQL("ALTER LARGE OBJECT 4711 OWNER TO {}").format(sql.Identifier(stage.login)))
            place = replace(stage.database, name=name)
            with closing(place.connect(Login(stage.login, Secret("first password")))) as session:
                for text in MADE:
                    session.execute(text)
        await _until_gone(stage, roles)
        for name in (one.name, other.name):
            assert stage.ask(OWNERS, dbname=name) == [("app_rw",)] * 4
            assert stage.ask("SELECT id FROM public.made", dbname=name) == [(1,)]
            assert stage.ask("SELECT FROM pg_default_acl", dbname=name) == []
    borrowed = "SELECT m.roleid FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = %s "
    mine = "AND m.grantor = m.member" if upstream.major >= OPTIONS_MAJOR else ""
    assert stage.ask(borrowed + mine, stage.admin.name) == []


async def test_what_others_granted_to_it_alone(stage: Stage) -> None:
    """A superuser takes it away; an admin who owns nothing there cannot, and says what it is."""
    roles, who = stage.roles(), sql.Identifier(stage.login)
    await roles.make(stage.spec())
    with stage.database.upstream.connect(stage.database.name) as root:
        root.execute("CREATE TABLE public.theirs (owner name)")
        try:
            root.execute(sql.SQL("GRANT SELECT ON public.theirs TO {}").format(who))
            root.execute(sql.SQL("CREATE POLICY own ON public.theirs TO {} USING (owner = current_user)").format(who))
            removal = await roles.remove(stage.login, ["app_rw"], yes, end_sessions=False)
            if stage.admin.name != stage.database.upstream.superuser:
                assert removal.left is Left.KEPT
                assert "table theirs" in removal.reason or "table public.theirs" in removal.reason
                assert stage.facts() == (False, IN_A_DAY, 5, True)
                root.execute(removal.reason.partition("can end that there: ")[2])
                removal = await roles.remove(stage.login, ["app_rw"], yes, end_sessions=False)
            assert removal.left is Left.NOTHING
            assert stage.ask("SELECT FROM pg_policy") == []
        finally:
            root.execute("DROP TABLE public.theirs")


async def test_who_is_in_stays_until_told_and_nobody_comes_in_any_more(stage: Stage) -> None:
    roles = stage.roles()
    await roles.make(stage.spec())
    with closing(stage.connect()) as session:
        assert (await roles.remove(stage.login, ["app_rw"], yes, end_sessions=False)).left is Left.IN_USE
        assert session.execute("SELECT 1").fetchone() == (1,)
        assert stage.facts() == (False, IN_A_DAY, 5, True)
        with pytest.raises(psycopg.OperationalError):
            stage.connect()
        assert (await roles.remove(stage.login, ["app_rw"], yes, end_sessions=True)).left is Left.IN_USE
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    await _until_gone(stage, roles)
    assert (await roles.remove(stage.login, ["app_rw"], yes, end_sessions=False)).left is Left.NOTHING


async def test_who_is_wanted_again_at_the_last_moment_is_left(stage: Stage) -> None:
    roles = stage.roles()
    await roles.make(stage.spec())
    assert (await roles.remove(stage.login, ["app_rw"], no, end_sessions=False)).left is Left.CHANGED
    assert stage.facts() == (True, IN_A_DAY, 5, False)
    asked = iter([True, False])

    async def only_once() -> bool:
        return next(asked)

    assert (await roles.remove(stage.login, ["app_rw"], only_once, end_sessions=False)).left is Left.CHANGED
    assert stage.facts() == (False, IN_A_DAY, 5, True)
    await roles.make(stage.spec("second password"))
    stage.connect("second password").close()


async def test_many_processes_at_once_agree(stage: Stage) -> None:
    """Who makes and who drops at the same moment: one of them is last, and nobody fails."""
    await asyncio.gather(*(stage.roles().make(stage.spec()) for _ in range(4)))
    left = await asyncio.gather(*(stage.roles().remove(stage.login, ["app_rw"], yes, end_sessions=False) for _ in range(3)))
    assert {each.left for each in left} == {Left.NOTHING}
    wanted = asyncio.Event()

    async def unless_wanted() -> bool:
        return not wanted.is_set()

    async def make() -> None:
        wanted.set()
        await stage.roles().make(stage.spec())

    for _ in range(5):
        await stage.roles().make(stage.spec())
        wanted.clear()
        await asyncio.gather(stage.roles().remove(stage.login, ["app_rw"], unless_wanted, end_sessions=False), make())
        stage.connect().close()
        await _until_gone(stage, stage.roles())


async def test_what_cannot_be_dropped_is_shut_and_says_why(stage: Stage, upstream_logins: tuple[Login, Login]) -> None:
    roles = stage.roles()
    await roles.make(stage.spec())
    with fresh_database(stage.database.upstream, upstream_logins) as other:
        with stage.database.upstream.connect(other.name) as root:
            root.execute("CREATE TABLE public.made (id int)")
            root.execute(sql.SQL("ALTER TABLE public.made OWNER TO {}").format(sql.Identifier(stage.login)))
        stage.ask(f"ALTER DATABASE {other.name} ALLOW_CONNECTIONS false")
        removal = await roles.remove(stage.login, ["app_rw"], yes, end_sessions=False)
        assert removal.left is Left.KEPT
        assert other.name in removal.reason
        assert stage.facts() == (False, IN_A_DAY, 5, True)
        stage.ask(f"ALTER DATABASE {other.name} ALLOW_CONNECTIONS true")
        await _until_gone(stage, roles)


async def test_roles_of_others_are_never_touched(stage: Stage) -> None:
    roles, others = stage.roles(), stage.roles("33333333-3333-4333-8333-333333333333")
    await roles.make(stage.spec())
    before = stage.facts()
    for refused in (others.make(stage.spec()), others.prolong(stage.login, None)):
        with pytest.raises(LoginRoleRefused) as error:
            await refused
        assert error.value.rule == "managed-login-taken"
    assert (await others.remove(stage.login, ["app_rw"], yes, end_sessions=True)).left is Left.KEPT
    assert await others.marked() == []
    assert stage.facts() == before
    stage.ask(f"COMMENT ON ROLE {stage.login} IS NULL")
    with pytest.raises(LoginRoleRefused):
        await roles.make(stage.spec())


async def test_a_role_that_somebody_gave_more_is_not_handed_out(stage: Stage) -> None:
    roles = stage.roles()
    await roles.make(stage.spec())
    stage.ask(f"ALTER ROLE {stage.login} CREATEDB BYPASSRLS")
    with pytest.raises(LoginRoleRefused, match="CREATEDB BYPASSRLS") as refused:
        await roles.make(stage.spec())
    assert refused.value.rule == "managed-login-altered"
    stage.ask(f"ALTER ROLE {stage.login} NOCREATEDB NOBYPASSRLS")


async def test_what_is_missing_is_named_with_its_remedy(stage: Stage) -> None:
    roles = stage.roles()
    await roles.check(["app_ro", "app_rw"])
    with pytest.raises(LoginRoleRefused) as refused:
        await roles.check(["app_ro", "no_such_role"])
    assert refused.value.rule == "managed-role-missing"
    with pytest.raises(LoginRoleRefused) as refused:
        await roles.check([stage.database.upstream.superuser])
    assert refused.value.rule == "managed-role-superuser"
    if stage.admin.name == stage.database.upstream.superuser:
        return
    if stage.database.upstream.major >= OPTIONS_MAJOR:
        stage.ask(f"REVOKE app_rw FROM {stage.admin.name}")
        with pytest.raises(LoginRoleRefused) as refused:
            await roles.check(["app_ro", "app_rw"])
        assert refused.value.rule == "managed-without-admin-option"
        stage.ask(refused.value.remedy)
        await roles.check(["app_ro", "app_rw"])
    stage.ask(f"ALTER ROLE {stage.admin.name} NOCREATEROLE")
    with pytest.raises(LoginRoleRefused) as refused:
        await roles.check(["app_ro"])
    assert refused.value.rule == "managed-without-createrole"
    stage.ask(refused.value.remedy)
    await roles.check(["app_ro"])


async def test_never_on_a_read_replica() -> None:
    def replica(guest: Guest) -> None:
        guest.log_in()
        guest.read()
        guest.send(row("t", "f", "t", "adm", "app_rw", "t", "f", "t"), ready())
        guest.until_gone()

    with hostile(replica) as server:
        target = Target("t", "shop", "127.0.0.1", server.port, "db", TlsMode.DISABLE, None, False, True, ListMode.INHERIT, {})

        @asynccontextmanager
        async def connect(_name: str) -> AsyncIterator[AdminConnection]:
            async with admin_connection(target, LOGIN, Secret(PASSWORD)) as connection:
                yield connection

        with pytest.raises(LoginRoleRefused, match="read replica") as refused:
            await LoginRoles("g", "db", connect).check(["app_rw"])
    assert refused.value.rule == "managed-on-replica"


async def _until_gone(stage: Stage, roles: LoginRoles) -> None:
    removal = await roles.remove(stage.login, ["app_rw"], yes, end_sessions=False)
    for _ in range(100):
        if removal.left is not Left.IN_USE:
            break
        await asyncio.sleep(0.05)
        removal = await roles.remove(stage.login, ["app_rw"], yes, end_sessions=False)
    assert removal.left is Left.NOTHING, removal.reason
    assert stage.facts() is None
