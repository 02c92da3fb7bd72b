"""Migrations make exactly the schema that the code expects, once, whoever comes first."""

import asyncio
import sqlite3
import stat
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

import gateway.store
from gateway.store.errors import StoreError, VaultError
from gateway.store.migrate import HEAD, bind_key, upgrade
from gateway.store.tables import metadata


async def test_the_migrations_make_what_the_tables_say(place):
    engine = create_engine(f"sqlite:///{place.file}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_the_known_head_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", f"{gateway.store.__path__[0]}/migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_the_file_is_private_durable_and_in_wal_mode(place):
    assert stat.S_IMODE(place.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    with sqlite3.connect(place.file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    async with place.store.begin() as work:
        row = await work._connection.exec_driver_sql("PRAGMA synchronous")
        assert row.scalar() == 2
        row = await work._connection.exec_driver_sql("PRAGMA foreign_keys")
        assert row.scalar() == 1
        assert stat.S_IMODE((place.folder / "store.sqlite3-wal").stat().st_mode) == 0o600


async def test_again_changes_nothing(place):
    await place.add_user("alice")
    before = await place.store.read()
    await upgrade(place.url)
    assert await place.store.read() == before


def test_several_processes_at_once_make_one_store(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path}/state/store.sqlite3"
    program = "import asyncio, sys; from gateway.store.migrate import upgrade; asyncio.run(upgrade(sys.argv[1]))"
    started = [subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE) for _ in range(4)]
    assert [(process.communicate()[1], process.returncode) for process in started] == [(b"", 0)] * 4
    with sqlite3.connect(tmp_path / "state/store.sqlite3") as connection:
        assert connection.execute("SELECT revision, key_id FROM meta").fetchall() == [(1, None)]


async def test_a_newer_store_is_left_alone(place):
    with sqlite3.connect(place.file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer pgbastion"):
        await upgrade(place.url)


async def test_a_store_keeps_to_its_key(place):
    await bind_key(place.url, place.vault.key_id)
    with pytest.raises(VaultError, match=f"{place.vault.key_id}.*0123456789abcdef"):
        await bind_key(place.url, "0123456789abcdef")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://someone:pass-canary@host/db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "pass-canary",
        "",
    ],
)
async def test_other_urls_are_refused_without_repeating_them(url):
    with pytest.raises(StoreError) as caught:
        await upgrade(url)
    assert "canary" not in str(caught.value)


async def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be created"):
        await upgrade(f"sqlite+aiosqlite:///{tmp_path}/file/store.sqlite3")


async def test_something_else_in_its_place_is_said(tmp_path):
    (tmp_path / "store.sqlite3").write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        await asyncio.wait_for(upgrade(f"sqlite+aiosqlite:///{tmp_path}/store.sqlite3"), 10)
