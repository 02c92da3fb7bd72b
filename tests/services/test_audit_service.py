"""The audit read back: operators' changes stand once among the workers' records, shipped or not, and what comes is followed."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.proxy.audit_shipping import AdminEventShipper
from gateway.services import users
from gateway.services.audit import AuditLog, AuditPage, Filter, Followed, Order
from gateway.services.errors import ServiceError
from tests.services.world import BY, World, opened
from tests.trails.writing import Writer

NEWEST, OLDEST = Order.NEWEST_FIRST, Order.OLDEST_FIRST


class Desk:
    """An AuditLog over the small world, and the means to add to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.directory = world.folder / "audit"
        self.directory.mkdir(exist_ok=True)
        self.log = AuditLog(self.directory, world.store, self.revision)
        self.worker = Writer(self.directory, "0")
        self.users = 0

    async def revision(self) -> int:
        return (await self.world.read()).revision

    async def ship(self) -> None:
        await AdminEventShipper(self.directory, 1 << 20, self.world.store.events_after).ship_once()

    async def change(self) -> None:
        self.users += 1
        await users.create_user(self.world.store, name=f"user{self.users}", password=None, **BY)

    async def search(self, wanted: Filter | None = None, *, order: Order = NEWEST, limit: int = 3) -> list[tuple[str, int]]:
        found, after = [], None
        while True:
            page = await self.log.search(wanted or Filter(), order=order, limit=limit, after=after)
            found += [(record.source, record.seq) for record in page.records]
            if (after := page.next) is None:
                return found


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


def admin(numbers: Any) -> list[tuple[str, int]]:
    return [("admin", number) for number in numbers]


@pytest.mark.parametrize("order", Order)
async def test_changes_are_found_once_whether_shipped_or_not(desk: Desk, order: Order) -> None:
    count = len(await desk.world.events())
    for shipped in (False, True, True):
        if shipped:
            await desk.ship()
        found = await desk.search(order=order)
        assert sorted(found) == admin(range(1, count + 1))
        assert found == sorted(found, reverse=order is NEWEST)
        await desk.change()
        count += 1


@pytest.mark.parametrize("order", Order)
async def test_a_change_that_is_shipped_between_two_pages_is_neither_lost_nor_repeated(desk: Desk, order: Order) -> None:
    events = len(await desk.world.events())
    for _ in range(6):
        await desk.change()
    first = await desk.log.search(Filter(), order=order, limit=4)
    await desk.ship()
    found, after = list(first.records), first.next
    while after is not None:
        page = await desk.log.search(Filter(), order=order, limit=4, after=after)
        found += page.records
        after = page.next
    assert sorted(record.seq for record in found) == list(range(1, events + 7))


async def test_the_record_is_the_same_wherever_it_is_found(desk: Desk) -> None:
    before = await desk.log.search(Filter(), limit=100)
    await desk.ship()
    after = await desk.log.search(Filter(), limit=100)
    assert [record.line for record in before.records] == [record.line for record in after.records]


async def test_they_stand_among_the_workers_records_by_time(desk: Desk) -> None:
    events = await desk.world.events()
    desk.worker.at = events[3].at
    desk.worker.write({"event": "x"}, seconds=0.000001)
    for _ in range(2):
        found = await desk.search(order=OLDEST)
        assert found.index(("0", 1)) == 1 + max(n for n, each in enumerate(events) if each.at <= events[3].at)
        await desk.ship()


async def test_filters_hold_for_both(desk: Desk) -> None:
    desk.worker.write({"event": "login_failed", "user": "alice"}, {"event": "statement", "user": "bob"})
    for _ in range(2):
        alice = await desk.log.search(Filter(user="alice"), limit=100)
        actions = {str(record.fields.get("action", record.fields["event"])) for record in alice.records}
        assert actions == {"user.created", "grant.created", "login_failed"}
        disabled = await desk.log.search(Filter(event="*.disabled"), limit=100)
        assert {record.fields["object"] for record in disabled.records} == {"bob", "closed"}
        assert await desk.search(Filter(text="TICKET 17", event="allowlist.*")) == await desk.search(
            Filter(event="allowlist.*")
        )
        await desk.ship()


async def test_many_changes_that_were_never_shipped_come_in_pages(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.services.audit_changes._BATCH", 4)
    for _ in range(10):
        await desk.change()
    count = len(await desk.world.events())
    assert await desk.search(order=NEWEST) == admin(range(count, 0, -1))
    assert await desk.search(order=OLDEST) == admin(range(1, count + 1))
    assert await desk.search(Filter(user="user3"), limit=1) == await desk.search(Filter(user="user3"), order=OLDEST)


async def test_a_store_from_a_backup_hides_nothing_of_either_life(desk: Desk, tmp_path: Path) -> None:
    """The trail has changes that the store lost; the store has others under the same numbers."""
    count = len(await desk.world.events())
    shutil.copytree(desk.world.folder, tmp_path / "backup")
    for _ in range(3):
        await desk.change()
    await desk.ship()
    for path in (tmp_path / "backup").glob("store.sqlite3*"):
        shutil.copy(path, desk.world.folder / path.name)
    restored = Desk(opened(desk.world.folder))
    await users.create_user(restored.world.store, name="other", password=None, **BY)
    for order in Order:
        for _ in range(2):
            found = await restored.log.search(Filter(event="user.created", text="other"), order=order)
            assert len(found.records) == 1
            lost = await restored.log.search(Filter(event="user.created", text="user3"), order=order)
            assert len(lost.records) == 1
            assert len(await restored.search(order=order, limit=100)) == count + 4
    await restored.ship()
    assert len(await restored.search(limit=2)) == count + 4
    assert len(await restored.search(order=OLDEST, limit=2)) == count + 4


async def test_a_store_that_does_not_answer_leaves_the_trail(desk: Desk) -> None:
    await desk.ship()
    await desk.change()
    desk.worker.write({"event": "x"})
    shipped = len(await desk.world.events()) - 1
    for path in desk.world.folder.glob("store.sqlite3*"):
        path.unlink()
    page = await desk.log.search(Filter(), limit=100)
    assert len(page.records) == shipped + 1
    (note,) = page.notes
    assert note.startswith("without operators' changes that stand only in the store: ")


async def test_what_is_wrong_is_refused_by_a_rule(desk: Desk) -> None:
    with pytest.raises(ServiceError, match="cursor"):
        await desk.log.search(Filter(), after="nonsense")
    with pytest.raises(ServiceError, match="1 to"):
        await desk.log.search(Filter(), limit=0)
    oldest = await desk.log.search(Filter(), order=OLDEST, limit=1)
    with pytest.raises(ServiceError, match="other order"):
        await desk.log.search(Filter(), after=oldest.next)
    shutil.rmtree(desk.directory)
    assert (await desk.log.search(Filter(), limit=1)).records  # nothing was ever written there; the store has changes
    desk.directory.write_text("no directory")
    with pytest.raises(ServiceError) as raised:
        await desk.log.search(Filter())
    assert raised.value.rule == "audit-unreadable"


# --- following


class Follower:
    def __init__(self, events: AsyncIterator[Followed]) -> None:
        self.seen: list[Followed] = []
        self._task = asyncio.create_task(self._read(events))

    async def _read(self, events: AsyncIterator[Followed]) -> None:
        async for each in events:
            self.seen.append(each)

    async def wait(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not done():
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    @property
    def places(self) -> list[tuple[str, int]]:
        return [(each.record.source, each.record.seq) for each in self.seen]


async def test_following_shows_what_comes_once_across_rotation_and_from_new_workers(desk: Desk) -> None:
    desk.worker.write({"n": 0})
    start = await desk.log.end()
    follower = Follower(desk.log.follow(Filter(), after=start))
    other = Writer(desk.directory, "1")
    before = len(await desk.world.events())
    for n in range(20):
        (desk.worker if n % 2 else other).write({"n": n})
        if n % 7 == 3:
            desk.worker.rotate()
        if n % 5 == 2:
            await desk.change()
        if n == 13:
            await desk.ship()
        await asyncio.sleep(0.03)
    await desk.ship()
    await follower.wait(lambda: len(follower.seen) >= 24)
    await asyncio.sleep(0.5)
    await follower.stop()
    expected = [("0", n) for n in range(2, 12)] + [("1", n) for n in range(1, 11)] + admin(range(before + 1, before + 5))
    assert sorted(follower.places) == sorted(expected)


async def test_who_comes_back_with_a_cursor_misses_nothing(desk: Desk) -> None:
    follower = Follower(desk.log.follow(Filter(event="x"), after=await desk.log.end()))
    desk.worker.write({"event": "x"}, {"event": "y"}, {"event": "x"})
    await follower.wait(lambda: len(follower.seen) == 2)
    await follower.stop()
    desk.worker.rotate()
    desk.worker.write({"event": "x"})
    for each, missed in zip(follower.seen, ([3, 4], [4]), strict=True):
        again = Follower(desk.log.follow(Filter(event="x"), after=each.cursor))
        await again.wait(lambda again=again, missed=missed: len(again.seen) >= len(missed))
        await asyncio.sleep(0.3)
        await again.stop()
        assert [seq for _, seq in again.places] == missed


async def test_following_begins_now(desk: Desk) -> None:
    desk.worker.write(*({"n": n} for n in range(5)))
    follower = Follower(desk.log.follow(Filter()))
    await asyncio.sleep(0.5)
    assert follower.seen == []
    started = time.monotonic()
    desk.worker.write({"n": 5})
    await follower.wait(lambda: bool(follower.seen))
    assert time.monotonic() - started < 2
    await follower.stop()


async def test_following_outlives_a_silent_store(desk: Desk, tmp_path: Path) -> None:
    follower = Follower(desk.log.follow(Filter(), after=await desk.log.end()))
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for path in desk.world.folder.glob("store.sqlite3*"):
        path.rename(hidden / path.name)
    desk.worker.write({"n": 1})
    await follower.wait(lambda: len(follower.seen) == 1)
    for path in hidden.iterdir():
        path.rename(desk.world.folder / path.name)
    await desk.change()
    await follower.wait(lambda: len(follower.seen) == 2)
    await follower.stop()
    assert follower.places[0] == ("0", 1)


async def test_the_loop_never_waits_for_the_disk(desk: Desk) -> None:
    """A search of some 30 MB, while the loop is watched."""
    lines = b"".join(desk.worker.line({"event": "x", "pad": "x" * 300}, n) for n in range(1, 80_001))
    desk.worker.raw(lines)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - before)

    watching = asyncio.create_task(watch())
    page: AuditPage = await desk.log.search(Filter(user="nobody", text="x"), order=OLDEST, seconds=60)
    await desk.log.search(Filter(text="never written"), seconds=60)
    watching.cancel()
    assert page.records == ()
    assert longest < 0.25
