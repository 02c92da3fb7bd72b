"""The master key is replaced while everything goes on: all that is sealed opens at every moment, and after a kill at any point."""

import asyncio
import contextlib
import itertools
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary, select

from gateway.access.accounts import Account
from gateway.access.model import DatabaseRole
from gateway.access.secret_reference import SecretReference
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.ports import SealedUse, TargetAdmin
from gateway.secret import Secret
from gateway.store import tables
from gateway.store.access import Access
from gateway.store.backups import backup, restore
from gateway.store.engine import connected, open_engine
from gateway.store.errors import VaultError
from gateway.store.key_ring import read_ring, replace_ring
from gateway.store.key_rotation import KeyRotation, Signature, rotate_key, stage_key
from gateway.store.keys_wanted import count_by_key
from gateway.store.migrate import bind_key
from gateway.store.provider_checks import ProviderCheck
from gateway.store.sealed_columns import SEALED_COLUMNS
from gateway.store.vault import SealedVault, key_of
from tests.store.conftest import StoreHere
from tests.store.directories import running, until
from tests.store.test_store_backups import settings_of
from tests.store.test_store_unit_of_work import FULL, put
from tests.support.snapshots import SALES

SECRET = "upstream-canary-4c0e"
BY = Signature("os:test", "yearly")
NOBODY = lambda _step: lambda _done, _total: None  # noqa: E731
TARGETS = 120  # two roles each: several batches


def key_path(place: StoreHere) -> Path:
    return place.folder / "master.key"


async def fill(place: StoreHere, targets: int = TARGETS) -> None:
    """Something in every sealed column."""
    await put(place.store, *FULL)
    vault, now = SealedVault.load(key_path(place)), datetime.now(UTC)
    async with place.store.begin() as work:
        ana = next(iter(work.snapshot.users.values()))
        for number in range(targets):
            roles = {
                mode: DatabaseRole(f"r{number}{mode}", "app", vault.seal(f"r{number}{mode}", Secret(SECRET)))
                for mode in AccessMode
            }
            work.put(replace(SALES, id=f"t{number}", name=f"t{number}", roles=roles))
        pending = vault.seal("p", Secret(SECRET))
        both = DatabaseRole("p", "app", vault.seal("p", Secret(SECRET)), pending)
        elsewhere = DatabaseRole("e", "app", b"", None, SecretReference.parse("env:UPSTREAM_SECRET_X"))
        work.put(replace(SALES, roles={AccessMode.READ_ONLY: both, AccessMode.READ_WRITE: elsewhere}))
        sealed = vault.seal_for(SealedUse.TARGET_ADMIN, SALES.id, Secret(SECRET))
        work.put(TargetAdmin(SALES.id, "postgres", sealed, now, sealed))
        work.put(Account(ana.id, sealed_secret=vault.seal_for(SealedUse.AUTHENTICATOR, ana.id, Secret(SECRET))))
        await work.commit(AdminEvent("os:test", "x.y", "id", "name", ""))
    token = vault.seal_for(SealedUse.REFRESH_TOKEN, ana.id, Secret(SECRET))
    await place.store.put_provider_check(ProviderCheck(ana.id, token, now), now)


async def in_use(place: StoreHere) -> dict[str, int]:
    async with connected(open_engine(place.where, Access.READ), place.where) as connection:
        sums: dict[str, int] = {}
        for (_, key), rows in (await count_by_key(connection)).items():
            sums[key] = sums.get(key, 0) + rows
        return sums


async def all_open(place: StoreHere) -> int:
    """Each value in each sealed column, with the file as it is now."""
    vault, opened = SealedVault.load(key_path(place)), 0
    await bind_key(place.where, vault)
    async with connected(open_engine(place.where, Access.READ), place.where) as connection:
        for each in SEALED_COLUMNS:
            for bound_to, sealed in await connection.execute(select(each.bound_to, each.column)):
                if sealed:
                    assert vault.reopen(each.use, bound_to, sealed).reveal() == SECRET
                    opened += 1
    return opened


async def rotate(place: StoreHere, *, keep_old: bool = False, **more) -> KeyRotation:
    more = {"watch": NOBODY, "waits_for_others": False, **more}
    return await rotate_key(settings_of(place), BY, keep_old=keep_old, **more)


def test_no_sealed_column_is_forgotten():
    named = {(each.table.name, each.column.name) for each in SEALED_COLUMNS}
    words = ("sealed", "pending_secret", "former_secret")
    there = {
        (table.name, column.name)
        for table in tables.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and any(word in column.name for word in words)
    }
    assert there == named
    binary = {
        column.name for t in tables.metadata.tables.values() for column in t.columns if isinstance(column.type, LargeBinary)
    }
    assert binary - {name for _, name in named} <= {"token_hash"}, "is this one sealed?"
    assert len({each.kind for each in SEALED_COLUMNS}) == len(SEALED_COLUMNS)


async def test_everything_is_sealed_with_the_new_key_and_the_old_one_goes(place):
    await fill(place)
    before, derived = SealedVault.load(key_path(place)), SealedVault.load(key_path(place)).derive("mock-scram")
    seen: list[tuple[str, int, int]] = []
    done = await rotate(place, watch=lambda step: lambda *moved: seen.append((step, *moved)))
    after = SealedVault.load(key_path(place))
    total = 2 * TARGETS + 6
    assert await in_use(place) == {after.key_id: total}
    assert await all_open(place) == total
    assert after.key_ids == [done.key_id]
    assert done.finished
    assert (done.former, sum(done.opened.values()), done.resumed) == ((before.key_id,), total, False)
    assert after.derive("mock-scram") == derived
    assert key_of(after.seal("x", Secret("x"))) == done.key_id != before.key_id
    assert [moved for step, *moved in seen if step.startswith("Sealing")][-1] == [total, total]
    events = [event.event for event in await place.store.read_events(action="secrets.")]
    assert [event.action for event in events] == ["secrets.rotation_begun", "secrets.key_rotated"]
    assert all((event.actor, event.reason, event.object_id) == ("os:test", "yearly", done.key_id) for event in events)
    assert events[-1].detail["upstream password"] == 2 * TARGETS + 1
    assert before.key_id in str(events[-1].detail)


async def test_again_and_again(sqlite_place):
    await fill(sqlite_place, 3)
    keys = {(await rotate(sqlite_place)).key_id for _ in range(3)}
    assert len(keys) == 3
    assert await all_open(sqlite_place) == 12


class Killed(BaseException):
    """As a kill would, it passes everything by."""


def killing_at(count: int):
    """Dies at the so-manieth sign of progress."""
    numbers = itertools.count(1)

    def watch(_step: str):
        def moved(_done: int, _total: int) -> None:
            if next(numbers) == count:
                raise Killed

        return moved

    return watch


@pytest.mark.parametrize("point", [1, 2, 3, 4, 5, 6, 7, 8])
async def test_killed_while_it_seals_or_opens_it_is_finished_by_the_next(sqlite_place, point):
    await fill(sqlite_place)
    with pytest.raises(Killed):
        await rotate(sqlite_place, watch=killing_at(point))
    half = await in_use(sqlite_place)
    assert await all_open(sqlite_place) == 2 * TARGETS + 6
    done = await rotate(sqlite_place)
    assert done.resumed
    assert set(half) <= {done.key_id, *done.former}, "not one key more"
    assert await in_use(sqlite_place) == {done.key_id: 2 * TARGETS + 6}
    assert await all_open(sqlite_place) == 2 * TARGETS + 6
    assert SealedVault.load(key_path(sqlite_place)).key_ids == [done.key_id]


@pytest.mark.parametrize("commit", [1, 2])
async def test_killed_right_after_a_commit_it_is_finished_by_the_next(place, commit):
    """Before anything is sealed anew; and before the old key has left the file."""
    await fill(place, 2)
    numbers = itertools.count(1)

    def committed(_revision: int) -> None:
        if next(numbers) == commit:
            raise Killed

    with pytest.raises(Killed):
        await rotate(place, on_commit=committed)
    assert await all_open(place) == 10
    assert len(read_ring(key_path(place)).keys) == 2
    done = await rotate(place)
    assert done.resumed
    assert await in_use(place) == {done.key_id: 10}
    assert len(read_ring(key_path(place)).keys) == 1


async def test_killed_before_the_store_knew_of_it(sqlite_place):
    await fill(sqlite_place, 2)
    replace_ring(key_path(sqlite_place), read_ring(key_path(sqlite_place)).advanced())
    assert await all_open(sqlite_place) == 10
    done = await rotate(sqlite_place)
    assert done.resumed
    assert await in_use(sqlite_place) == {done.key_id: 10}


async def test_killed_by_the_system_at_any_moment(sqlite_place):
    """A process of its own, ended with SIGKILL at moments spread over its life."""
    await fill(sqlite_place, 150)
    total = 2 * 150 + 6
    program = (
        "import asyncio, sys; from pathlib import Path; from gateway.settings import Settings;"
        "from gateway.store.key_rotation import *; print('begun', flush=True);"
        "asyncio.run(rotate_key(Settings(state_dir=Path(sys.argv[1])), Signature('os:test', ''), keep_old=False,"
        " watch=lambda step: lambda done, total: None, waits_for_others=False)); print('done')"
    )
    ended = []
    for number in range(6):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, sqlite_place.folder, stdout=PIPE)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"begun\n"
        await asyncio.sleep(0.06 * number)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        ended.append((await process.communicate())[0])
        assert await all_open(sqlite_place) == total
    assert b"" in ended
    done = await rotate(sqlite_place)
    assert await in_use(sqlite_place) == {done.key_id: total}
    assert sorted(os.listdir(sqlite_place.folder)) == ["master.key", "master.key.lock", "store.sqlite3"]


async def test_what_is_sealed_meanwhile_with_the_old_key_is_sealed_anew(place):
    """Another process had not looked at the file yet: its change is committed after the first pass."""
    await fill(place, 2)
    behind = SealedVault(read_ring(key_path(place)))

    async def change() -> None:
        async with place.store.begin() as work:
            target = work.snapshot.targets["t0"]
            role = target.roles[AccessMode.READ_ONLY]
            sealed = replace(role, sealed_secret=behind.seal(role.id, Secret(SECRET)))
            work.put(replace(target, roles={**target.roles, AccessMode.READ_ONLY: sealed}))
            await work.commit(AdminEvent("os:test", "x.y", "id", "name", ""))

    changing: list[asyncio.Task[None]] = []

    def watch(_step: str):
        if not changing:
            return lambda _done, _total: changing or changing.append(asyncio.ensure_future(change()))
        return lambda _done, _total: None

    done = await rotate(place, watch=watch, waits_for_others=True)
    await changing[0]
    assert await in_use(place) == {done.key_id: 10}
    assert await all_open(place) == 10


async def test_a_running_directory_and_its_vault_are_not_disturbed(place):
    """A worker: it opens what it was told before, what it is told after, and never says that the store is silent."""
    await fill(place, 2)
    worker = SealedVault.load(key_path(place))
    watching = replace(place, vault=worker)
    async with running(watching, stale_after_seconds=3.0) as directory:
        before = directory.snapshot
        done = await rotate(place)
        await until(lambda: directory.snapshot.revision >= before.revision + 2)
        assert directory.fresh
        for snapshot in (before, directory.snapshot):
            assert worker.open(snapshot.targets["t1"].roles[AccessMode.READ_ONLY]).reveal() == SECRET
        assert key_of(directory.snapshot.targets["t1"].roles[AccessMode.READ_ONLY].sealed_secret) == done.key_id
        directory.wake()
        directory._feed.forget()  # a new link to the store, whose key is another one now
        await place.add_user("ben")
        await until(lambda: "ben" in directory.snapshot.users)


async def test_a_value_that_does_not_open_keeps_the_old_key(sqlite_place):
    await fill(sqlite_place, 2)
    before = SealedVault.load(key_path(sqlite_place)).key_id
    another = "(SELECT sealed_secret FROM target_roles WHERE id = 'p')"
    sqlite_place.run(f"UPDATE target_roles SET sealed_secret = {another} WHERE id = 'r0read_only'")
    done = await rotate(sqlite_place)
    assert not done.finished
    assert [(each.kind, each.row) for each in done.unreadable] == [("upstream password", "r0read_only")]
    assert before in SealedVault.load(key_path(sqlite_place)).key_ids
    assert (await in_use(sqlite_place))[before] == 1
    sqlite_place.run("DELETE FROM target_roles WHERE id = 'r0read_only'")
    again = await rotate(sqlite_place)
    assert (again.finished, again.resumed, again.key_id) == (True, True, done.key_id)


async def test_the_staged_key_is_the_one(sqlite_place):
    await fill(sqlite_place, 1)
    staged = stage_key(key_path(sqlite_place))
    assert (await rotate(sqlite_place)).key_id == staged


async def test_a_backup_from_before_a_rotation(place, tmp_path):
    """It opens with the key that was kept; without, it says which line is missing, and takes it."""
    await fill(place, 2)
    old_file = tmp_path / "kept.key"
    old_file.write_bytes(key_path(place).read_bytes())
    old = SealedVault.load(key_path(place)).key_id
    await backup(settings_of(place), tmp_path / "b.sqlite3")
    assert (await rotate(place, keep_old=True)).kept
    await restore(tmp_path / "b.sqlite3", settings_of(place), replace=True)
    assert await in_use(place) == {old: 10}
    assert await all_open(place) == 10

    done = await rotate(place)
    assert done.resumed
    assert await in_use(place) == {done.key_id: 10}
    with pytest.raises(
        VaultError, match=rf"master key {old}, but the key file holds key {done.key_id}: add the line of that key"
    ):
        await restore(tmp_path / "b.sqlite3", settings_of(place), replace=True)
    assert await in_use(place) == {done.key_id: 10}
    with key_path(place).open("ab") as ring:
        ring.write(old_file.read_bytes())
    await restore(tmp_path / "b.sqlite3", settings_of(place), replace=True)
    assert await all_open(place) == 10


async def test_a_store_whose_key_is_missing_is_not_begun_with(place):
    """Also where only some of what is in it is sealed with that key."""
    await fill(place, 2)
    with pytest.raises(Killed):
        await rotate(place, watch=killing_at(1))
    ring = read_ring(key_path(place))
    missing = ring.retiring[0].name
    await bind_key(place.where, SealedVault(ring))
    with pytest.raises(
        VaultError, match=rf"sealed with master key .*{missing}, but the key file holds key {ring.current.name}"
    ):
        await bind_key(place.where, SealedVault(replace(ring, retiring=())))


async def test_nothing_of_the_old_sealing_is_left_in_the_file(sqlite_place):
    """Neither in free pages nor in the log: what was replaced before the rotation is not there either."""
    await fill(sqlite_place)
    connection = sqlite3.connect(sqlite_place.file, isolation_level=None)
    connection.execute("PRAGMA secure_delete = OFF")
    first = [row[0] for row in connection.execute("SELECT sealed_secret FROM target_roles WHERE sealed_secret <> x''")]
    connection.execute("CREATE TABLE gone AS SELECT * FROM target_roles")
    connection.execute("DROP TABLE gone")
    connection.close()
    assert sum(sealed in sqlite_place.file.read_bytes() for sealed in first) == len(first)
    done = await rotate(sqlite_place)
    assert done.notes == []
    files = [file.read_bytes() for file in sqlite_place.folder.glob("store.sqlite3*")]
    assert not any(sealed in content for sealed in first for content in files)
    assert not any(SECRET.encode() in content for content in files)


async def test_somebody_who_reads_the_file_is_told_of(sqlite_place):
    await fill(sqlite_place, 2)
    reader = sqlite3.connect(sqlite_place.file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM target_roles").fetchone()
    done = await rotate(sqlite_place)
    reader.close()
    assert done.finished
    assert "its log" in " ".join(done.notes)
