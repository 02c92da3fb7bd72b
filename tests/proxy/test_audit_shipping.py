"""Operators' changes reach the audit trail exactly once, whatever happens to who ships them."""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.audit.admin_event import RecordedAdminEvent
from gateway.proxy.audit_copies import Copies, CopyQueue
from gateway.proxy.audit_shipping import AdminEventShipper
from gateway.proxy.counters import Counters
from tests.support.shipping_writer import events

WRITER = Path(__file__).parents[1] / "support" / "shipping_writer.py"
ROOT = Path(__file__).parents[2]


class FakeStore:
    def __init__(self, recorded: list[RecordedAdminEvent]) -> None:
        self.recorded = recorded
        self.fails = False
        self.looks = 0

    async def events_after(self, sequence: int, limit: int) -> Sequence[RecordedAdminEvent]:
        self.looks += 1
        if self.fails:
            raise RuntimeError("the store is away")
        return [event for event in self.recorded if event.sequence > sequence][:limit]


def shipped(directory: Path) -> list[dict[str, object]]:
    """In the order of the files' ages."""
    rotated = sorted(directory.glob("admin-*.jsonl"), key=lambda path: int(path.stem.rsplit("-", 1)[1]))
    return [
        json.loads(line)
        for path in (*rotated, directory / "admin.jsonl")
        if path.exists()
        for line in path.read_text().splitlines()
    ]


async def ship(directory: Path, store: FakeStore, rotate_bytes: int = 1 << 20) -> list[object]:
    await AdminEventShipper(directory, rotate_bytes, store.events_after).ship_once()
    return [record["id"] for record in shipped(directory)]


async def test_an_event_is_a_record(tmp_path: Path) -> None:
    await ship(tmp_path, FakeStore(events(1, 1)))
    assert shipped(tmp_path) == [
        {
            "at": "2023-11-14T22:13:21.000000Z",
            "seq": 1,
            "event": "admin",
            "id": "event-1",
            "revision": 0,
            "actor": "os:ana",
            "action": "user.created",
            "object": "user 1",
            "object_id": "u1",
            "reason": 'a "reason" ä',
            "detail": {"groups": ["a", "b"]},
        }
    ]


async def test_shipping_goes_on_where_the_trail_ends(tmp_path: Path) -> None:
    for count in (0, 3, 3, 450, 451):
        found = await ship(tmp_path, FakeStore(events(1, count)), rotate_bytes=2_000)
        assert found == [f"event-{number}" for number in range(1, count + 1)]


async def test_a_trail_that_was_taken_away_is_not_shipped_again(tmp_path: Path) -> None:
    await ship(tmp_path, FakeStore(events(1, 10)))
    (tmp_path / "admin.jsonl").unlink()
    assert await ship(tmp_path, FakeStore(events(1, 12))) == ["event-11", "event-12"]


async def test_a_store_restored_from_a_backup_loses_and_repeats_nothing(tmp_path: Path) -> None:
    old = events(1, 10)
    await ship(tmp_path, FakeStore(old))
    restored = FakeStore(old[:6])
    assert len(await ship(tmp_path, restored)) == 10
    restored.recorded = [*old[:6], *events(7, 8, life="B")]
    assert await ship(tmp_path, restored) == [*(event.id for event in old), "eventB-7", "eventB-8"]
    restored.recorded += events(9, 30, life="B")
    found = await ship(tmp_path, restored)
    assert len(found) == len(set(found)) == 10 + 24


async def test_a_torn_line_is_made_whole(tmp_path: Path) -> None:
    await ship(tmp_path, FakeStore(events(1, 5)))
    path = tmp_path / "admin.jsonl"
    whole = path.read_bytes()
    for cut in (1, 20, len(whole) // 2):
        path.write_bytes(whole[:-cut])
        assert await ship(tmp_path, FakeStore(events(1, 5))) == [f"event-{number}" for number in range(1, 6)]
        assert path.read_bytes() == whole


async def test_it_runs_until_cancelled_and_outlives_the_stores_absence(tmp_path: Path) -> None:
    store = FakeStore(events(1, 3))
    copied: list[bytes] = []

    def deliver(lines: bytes) -> int:
        copied.append(lines)
        return 0

    copies = Copies((CopyQueue("list", deliver, Counters()),))
    shipper = AdminEventShipper(tmp_path, 1 << 20, store.events_after, copies, look_seconds=60)
    task = asyncio.create_task(shipper.run())

    async def until(count: int) -> None:
        async with asyncio.timeout(20):
            while len(shipped(tmp_path)) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    try:
        await until(3)
        store.fails = True
        shipper.wake()
        await asyncio.sleep(0.1)
        store.recorded, store.fails = events(1, 5), False
        await until(5)
        store.recorded = events(1, 6)
        shipper.wake()
        await until(6)
        async with asyncio.timeout(20):  # it is copied once it is written
            while b"".join(copied).count(b"\n") < 6:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    copies.close()
    assert b"".join(copied).count(b"\n") == 6


async def test_the_store_is_not_asked_while_nothing_was_written(tmp_path: Path) -> None:
    store, told = FakeStore(events(1, 3)), list[str | None]()
    stamps = ["first", "first", "first", "second", "second", None, None]  # and then the last one, for ever

    def stamp() -> str | None:
        told.append(stamps[len(told)] if len(told) < len(stamps) else "last")
        return told[-1]

    shipper = AdminEventShipper(tmp_path, 1 << 20, store.events_after, look_seconds=0.001, stamp=stamp)
    task = asyncio.create_task(shipper.run())
    try:
        async with asyncio.timeout(20):
            while len(told) < 20:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert len(shipped(tmp_path)) == 3
    assert store.looks == 2 + 4  # first, until there was no more; second, twice for None, last


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_point_no_event_is_missing_and_none_is_there_twice(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    count = 0
    for _ in range(8):
        count += chance.randrange(400)
        process = subprocess.Popen([sys.executable, WRITER, tmp_path, str(count)], stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * 0.06)
        process.kill()
        process.communicate()
    subprocess.run([sys.executable, WRITER, tmp_path, str(count)], check=True, capture_output=True, cwd=ROOT)
    assert [record["seq"] for record in shipped(tmp_path)] == list(range(1, count + 1))
