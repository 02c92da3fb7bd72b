"""The directory: prompt when all is well, honest when it is not, and never in the way of the loop (L11, F10)."""

import asyncio
import time

import pytest

from gateway.store.directory import StoreDirectory
from gateway.store.errors import VaultError
from gateway.store.key_ring import KeyRing, MasterKey
from gateway.store.vault import SealedVault
from tests.store.directories import running, until


async def test_a_change_by_another_process_arrives_within_a_poll(place):
    seen = {}
    async with running(place) as directory:
        directory.subscribe(lambda snapshot: seen.setdefault(snapshot.revision, time.time()))
        process = await place.writer("user", 8, 0.25)
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
        place.run("CREATE TABLE unrelated (x int)")
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


async def test_rows_that_make_no_sense_go_stale(place):
    async with running(place) as directory:
        place.run(
            "INSERT INTO allowlist_entries (id, network, label) VALUES ('x', '10.0.0.1/8', '')",
            "UPDATE meta SET revision = revision + 1",
        )
        await until(lambda: not directory.fresh)
        assert directory.snapshot.global_entries == ()


async def test_it_does_not_start_on_another_key(place):
    other = StoreDirectory(
        place.where, poll_seconds=0.1, stale_after_seconds=1, keys=SealedVault(KeyRing(MasterKey(b"other id", b"k" * 32)))
    )
    with pytest.raises(VaultError, match=place.vault.key_id):
        await other.start()
    await other.close()
