"""Migrations make exactly the schema that the code expects, once, whoever comes first."""

import asyncio
import contextlib
import subprocess
import sys
import traceback
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import gateway.store
from gateway.access.model import DatabaseRole, Grant, Group, ListMode, User
from gateway.access_mode import AccessMode, GrantOption
from gateway.audit.admin_event import AdminEvent
from gateway.store.access import Access
from gateway.store.engine import open_engine
from gateway.store.errors import StoreError, VaultError
from gateway.store.key_ring import KeyRing, MasterKey
from gateway.store.migrate import HEAD, bind_key, migrate, upgrade
from gateway.store.places import SqlitePlace, locate
from gateway.store.sql_store import SqlStore
from gateway.store.sqlite import create_file
from gateway.store.tables import metadata
from gateway.store.vault import SealedVault
from tests.store.conftest import database_on


async def test_the_migrations_make_what_the_tables_say(place):
    async with open_engine(place.where, Access.READ).connect() as connection:
        assert await connection.run_sync(differences) == []


def differences(connection):
    return compare_metadata(MigrationContext.configure(connection), metadata)


def test_the_known_head_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", f"{gateway.store.__path__[0]}/migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_again_changes_nothing(place):
    await place.add_user("alice")
    before = await place.store.read()
    await upgrade(place.where)
    assert await place.store.read() == before


PREPARE = (
    "import asyncio, sys; from pathlib import Path\n"
    "from gateway.store.migrate import upgrade; from gateway.store.places import locate\n"
    "asyncio.run(upgrade(locate(sys.argv[1], Path(sys.argv[2]))))"
)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_several_processes_at_once_make_one_store(kind, tmp_path, request):
    with contextlib.ExitStack() as stack:
        url, password_file = f"sqlite+aiosqlite:///{tmp_path}/state/store.sqlite3", tmp_path
        if kind == "postgresql":
            url, password_file = stack.enter_context(database_on(request.getfixturevalue("postgres"), tmp_path))
        command = [sys.executable, "-c", PREPARE, url, str(password_file)]
        started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
        assert [(process.communicate()[1], process.returncode) for process in started] == [(b"", 0)] * 4
        assert asyncio.run(SqlStore(locate(url, password_file)).read()).revision == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_the_second_schema_keeps_what_the_first_one_held(kind, tmp_path, request):
    with contextlib.ExitStack() as stack:
        place = SqlitePlace(tmp_path / "store.sqlite3")
        if kind == "postgresql":
            place = locate(*stack.enter_context(database_on(request.getfixturevalue("postgres"), tmp_path)))
        else:
            create_file(place.path)
        async with open_engine(place, Access.WRITE).begin() as connection:
            await migrate(connection, "0001")
            for statement in FIRST_SCHEMA:
                sealed = "X'007365616c6564'" if kind == "sqlite" else "'\\x007365616c6564'"
                await connection.exec_driver_sql(statement.replace("{sealed}", sealed))
        await upgrade(place)
        store = SqlStore(place)
        snapshot = await store.read()
        assert snapshot.revision == 9
        assert snapshot.users["alice"] == User("u", "alice", "verifier", True, None, ListMode.INHERIT, 3, version=9)
        target = snapshot.targets["sales"]
        assert (target.port, target.revision, target.max_sessions, target.open_ahead, target.version) == (5432, 4, None, 0, 9)
        assert target.roles == {AccessMode.READ_ONLY: DatabaseRole("r", "app_ro", b"\x00sealed")}
        assert snapshot.grants == {"u": (Grant("g", "u", "t", AccessMode.READ_ONLY, None, version=9),)}
        assert [(entry.id, entry.version) for entry in snapshot.user_entries["u"]] == [("e", 9)]
        assert snapshot.terminated == {"s-1": "off hours"}
        assert (snapshot.groups, snapshot.tokens, snapshot.lockdown) == ({}, {}, None)
        events = await store.read_events()
        assert [(each.sequence, each.revision, each.event.object_name) for each in events] == [(1, 7, "a"), (2, 9, "b")]
        async with store.begin() as work:
            work.put(Group("gr", "analysts", frozenset({"u"})))
            work.put(Grant("g-2", "gr", "t", AccessMode.READ_ONLY, None))
            await work.commit(AdminEvent("os:test", "x.y", "id", "c", ""))
        async with store.begin() as work:
            work.remove(snapshot.users["alice"])
            await work.commit(AdminEvent("os:test", "x.y", "id", "d", ""))
        after = await store.read()
        assert set(after.grants) == {"gr"}
        assert after.groups["analysts"].members == frozenset()
        assert [each.sequence for each in await store.read_events()] == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_grants_of_the_second_schema_carry_nothing_and_can_be_given_something(kind, tmp_path, request):
    with contextlib.ExitStack() as stack:
        place = SqlitePlace(tmp_path / "store.sqlite3")
        if kind == "postgresql":
            place = locate(*stack.enter_context(database_on(request.getfixturevalue("postgres"), tmp_path)))
        else:
            create_file(place.path)
        async with open_engine(place, Access.WRITE).begin() as connection:
            await migrate(connection, "0002")
            for statement in SECOND_SCHEMA:
                await connection.exec_driver_sql(statement)
        await upgrade(place)
        store = SqlStore(place)
        reading = Grant("g", "u", "t", AccessMode.READ_ONLY, None, version=7)
        assert (await store.read()).grants == {"u": (reading,)}
        writing = Grant("g-2", "u", "t", AccessMode.READ_WRITE, None, options=OPTIONS, max_changed_rows=1000)
        async with store.begin() as work:
            work.put(replace(reading, options=frozenset({GrantOption.TEMPORARY_TABLES})))
            work.put(writing)
            await work.commit(AdminEvent("os:test", "x.y", "id", "c", ""))
        held = {grant.id: grant for grant in (await store.read()).grants["u"]}
        assert held["g"].options == {GrantOption.TEMPORARY_TABLES}
        assert held["g-2"] == replace(writing, version=held["g"].version)


OPTIONS = frozenset({GrantOption.NO_DDL, GrantOption.UNFILTERED_WRITES})
SECOND_SCHEMA = (
    "UPDATE meta SET revision = 9, key_id = 'k'",
    "INSERT INTO users VALUES ('u', 'alice', 'verifier', 1, NULL, 'inherit', 3, 9)",
    "INSERT INTO targets (id, name, host, port, dbname, tls, allow_md5, enabled, allowlist, allowed_functions, allowed_schemas, "
    "allowed_settings, revision) VALUES ('t', 'sales', 'db', 5432, 'prod', 'verify-full', 0, 1, 'inherit', '[]', '[]', '[]', 4)",
    "INSERT INTO grants VALUES ('g', 'u', NULL, 't', 'read_only', NULL, 7)",
)
AT = "2026-01-01T00:00:00.000000+00:00"
FIRST_SCHEMA = (
    "UPDATE meta SET revision = 9, key_id = 'k'",
    "INSERT INTO users VALUES ('u', 'alice', 'verifier', 1, NULL, 'inherit', 3)",
    "INSERT INTO targets VALUES ('t', 'sales', 'db', 5432, 'prod', 'verify-full', NULL, 0, 1, 'inherit', '[]', '[]', '[]', 4)",
    "INSERT INTO target_roles VALUES ('r', 't', 'read_only', 'app_ro', {sealed})",
    "INSERT INTO grants VALUES ('g', 'u', 't', 'read_only', NULL)",
    "INSERT INTO allowlist_entries VALUES ('e', '10.0.0.0/8', '', NULL, NULL, 'u')",
    f"INSERT INTO session_terminations VALUES ('s-1', 'off hours', '{AT}')",
    f"INSERT INTO audit_events VALUES (7, 'e-7', '{AT}', 'os:a', 'user.created', 'u', 'a', '', '{{}}')",
    f"INSERT INTO audit_events VALUES (9, 'e-9', '{AT}', 'os:a', 'user.created', 'u', 'b', '', '{{}}')",
)


async def test_a_newer_store_is_left_alone(place):
    place.run("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer pgbastion"):
        await upgrade(place.where)


async def test_a_store_keeps_to_its_key(place):
    await bind_key(place.where, place.vault)
    with pytest.raises(VaultError, match=f"{place.vault.key_id}.*0123456789abcdef"):
        await bind_key(place.where, SealedVault(KeyRing(MasterKey(bytes.fromhex("0123456789abcdef"), b"k" * 32))))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://someone:pass-canary@host/db",
        "postgresql://someone@host/db?password=pass-canary",
        "postgresql://someone@host/db?sslmode=pass-canary",
        "postgresql://someone@host/db?sslmode=prefer",
        "postgresql://someone@host/db?pass-canary=1",
        "postgresql://someone@host:pass-canary/db",
        "postgresql://host/db",
        "postgresql://someone@host",
        "postgresql://someone@/db",
        "postgresql+psycopg://someone@host/db",
        "mysql://someone:pass-canary@host/db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "pass-canary",
        "",
    ],
)
async def test_other_urls_are_refused_without_repeating_them(url):
    with pytest.raises(StoreError) as caught:
        await upgrade(url)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
