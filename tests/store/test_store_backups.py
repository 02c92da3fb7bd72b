"""Backup, restore and moving: everything arrives, in either direction, or nothing does."""

import os
import shutil
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.audit.admin_event import AdminEvent
from gateway.ports import IdempotencyClaim, Lockdown
from gateway.secret import Secret
from gateway.settings import Settings, Store
from gateway.store.backups import backup, copy_store, migrate_to, restore
from gateway.store.errors import StoreError, StoreUnavailableError, VaultError
from gateway.store.migrate import HEAD, upgrade
from gateway.store.places import SqlitePlace, locate
from gateway.store.sql_store import SqlStore
from gateway.store.vault import SealedVault
from tests.store.conftest import StoreHere, database_on, made_vault
from tests.store.test_store_unit_of_work import EVENT, FULL, put
from tests.store.writers import user
from tests.support.snapshots import SALES

SECRET = "upstream-canary-92b1"


async def fill(place: StoreHere) -> None:
    await put(place.store, *FULL)
    async with place.store.begin() as work:
        roles = {
            mode: replace(role, sealed_secret=place.vault.seal(role.id, Secret(SECRET))) for mode, role in SALES.roles.items()
        }
        work.put(replace(SALES, roles=roles, name="sälés ✓"))
        for number in range(1200):
            work.put(user(f"user{number}"))
        work.claim(IdempotencyClaim("key", "request"))
        await work.commit(EVENT, AdminEvent("os:zoë", "x.y", "id", "näme", "tab\tand 'quotes'"))


def settings_of(place: StoreHere) -> Settings:
    return Settings(state_dir=place.folder, store=Store(url=place.url, password_file=place.password_file))


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest, tmp_path: Path):
    """An empty place of each kind, with the master key of `place` beside it."""
    folder = tmp_path / "other"
    vault = made_vault(folder)
    if request.param == "sqlite":
        yield StoreHere(folder, f"sqlite+aiosqlite:///{folder}/store.sqlite3", None, vault, None)
    else:
        server = request.getfixturevalue("postgres")
        with database_on(server, folder) as (url, password_file):
            yield StoreHere(folder, url, password_file, vault, server)


def give_key(place: StoreHere, other: StoreHere) -> None:
    shutil.copy(place.folder / "master.key", other.folder / "master.key")


async def content(store: SqlStore):
    return sorted_rows(await store.read()), await store.read_events(), await store.find_claim("key")


def sorted_rows(snapshot):
    return replace(
        snapshot,
        grants={holder: sorted(grants, key=lambda grant: grant.id) for holder, grants in snapshot.grants.items()},
    )


async def test_moving_takes_everything_along(place, other):
    await fill(place)
    steps = []
    report = await migrate_to(
        settings_of(place), other.url, other.password_file, progress=lambda done, total: steps.append((done, total))
    )
    assert await content(other.store) == await content(place.store)
    assert steps[-1] == (sum(report.rows.values()), steps[-1][1])
    assert steps[-1][0] == steps[-1][1]
    assert report.rows["users"] == 1201
    assert (report.revision, report.key_id) == (3, place.vault.key_id)
    assert (await copy_store(other.where, SqlitePlace(other.folder / "again"))).digest == report.digest
    assert await put(other.store, user("next")) == 4  # it goes on there
    with pytest.raises(StoreError, match="there is a store in"):
        await migrate_to(settings_of(place), other.url, other.password_file)


async def test_a_backup_comes_back_over_what_was_there(place, other):
    await fill(place)
    before = await content(place.store)
    file = place.folder / "backup.sqlite3"
    await backup(settings_of(place), file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in place.folder.iterdir() if "backup" in path.name] == ["backup.sqlite3"]
    assert SECRET.encode() not in file.read_bytes()
    with pytest.raises(StoreError, match="already"):
        await backup(settings_of(place), file)

    give_key(place, other)
    await upgrade(other.where)
    for number in range(5):
        await put(other.store, user(f"goes{number}"))
    with pytest.raises(StoreError, match="there is a store in"):
        await restore(file, settings_of(other))
    await restore(file, settings_of(other), replace=True)
    snapshot, events, claim = await content(other.store)
    assert (replace(snapshot, revision=before[0].revision), events, claim) == before
    assert snapshot.revision == 7  # one more than what it replaced: whoever watched that must see a change
    opened = SealedVault.load(other.folder / "master.key").open(next(iter(snapshot.targets["sälés ✓"].roles.values())))
    assert opened.reveal() == SECRET


async def test_a_backup_of_another_key_is_refused(place, other):
    await fill(place)
    file = place.folder / "backup.sqlite3"
    await backup(place.where, file)
    with pytest.raises(VaultError, match=f"{place.vault.key_id}.*{other.vault.key_id}"):
        await restore(file, settings_of(other), replace=True)
    (other.folder / "master.key").unlink()
    with pytest.raises(VaultError, match="master key"):
        await restore(file, settings_of(other))


async def test_a_backup_of_an_older_schema_is_brought_up_to_date(other, tmp_path):
    file = tmp_path / "old.sqlite3"
    await old_store(file)
    other_settings = SimpleNamespace(store_url=other.url, store=Store(password_file=other.password_file))
    other_settings.key_file = other.folder / "master.key"
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE meta SET key_id = ?", (other.vault.key_id,))
    await restore(file, other_settings)
    assert other.run("SELECT version_num FROM alembic_version") == [(HEAD,)]
    snapshot = await other.store.read()
    assert set(snapshot.users) == {"alice"}
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]


async def old_store(file: Path) -> None:
    from gateway.store.access import Access
    from gateway.store.engine import open_engine
    from gateway.store.migrate import migrate
    from gateway.store.sqlite import create_file

    create_file(file)
    async with open_engine(SqlitePlace(file), Access.WRITE).begin() as connection:
        await migrate(connection, "0001")
        await connection.exec_driver_sql("INSERT INTO users VALUES ('u', 'alice', 'verifier', 1, NULL, 'inherit', 1)")


async def test_a_backup_that_is_none_leaves_everything_as_it_was(place, tmp_path):
    await put(place.store, user("alice"))
    junk = tmp_path / "junk"
    junk.write_bytes(os.urandom(8192))
    empty = tmp_path / "empty"
    empty.touch()
    torn = tmp_path / "torn"
    await backup(place.where, tmp_path / "good")
    torn.write_bytes((tmp_path / "good").read_bytes()[:-20000])
    for file in (junk, empty, torn, tmp_path / "missing"):
        with pytest.raises(StoreUnavailableError):
            await restore(file, settings_of(place), replace=True)
        assert set((await place.store.read()).users) == {"alice"}
    assert not [path for path in place.folder.iterdir() if path.name.startswith(".")]


async def test_a_broken_store_can_be_replaced(sqlite_place, tmp_path):
    await put(sqlite_place.store, user("alice"))
    await backup(sqlite_place.where, tmp_path / "good")
    sqlite_place.file.write_bytes(os.urandom(65536))
    with pytest.raises(StoreUnavailableError):
        await restore(tmp_path / "good", settings_of(sqlite_place))
    await restore(tmp_path / "good", settings_of(sqlite_place), replace=True)
    assert set((await sqlite_place.store.read()).users) == {"alice"}
    with sqlite3.connect(sqlite_place.file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_file_of_another_program_is_not_replaced_unasked(place, tmp_path):
    with sqlite3.connect(tmp_path / "theirs") as connection:
        connection.execute("CREATE TABLE photos (x)")
    with pytest.raises(StoreError, match="already"):
        await copy_store(place.where, SqlitePlace(tmp_path / "theirs"))


async def test_a_store_is_not_copied_onto_itself(place):
    with pytest.raises(StoreError, match="already"):
        await copy_store(place.where, locate(place.url, place.password_file), replace=True)


async def test_a_running_change_is_not_half_in_the_backup(place, tmp_path):
    async with place.store.begin() as work:
        work.put(user("alice"))
        work.put(Lockdown("breach"))
        report = await backup(place.where, tmp_path / "before")
        await work.commit(EVENT)
    assert report.rows["users"] == 0
    assert (await backup(place.where, tmp_path / "after")).rows["users"] == 1
