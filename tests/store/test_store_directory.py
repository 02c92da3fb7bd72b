"""The directory: prompt when all is well, honest when it is not, and never in the way of the loop (L11, F10)."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import sys
import time

import pytest

from gateway.store.directory import StoreDirectory
from gateway.store.errors import StoreError, VaultError

CHANGE_FROM_ANOTHER_PROCESS = (
    "import asyncio, sys, time; from gateway.store.unit_of_work import SqlStore; from gateway.services.users import *\n"
    "async def go():\n"
    "    for n in range(int(sys.argv[2])):\n"
    "        await create_user(SqlStore(sys.argv[1]), name=f'user{n}', actor='os:a', reason='')\n"
    "        print(time.time(), flush=True)\n"
    "        await asyncio.sleep(0.25)\n"
    "asyncio.run(go())"
)


@contextlib.asynccontextmanager
async def running(place, poll_seconds=0.1, stale_after_seconds=0.6):
    directory = StoreDirectory(
        place.url, poll_seconds=poll_seconds, stale_after_seconds=stale_after_seconds, key_id=place.vault.key_id
    )
    await directory.start()
    try:
        yield directory
    finally:
        await directory.close()


async def until(condition, timeout_seconds=5.0):
    async with asyncio.timeout(timeout_seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process's doing
            await asyncio.sleep(0.005)


async def test_a_change_by_another_process_arrives_within_a_poll(place):
    seen = {}
    async with running(place) as directory:
        directory.subscribe(lambda snapshot: seen.setdefault(snapshot.revision, time.time()))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHANGE_FROM_ANOTHER_PROCESS, place.url, "8", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        await until(lambda: 9 in seen)
        assert len(directory.snapshot.users) == 8
    committed = [float(line) for line in output.split()]
    delays = [seen[number + 2] - at for number, at in enumerate(committed)]
    assert max(delays) <= 0.3


async def test_a_wake_makes_it_prompt(place):
    async with running(place, poll_seconds=30) as directory:
        for number in range(5):
            await place.add_user(f"user{number}")
            asked = time.monotonic()
            directory.wake()
            await until(lambda number=number: directory.snapshot.revision == number + 2)
            assert time.monotonic() - asked < 0.2


async def test_only_a_new_revision_is_published(place):
    seen = []
    async with running(place) as directory:
        directory.subscribe(lambda snapshot: seen.append(snapshot.revision))
        with sqlite3.connect(place.file) as connection:
            connection.execute("CREATE TABLE unrelated (x)")
        await asyncio.sleep(0.3)
        assert seen == []
        await place.add_user("alice")
        await until(lambda: seen)
    assert seen == [2]


async def test_a_failing_subscriber_stops_nobody(place):
    seen = []

    def fail(_snapshot):
        raise RuntimeError("a bug elsewhere")

    async with running(place) as directory:
        directory.subscribe(fail)
        directory.subscribe(lambda snapshot: seen.append(snapshot.revision))
        for name in ("alice", "bob"):
            await place.add_user(name)
            await until(lambda name=name: name in directory.snapshot.users)
    assert seen == [2, 3]


LOCK_EVERYBODY_OUT = (
    "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)\n"
    "print(flush=True); sys.stdin.read()"
)
"""SQLite's own lock bytes in the shared-memory file, all of them: what every reader must take is held by somebody else."""


async def test_a_locked_store_goes_stale_without_touching_the_loop_and_recovers(place):
    await place.add_user("alice")
    async with running(place) as directory:
        blocker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", LOCK_EVERYBODY_OUT, f"{place.file}-shm",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await blocker.stdout.readline()
        longest = 0.0
        async with asyncio.timeout(10):
            while directory.fresh:
                before = time.monotonic()
                await asyncio.sleep(0.001)
                longest = max(longest, time.monotonic() - before)
        assert longest < 0.5  # the driver's thread waits some ten seconds for that lock
        assert set(directory.snapshot.users) == {"alice"}
        blocker.kill()
        await blocker.wait()
        await until(lambda: directory.fresh, 15)
        await place.add_user("bob")
        await until(lambda: "bob" in directory.snapshot.users)


async def test_a_store_that_is_gone_goes_stale_and_is_not_made_anew(place):
    await place.add_user("alice")
    async with running(place) as directory:
        away = place.folder / "away"
        place.file.rename(away)
        await until(lambda: not directory.fresh)
        assert not place.file.exists()
        away.rename(place.file)
        await until(lambda: directory.fresh)
        assert set(directory.snapshot.users) == {"alice"}


async def test_a_restored_backup_is_noticed_even_with_the_same_revision(place):
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


async def test_a_corrupt_store_goes_stale_and_keeps_the_last_word(place):
    await place.add_user("alice")
    async with running(place) as directory:
        good = place.folder / "good"
        shutil.copy(place.file, good)
        junk = place.folder / "junk"
        junk.write_bytes(os.urandom(65536))
        junk.rename(place.file)
        await until(lambda: not directory.fresh)
        assert set(directory.snapshot.users) == {"alice"}
        assert directory.stale_for_seconds > 0.6


async def test_rows_that_make_no_sense_go_stale(place):
    async with running(place) as directory:
        with sqlite3.connect(place.file) as connection:
            connection.execute(
                "INSERT INTO allowlist_entries (id, network, label) VALUES ('x', '10.0.0.1/8', '')",
            )
            connection.execute("UPDATE meta SET revision = revision + 1")
        await until(lambda: not directory.fresh)
        assert directory.snapshot.global_entries == ()


async def test_it_does_not_start_on_another_key_or_without_a_store(place, tmp_path):
    other = StoreDirectory(place.url, poll_seconds=0.1, stale_after_seconds=1, key_id="0123456789abcdef")
    with pytest.raises(VaultError, match=place.vault.key_id):
        await other.start()
    await other.close()
    missing = StoreDirectory(f"sqlite+aiosqlite:///{tmp_path}/nothing", poll_seconds=0.1, stale_after_seconds=1)
    with pytest.raises(StoreError):
        await missing.start()
    await missing.close()
    assert not (tmp_path / "nothing").exists()


async def test_the_directory_cannot_write(place):
    async with running(place) as directory:
        with pytest.raises(Exception, match="readonly"):
            await directory._link.connection.exec_driver_sql("DELETE FROM meta")
