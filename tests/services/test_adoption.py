"""Adopting a database on a real server: what is made there, done again, undone, by which admins, and after a crash."""

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from gateway.access.model import DEFAULT_ENVIRONMENT, Target, TlsMode
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.ports import Severity
from gateway.secret import Secret
from gateway.services import adoption, target_admins, targets
from gateway.services.admin_url import parse_admin_url
from gateway.services.adoption import AdminLogin, Adopted, Adopter, Step
from gateway.services.adoption_plan import Asked, Writing
from gateway.services.adoption_undo import Undone, undo_adoption
from gateway.services.errors import ServiceError
from gateway.services.target_facts import Place
from tests.services.world import BY, World
from tests.support.truth import upstream_checksum
from tests.support.upstream import Database, Upstream

RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
EVERYTHING = Asked()


def place_of(upstream: Upstream, dbname: str) -> Place:
    if not upstream.has_tls:
        return Place(upstream.host, upstream.port, dbname, TlsMode.DISABLE)
    return Place("127.0.0.1", upstream.port, dbname, TlsMode.VERIFY_FULL, upstream.ca_file.read_text())


class Scene:
    """A target of a name that no other test has: roles are the whole server's."""

    def __init__(self, world: World, upstream: Upstream, dbname: str, admin: AdminLogin) -> None:
        self.world = world
        self.upstream = upstream
        self.dbname = dbname
        self.admin = admin
        self.name = f"t{secrets.token_hex(4)}"
        self.reader, self.writer = f"{self.name}_ro", f"{self.name}_rw"

    async def create(self) -> Target:
        return await targets.create_target(self.world.store, name=self.name, place=place_of(self.upstream, self.dbname), **BY)

    @property
    def by(self) -> Adopter:
        return Adopter(self.world.store, self.world.vault, **BY)

    async def target(self) -> Target:
        return (await self.world.read()).targets[self.name]

    async def adopt(self, asked: Asked = EVERYTHING, *, keep: bool = True, admin: AdminLogin | None = None) -> Adopted:
        return await adoption.adopt(self.by, await self.target(), admin or self.admin, asked, keep=keep)

    async def undo(self, **more: Any) -> Undone:
        wanted = {"restore": True, "reassign_to": None, "dry_run": False} | more
        return await undo_adoption(self.by, await self.target(), self.admin, **wanted)

    @contextmanager
    def as_login(self, login: str, password: Secret) -> Iterator["psycopg.Connection[Any]"]:
        where = {"host": "127.0.0.1", "port": self.upstream.port, "dbname": self.dbname}
        with psycopg.connect(user=login, password=password.reveal(), autocommit=True, **where) as connection:
            yield connection

    @contextmanager
    def as_mode(self, target: Target, mode: AccessMode) -> Iterator["psycopg.Connection[Any]"]:
        role = target.roles[mode]
        with self.as_login(role.login, self.world.vault.open(role)) as connection:
            yield connection


def superuser(upstream: Upstream) -> AdminLogin:
    return AdminLogin(upstream.superuser, upstream.superuser_password)


@pytest.fixture
def scene(world: World, database: Database) -> Iterator[Scene]:
    made = Scene(world, database.upstream, database.name, superuser(database.upstream))
    yield made
    clean(database.upstream, database.name, made.reader, made.writer)


def clean(upstream: Upstream, dbname: str, *roles: str) -> None:
    with upstream.connect(dbname) as admin:
        for role in roles:
            if admin.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None:
                for text in ("DROP OWNED BY {}", "DROP ROLE {}"):
                    admin.execute(sql.SQL(text).format(sql.Identifier(role)))


async def test_it_makes_two_logins_that_do_what_their_mode_says_now_and_on_tables_to_come(scene: Scene) -> None:
    await scene.create()
    done = await scene.adopt()
    target = await scene.target()
    assert done.ok
    assert {mode: role.login for mode, role in target.roles.items()} == {RO: scene.reader, RW: scene.writer}
    assert done.switched == (RO, RW)
    assert {len(scene.world.vault.open(role).reveal()) for role in target.roles.values()} == {64}
    with scene.upstream.connect(scene.dbname) as admin:
        admin.execute("CREATE TABLE later (id serial PRIMARY KEY, word text)")
        kinds = admin.execute(
            "SELECT left(rolpassword, 14) FROM pg_authid WHERE rolname IN (%s, %s)", [scene.reader, scene.writer]
        ).fetchall()
    assert kinds == [("SCRAM-SHA-256$",)] * 2
    with scene.as_mode(target, RO) as reader, scene.as_mode(target, RW) as writer:
        writer.execute("INSERT INTO later (word) VALUES ('one')")
        assert reader.execute("SELECT word FROM later").fetchall() == [("one",)]
        reader.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("INSERT INTO later (word) VALUES ('two')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute("CREATE TABLE mine ()")


async def test_a_second_run_has_nothing_to_do_and_a_third_does_what_is_new(scene: Scene) -> None:
    await scene.create()
    await scene.adopt()
    before = await scene.target()
    again = await scene.adopt()
    assert (again.plan.todo, again.plan.script, again.switched, again.ok) == ((), "", (), True)
    assert (await scene.target()).roles == before.roles
    with scene.upstream.connect(scene.dbname) as admin:
        admin.execute("CREATE SCHEMA more")
        admin.execute("CREATE TABLE more.things ()")
    third = await scene.adopt()
    assert third.ok
    assert any("schema more" in line for line in third.plan.todo)
    assert third.switched == ()
    assert (await scene.adopt()).plan.todo == ()


async def test_a_look_first_changes_nothing_there_or_here(scene: Scene) -> None:
    target = await scene.create()
    revision = (await scene.world.read()).revision
    with scene.upstream.connect(scene.dbname) as admin:
        before = upstream_checksum(admin)
        plan = await adoption.preview_adoption(scene.by, target, scene.admin, Asked())
        assert upstream_checksum(admin) == before
        assert admin.execute("SELECT FROM pg_roles WHERE rolname = %s", [scene.reader]).fetchone() is None
    assert (await scene.world.read()).revision == revision
    assert "SCRAM" not in plan.script
    assert f'CREATE ROLE "{scene.reader}"' in plan.script


async def test_it_can_be_undone_to_the_last_grant_and_former_logins_come_back(scene: Scene, database: Database) -> None:
    await scene.create()
    await targets.set_login(
        scene.world.store, scene.world.vault, name=scene.name, mode=RO, login="app_ro", password=database.app_ro.password, **BY
    )
    former = (await scene.target()).roles[RO]
    with scene.upstream.connect(scene.dbname) as admin:
        before = facts(admin)
        await scene.adopt()
        assert facts(admin) != before
        admin.execute(sql.SQL("CREATE TABLE public.owned_by_it ()"))
        admin.execute(sql.SQL("ALTER TABLE public.owned_by_it OWNER TO {}").format(sql.Identifier(scene.writer)))
        done = await scene.undo()
        owner = admin.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'owned_by_it'").fetchone()
        admin.execute("DROP TABLE public.owned_by_it")
        assert facts(admin) == before
    assert done.dropped == (scene.reader, scene.writer)
    assert owner == (scene.upstream.superuser,)
    assert (await scene.target()).roles == {RO: former}
    assert await scene.world.store.target_admin((await scene.target()).id) is None
    assert (await scene.undo()).dropped == ()


def facts(admin: "psycopg.Connection[Any]") -> list[Any]:
    """Roles, and who may do what with everything in the database."""
    asked = (
        "SELECT rolname FROM pg_roles ORDER BY 1",
        "SELECT oid, relacl::text FROM pg_class ORDER BY 1",
        "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)' ORDER BY 1",
        "SELECT datacl::text FROM pg_database WHERE datname = current_database()",
        "SELECT defaclrole, defaclobjtype, defaclacl::text FROM pg_default_acl ORDER BY 1, 2",
    )
    return [[(*row[:-1], normal(row[-1])) for row in admin.execute(query).fetchall()] for query in asked]


def normal(acl: Any) -> Any:
    """An access list that holds what is there without one is the same as none (NULL)."""
    if acl is None or not isinstance(acl, str) or not acl.startswith("{"):
        return acl
    kept = [each for each in acl.strip("{}").split(",") if not each.startswith(("postgres=", '"postgres"='))]
    return ",".join(kept) or None


async def test_adopted_twice_by_other_names_the_first_logins_come_back(scene: Scene, database: Database) -> None:
    await scene.create()
    password = database.app_ro.password
    await targets.set_login(
        scene.world.store, scene.world.vault, name=scene.name, mode=RO, login="app_ro", password=password, **BY
    )
    former = (await scene.target()).roles[RO]
    other = f"{scene.name}_other"
    await scene.adopt(Asked(writer=Writing.NONE))
    await scene.adopt(Asked(reader=other, writer=Writing.NONE))
    assert (await scene.target()).roles[RO].login == other
    assert set((await scene.undo()).dropped) == {scene.reader, other}
    assert (await scene.target()).roles == {RO: former}


async def test_what_is_there_and_is_not_ours_is_left_alone(scene: Scene) -> None:
    await scene.create()
    with scene.upstream.connect(scene.dbname) as admin:
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(scene.reader)))
    with pytest.raises(ServiceError) as refused:
        await scene.adopt()
    assert refused.value.rule == "adopt-role-taken"


async def test_former_superuser_login_of_the_target_is_replaced(scene: Scene) -> None:
    """The shared credential was what sessions used."""
    await scene.create()
    for mode in (RO, RW):
        await targets.set_login(
            scene.world.store,
            scene.world.vault,
            name=scene.name,
            mode=mode,
            login=scene.admin.login,
            password=scene.admin.password,
            **BY,
        )
    done = await scene.adopt()
    assert done.ok
    assert {role.login for role in (await scene.target()).roles.values()} == {scene.reader, scene.writer}
    former = await scene.world.store.former_logins((await scene.target()).id)
    assert [each.role.login for each in former] == [scene.admin.login] * 2


async def test_without_a_writer_and_without_keeping_the_admin(scene: Scene) -> None:
    await scene.create()
    done = await scene.adopt(Asked(writer=Writing.NONE), keep=False)
    assert done.ok
    assert set((await scene.target()).roles) == {RO}
    assert await scene.world.store.target_admin((await scene.target()).id) is None
    assert (await scene.adopt(Asked(writer=Writing.NONE), keep=False)).plan.todo == ()


async def test_the_kept_admin_login_is_sealed_and_can_be_forgotten(scene: Scene) -> None:
    target = await scene.create()
    await scene.adopt()
    kept = await target_admins.admin_of(scene.world.store, target)
    assert target_admins.admin_secret(scene.world.vault, kept).reveal() == scene.admin.password.reveal()
    assert scene.admin.password.reveal().encode() not in kept.sealed_secret
    assert scene.admin.password.reveal() not in repr(kept)
    await target_admins.forget_admin(scene.world.store, name=scene.name, **BY)
    with pytest.raises(ServiceError):
        await target_admins.admin_of(scene.world.store, target)


async def test_a_rotated_admin_login_is_not_lost(scene: Scene) -> None:
    target = await scene.create()
    await scene.adopt()
    async with scene.world.store.begin() as work:
        kept = await work.target_admin(target.id)
        assert kept is not None
        work.put(replace(kept, rotated_at=work.now))
        await work.commit(AdminEvent("os:admin", "target.admin_kept", target.id, target.name, ""))
    with pytest.raises(ServiceError) as refused:
        await target_admins.forget_admin(scene.world.store, name=scene.name, **BY)
    assert refused.value.rule == "admin-rotated"
    assert "stays here" in (await scene.undo()).admin_kept
    assert await scene.world.store.target_admin(target.id) is not None


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.DONE])
def test_killed_at_any_step_the_next_run_finishes(scene: Scene, step: Step) -> None:
    asyncio.run(scene.create())
    child = os.fork()
    if child == 0:
        told = lambda reached: os._exit(9) if reached is step else None  # noqa: E731
        try:
            asyncio.run(
                adoption.adopt(replace(scene.by, told=told), asyncio.run(scene.target()), scene.admin, Asked(), keep=True)
            )
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    async def rest() -> None:
        done = await until_alone(scene)
        assert done.ok
        assert (await scene.adopt()).plan.todo == ()

    asyncio.run(rest())


async def until_alone(scene: Scene) -> Adopted:
    """The server takes a moment to notice that the killed one is gone."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await scene.adopt()
            except ServiceError as error:
                if error.rule != "adopt-under-way":
                    raise
            await asyncio.sleep(0.05)


async def test_two_at_once_do_not_cross(scene: Scene) -> None:
    await scene.create()
    found = await asyncio.gather(*(scene.adopt() for _ in range(3)), return_exceptions=True)
    done = [each for each in found if isinstance(each, Adopted)]
    assert all(each.ok for each in done)
    assert done
    assert {each.rule for each in found if isinstance(each, ServiceError)} <= {"adopt-under-way"}
    target = await scene.target()
    with scene.as_mode(target, RO), scene.as_mode(target, RW):
        pass


async def test_a_wrong_password_is_said_without_repeating_it(scene: Scene) -> None:
    await scene.create()
    with pytest.raises(ServiceError) as refused:
        await scene.adopt(admin=AdminLogin(scene.admin.login, Secret("canary-wrong-71")))
    assert refused.value.rule == "upstream-login"
    assert "canary" not in str(refused.value) + refused.value.hint + repr(refused.value.__cause__)


# -- an owner with CREATEROLE and no superuser -----------------------------------------------------------------------------


@pytest.fixture
def owned(world: World, postgres: Upstream) -> Iterator[Scene]:
    """A database of a role with CREATEROLE; in it, tables of that role, and one of somebody else's."""
    owner, other, dbname = (f"{kind}_{secrets.token_hex(4)}" for kind in ("owner", "other", "d"))
    password = Secret(secrets.token_urlsafe(18))
    names = {name: sql.Identifier(name) for name in (owner, other, dbname)}
    with postgres.connect() as admin:
        text = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}")
        admin.execute(text.format(names[owner], sql.Literal(password.reveal())))
        admin.execute(sql.SQL("CREATE ROLE {}").format(names[other]))
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(names[dbname], names[owner]))
    scene = Scene(world, postgres, dbname, AdminLogin(owner, password))
    with postgres.connect(dbname) as admin:
        admin.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}, {}").format(names[owner], names[other]))
        for role, table in ((owner, "ours"), (other, "theirs")):
            admin.execute(sql.SQL("SET ROLE {}").format(names[role]))
            admin.execute(sql.SQL("CREATE TABLE public.{} (id int)").format(sql.Identifier(table)))
            admin.execute("RESET ROLE")
    yield scene
    clean(postgres, dbname, scene.reader, scene.writer)
    with postgres.connect() as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(names[dbname]))
        for role in (owner, other):
            admin.execute(sql.SQL("DROP ROLE {}").format(names[role]))


async def test_an_owner_with_createrole_does_what_it_may_and_says_what_it_may_not(owned: Scene) -> None:
    await owned.create()
    done = await owned.adopt()
    target = await owned.target()
    assert done.ok, done.steps
    warnings = [each for each in done.plan.findings if each.severity is Severity.WARNING]
    assert any("theirs" in each.text and each.remedy.startswith("GRANT") for each in warnings)
    assert any("will create" in each.text and "ALTER DEFAULT PRIVILEGES" in each.remedy for each in warnings)
    with owned.as_mode(target, RO) as reader:
        reader.execute("SELECT FROM ours")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT FROM theirs")
    assert (await owned.adopt()).plan.todo == ()
    undone = await owned.undo()
    assert undone.dropped == (owned.reader, owned.writer)
    assert (await owned.target()).roles == {}


async def test_who_may_not_make_roles_is_told_so(owned: Scene) -> None:
    with owned.upstream.connect() as admin:
        admin.execute(sql.SQL("ALTER ROLE {} NOCREATEROLE").format(sql.Identifier(owned.admin.login)))
    await owned.create()
    with pytest.raises(ServiceError) as refused:
        await owned.adopt()
    assert refused.value.rule == "adopt-no-createrole"


# -- the URL ---------------------------------------------------------------------------------------------------------------


def test_a_url_is_taken_apart() -> None:
    url = parse_admin_url(Secret("postgres://po%40st:p%2Fw%3Ax@db.internal/web%20shop?sslmode=require&application_name=x\n"))
    assert (url.host, url.port, url.dbname, url.login, url.tls) == ("db.internal", 5432, "web shop", "po@st", TlsMode.REQUIRE)
    assert url.password.reveal() == "p/w:x"
    assert "p/w" not in repr(url)
    assert parse_admin_url(Secret("postgresql://a:b@[::1]:6000/")).dbname == "a"
    assert parse_admin_url(Secret("postgresql://a:b@h/d?sslmode=prefer")).tls is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "canary",
        "mysql://a:canary@h/d",
        "postgresql://a:canary/x@h/d",
        "postgresql://canary@h/d",
        "postgresql://a:canary@h1,h2/d",
        "postgresql://a:canary@h/d?sslmode=verify_full",
        "postgresql://a:canary@/d",
        "postgresql://a:canary@h:99999/d",
        "postgresql://a:canary@h:port/d",
        "postgresql://a:can\0ary@h/d",
        "postgresql://a:canary@h/" + "d" * 5000,
    ],
)
def test_what_is_no_url_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ServiceError) as refused:
        parse_admin_url(Secret(text))
    assert "canary" not in str(refused.value) + refused.value.hint + repr(refused.value.__cause__)


def test_a_password_is_only_tried_where_the_url_leads() -> None:
    place = Place("db.internal", 5432, "webshop")
    target = targets.sketch_target("shop", place, DEFAULT_ENVIRONMENT)
    parse_admin_url(Secret("postgresql://a:b@DB.internal/webshop")).check_leads_to(target)
    for elsewhere in ("db.internal:5433/webshop", "db2.internal/webshop", "db.internal/other"):
        with pytest.raises(ServiceError):
            parse_admin_url(Secret(f"postgresql://a:b@{elsewhere}")).check_leads_to(target)
