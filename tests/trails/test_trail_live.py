"""Read while it is written: by the very writer that workers have, with its journal, across rotations and restarts."""

import asyncio
from collections import Counter
from pathlib import Path

from gateway.audit.events import event
from gateway.proxy.audit_trail import AuditTrail
from gateway.trails.filters import Filter
from gateway.trails.records import Record
from gateway.trails.search import Cursor, search_trail
from gateway.trails.stream import Order

_LIVES = 4
_RECORDS = 300


async def _write(directory: Path, worker: int) -> None:
    """Some lives of a worker, with files of a few records."""
    for life in range(_LIVES):
        trail = AuditTrail(directory, worker, 4096, asyncio.get_running_loop())
        for number in range(_RECORDS):
            trail.append(event("x", {"writer": worker, "n": life * _RECORDS + number, "pad": "y" * (number % 90)}))
            if number % 10 == 0:
                await asyncio.sleep(0.002)
        trail.close()


def _numbers(records: list[Record], worker: int) -> list[object]:
    return [each.fields["n"] for each in records if each.fields.get("writer") == worker]


def _rotations(directory: Path) -> int:
    return len(list(directory.glob("audit-*Z-*.jsonl")))


async def _read_on(directory: Path, found: list[Record], done: asyncio.Event) -> None:
    cursor: Cursor | None = None
    while True:
        last = done.is_set()
        page = await asyncio.to_thread(search_trail, directory, Filter(), order=Order.OLDEST_FIRST, limit=50, cursor=cursor)
        found += page.records
        cursor = page.end
        if last and page.next is None:
            return


async def test_nothing_is_missed_or_repeated_while_workers_write(tmp_path: Path) -> None:
    followed: list[Record] = []
    done = asyncio.Event()
    reading = asyncio.create_task(_read_on(tmp_path, followed, done))
    await asyncio.gather(*(_write(tmp_path, worker) for worker in (0, 1)))
    done.set()
    await reading
    everything = list(range(_LIVES * _RECORDS))
    for worker in (0, 1):
        assert _numbers(followed, worker) == everything
    assert max(Counter((each.source, each.seq) for each in followed).values()) == 1
    assert _rotations(tmp_path) > 10


async def test_pages_from_the_newest_have_no_gap_while_workers_write(tmp_path: Path) -> None:
    writing = asyncio.create_task(_write(tmp_path, 0))
    while not writing.done():
        found: list[Record] = []
        cursor: Cursor | None = None
        while True:
            page = await asyncio.to_thread(search_trail, tmp_path, Filter(), order=Order.NEWEST_FIRST, limit=70, cursor=cursor)
            found += page.records
            if (cursor := page.next) is None:
                break
        numbers = _numbers(found, 0)[::-1]
        assert numbers == list(range(len(numbers)))
    await writing
