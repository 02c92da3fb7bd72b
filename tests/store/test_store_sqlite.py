"""What is SQLite's own: files, locks, disks. Whatever happens to the file, the loop turns, and nobody new is let in (F10)."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.store.directory import StoreDirectory
from gateway.store.errors import StoreError, StoreUnavailableError
from gateway.store.migrate import upgrade
from tests.store.directories import Lag, running, until
from tests.store.test_store_unit_of_work import EVENT, put
from tests.store.writers import user
from tests.support.snapshots import SALES

LOCK_EVERYBODY_OUT = (
    "import fcntl, sys; file = open(sys.argv[1] + '-shm', 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)\n"
    "print(flush=True); sys.stdin.read()"
)
"""SQLite's own lock bytes in the shared-memory file, all of them: what every reader must take is held by somebody else."""

BEGIN_EXCLUSIVE = (
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5); db.execute('BEGIN EXCLUSIVE')\n"
    "print(flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize("program", [LOCK_EVERYBODY_OUT, BEGIN_EXCLUSIVE], ids=["readers", "begin"])
async def test_a_locked_store_goes_stale_in_time_and_recovers(sqlite_place, program):
    place = sqlite_place
    await place.add_user("alice")
    async with running(place, stale_after_seconds=1.5) as directory:
        blocker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(place.file),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await blocker.stdout.readline()
        began = time.monotonic()
        async with Lag() as lag:
            await until(lambda: not directory.fresh)
            print(f"noticed after {time.monotonic() - began:.2f} s")
            assert time.monotonic() - began < 1.9
            await asyncio.sleep(2)
            assert not directory.fresh
        print(f"longest lag {lag.longest_seconds * 1000:.0f} ms")
        assert lag.longest_seconds < 0.25  # 0.05 on an idle machine
        assert set(directory.snapshot.users) == {"alice"}
        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(place.add_user("bob"), 15)
        blocker.kill()
        await blocker.wait()
        await until(lambda: directory.fresh, 15)
        await place.add_user("bob")
        await until(lambda: "bob" in directory.snapshot.users)


async def test_nobody_takes_the_file_for_himself_while_a_gateway_looks(sqlite_place):
    async with running(sqlite_place) as directory:
        other = sqlite3.connect(sqlite_place.file, isolation_level=None, timeout=0.2)
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN EXCLUSIVE")
        other.close()
        await sqlite_place.add_user("alice")
        await until(lambda: "alice" in directory.snapshot.users)
        assert directory.fresh


async def test_a_store_that_is_gone_goes_stale_and_is_not_made_anew(sqlite_place):
    place = sqlite_place
    await place.add_user("alice")
    async with running(place) as directory:
        away = place.folder / "away"
        place.file.rename(away)
        await until(lambda: not directory.fresh)
        assert not place.file.exists()
        away.rename(place.file)
        await until(lambda: directory.fresh)
        assert set(directory.snapshot.users) == {"alice"}


async def test_a_restored_backup_is_noticed_even_with_the_same_revision(sqlite_place):
    place = sqlite_place
    await place.add_user("alice")
    backup = place.folder / "backup"
    with sqlite3.connect(place.file) as source, sqlite3.connect(backup) as target:
        source.backup(target)
        target.execute("UPDATE users SET name = 'restored'")
    target.close()
    source.close()
    async with running(place) as directory:
        for suffix in ("-wal", "-shm"):
            place.file.with_name(place.file.name + suffix).unlink(missing_ok=True)
        backup.rename(place.file)
        await until(lambda: "restored" in directory.snapshot.users)


async def test_a_corrupt_store_goes_stale_and_keeps_the_last_word(sqlite_place):
    place = sqlite_place
    await place.add_user("alice")
    async with running(place) as directory:
        junk = place.folder / "junk"
        junk.write_bytes(os.urandom(65536))
        junk.rename(place.file)
        await until(lambda: not directory.fresh)
        assert set(directory.snapshot.users) == {"alice"}
        assert directory.stale_for_seconds > 0.6


async def test_a_store_that_is_overwritten_in_place_goes_stale_and_recovers(sqlite_place):
    place = sqlite_place
    await place.add_user("alice")
    place.run("PRAGMA wal_checkpoint(TRUNCATE)")
    good = place.file.read_bytes()
    async with running(place) as directory:
        with place.file.open("r+b") as file:
            file.write(os.urandom(len(good)))
        await until(lambda: not directory.fresh)
        assert set(directory.snapshot.users) == {"alice"}
        with place.file.open("r+b") as file:
            file.write(good)
        await until(lambda: directory.fresh)
        await place.add_user("bob")
        await until(lambda: "bob" in directory.snapshot.users)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A folder on a disk of its own, of two megabytes; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("cannot mount here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(filler: Path) -> None:
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


async def test_a_full_disk_lets_nobody_in_and_loses_nothing(sqlite_place, small_disk):
    place = move(sqlite_place, small_disk)
    await place.add_user("alice")
    filler = small_disk / "filler"
    async with running(place) as directory:
        fill_up(filler)
        await until(lambda: not directory.fresh)
        with pytest.raises(StoreUnavailableError, match="full"):
            await put(place.store, *(user(f"user{number}") for number in range(2000)))
        filler.unlink()
        await until(lambda: directory.fresh)
        snapshot = await place.store.read()
        assert (set(snapshot.users), snapshot.revision) == ({"alice"}, 2)
        assert len(await place.store.read_events()) == 1
        await place.add_user("bob")
        await until(lambda: "bob" in directory.snapshot.users)


@contextlib.contextmanager
def read_only(place):
    """New opens find a read-only place; what is open stays so, as on a disk whose errors made it read-only."""
    if os.geteuid() != 0:
        place.file.chmod(0o400)
        yield
        place.file.chmod(0o600)
        return
    folder = str(place.folder)
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode != 0:
        pytest.skip("cannot mount here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


async def test_a_read_only_store_lets_nobody_in(sqlite_place):
    place = sqlite_place
    await place.add_user("alice")
    async with running(place) as directory:
        with read_only(place):
            await until(lambda: not directory.fresh)
            with pytest.raises(StoreUnavailableError):
                await place.add_user("bob")
        await until(lambda: directory.fresh)
        await place.add_user("bob")
        await until(lambda: "bob" in directory.snapshot.users)


def move(place, folder: Path):
    for path in place.folder.iterdir():
        shutil.move(path, folder)
    return replace(place, folder=folder, url=f"sqlite+aiosqlite:///{folder}/store.sqlite3")


async def test_a_store_that_is_not_there_is_not_made_by_looking(tmp_path):
    missing = StoreDirectory(f"sqlite+aiosqlite:///{tmp_path}/nothing", poll_seconds=0.1, stale_after_seconds=1)
    with pytest.raises(StoreError):
        await missing.start()
    await missing.close()
    assert not (tmp_path / "nothing").exists()


async def test_the_directory_cannot_write(sqlite_place):
    async with running(sqlite_place) as directory:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await directory._feed._link.driver.execute("DELETE FROM meta")


async def test_the_file_is_private_durable_and_in_wal_mode(sqlite_place):
    place = sqlite_place
    assert stat.S_IMODE(place.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    assert place.run("PRAGMA journal_mode") == [("wal",)]
    async with place.store.begin() as work:
        row = await work._connection.exec_driver_sql("PRAGMA synchronous")
        assert row.scalar() == 2
        row = await work._connection.exec_driver_sql("PRAGMA foreign_keys")
        assert row.scalar() == 1
        assert stat.S_IMODE((place.folder / "store.sqlite3-wal").stat().st_mode) == 0o600


async def test_a_secret_is_not_in_the_files(sqlite_place):
    place = sqlite_place
    secret = Secret("upstream-canary-92b1")
    role = replace(SALES.roles[AccessMode.READ_ONLY], sealed_secret=place.vault.seal("r-ro", secret))
    async with place.store.begin() as work:
        work.put(replace(SALES, roles={AccessMode.READ_ONLY: role}))
        await work.commit(EVENT)
        wal = (place.folder / "store.sqlite3-wal").read_bytes()
    assert role.sealed_secret in wal
    files = [path.read_bytes() for path in place.folder.iterdir()]
    assert not any(secret.reveal().encode() in content for content in [wal, *files])
    opened = (await place.store.read()).targets["sales"].roles[AccessMode.READ_ONLY]
    assert place.vault.open(opened).reveal() == secret.reveal()


async def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be created"):
        await upgrade(f"sqlite+aiosqlite:///{tmp_path}/file/store.sqlite3")


async def test_something_else_in_its_place_is_said(tmp_path):
    (tmp_path / "store.sqlite3").write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        await asyncio.wait_for(upgrade(f"sqlite+aiosqlite:///{tmp_path}/store.sqlite3"), 10)


async def test_busy_writers_make_nobody_wait_outside(sqlite_place):
    """Each change holds the lock for half of a second, one after the other: the store takes changes all the time."""
    place = sqlite_place
    stale = []
    async with running(place, stale_after_seconds=1.5) as directory:
        asked = asyncio.create_task(note_staleness(directory, stale))
        for number in range(10):
            async with place.store.begin() as work:
                work.put(user(f"user{number}"))
                await asyncio.sleep(0.4)
                await work.commit(EVENT)
        asked.cancel()
    assert not stale


async def note_staleness(directory, stale):
    while True:
        if not directory.fresh:
            stale.append(directory.stale_for_seconds)
        await asyncio.sleep(0.01)
