"""Bytes of a day: workers tell the clerk, and learn what all were sent; a restart forgets nothing, a new day everything."""

import asyncio
from datetime import UTC, date, datetime, timedelta

from gateway.bus.lines import BusUnavailable, Message, Payload
from gateway.proxy.day_counts import DayCounts
from gateway.store.errors import StoreUnavailableError
from gateway.supervision.day_ledger import DayLedger


class Kept:
    """Implements SentStore."""

    def __init__(self) -> None:
        self.days: dict[date, dict[tuple[str, str], int]] = {}
        self.broken = False

    async def record_sent(self, day: date, more: dict[tuple[str, str], int]) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise StoreUnavailableError("gone")
        kept = self.days.setdefault(day, {})
        for key, size in more.items():
            kept[key] = kept.get(key, 0) + size

    async def sent_on(self, day: date) -> dict[tuple[str, str], int]:
        await asyncio.sleep(0)
        if self.broken:
            raise StoreUnavailableError("gone")
        return dict(self.days.get(day, {}))


class Bus:
    """To a clerk, if there is one."""

    def __init__(self, clerk: DayLedger | None) -> None:
        self.clerk = clerk

    async def ask(self, to: str, kind: str, payload: Payload, timeout_seconds: float) -> Payload:
        assert (to, kind) == ("clerk", "sent")
        if self.clerk is None:
            raise BusUnavailable("nobody")
        return await self.clerk.sent(Message("worker:0", kind, payload))


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


async def until(happened) -> None:
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.01)


async def test_workers_learn_of_each_other() -> None:
    bus = Bus(DayLedger(Kept()))
    one, two = DayCounts(bus, Clock()), DayCounts(bus, Clock())
    first = one.of("u", "g")
    assert one.of("u", "g") is first
    first.add(100)
    one.hurry()
    await until(lambda: first.unreported == 0)
    second = two.of("u", "g")
    await until(lambda: second.sent == 100)
    assert two.of("u", "other").sent == 0
    second.add(11)
    two.hurry()
    await until(lambda: second.unreported == 0)
    first.touched = True
    one.hurry()
    await until(lambda: first.sent == 111)
    await one.close()
    await two.close()


async def test_while_the_clerk_is_away_each_counts_on_and_nothing_begins() -> None:
    store = Kept()
    bus = Bus(None)
    counts = DayCounts(bus, Clock())
    count = counts.of("u", "g")
    count.add(7)
    counts.hurry()
    await asyncio.sleep(0.05)
    assert (count.sent, count.unreported, count.known) == (7, 7, False)
    bus.clerk = ledger = DayLedger(store)
    store.broken = True  # it does not know what there was before, and says nothing
    counts.hurry()
    await asyncio.sleep(0.05)
    assert (count.unreported, count.known) == (7, False)
    store.broken = False
    counts.hurry()
    await until(lambda: count.unreported == 0)
    assert count.known
    bus.clerk, count.touched = None, True
    counts.hurry()
    await until(lambda: not count.known)
    bus.clerk = ledger
    counts.hurry()
    await until(lambda: count.known)
    store.broken = True
    await ledger.write()
    assert not store.days
    store.broken = False
    await ledger.write()
    assert list(store.days.values()) == [{("u", "g"): 7}]
    await counts.close()


async def test_a_restart_of_the_clerk_forgets_nothing() -> None:
    store = Kept()
    bus = Bus(DayLedger(store))
    counts = DayCounts(bus, Clock())
    count = counts.of("u", "g")
    count.add(50)
    await counts.close()  # tells what is left
    assert bus.clerk is not None
    await bus.clerk.write()
    bus.clerk = DayLedger(store)
    again = DayCounts(bus, Clock())
    found = again.of("u", "g")
    await until(lambda: found.sent == 50)
    await again.close()


class Beats:
    """Seconds, as a test has them pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def told(ledger: DayLedger, size: int) -> int:
    today = datetime.now(UTC).date().isoformat()
    answer = await ledger.sent(Message("worker:0", "sent", {"day": today, "sent": [["u", "g", size]]}))
    (total,) = answer["totals"]  # type: ignore[misc]
    return total


async def test_gateways_that_share_a_store_count_together() -> None:
    store, beats = Kept(), Beats()
    here, there = DayLedger(store, beats), DayLedger(store, beats)
    assert (await told(here, 100), await told(there, 7)) == (100, 7)
    await asyncio.gather(here.write(), there.write())
    beats.now += 1
    assert (await told(here, 0), await told(there, 0)) == (107, 107)
    assert await told(there, 3) == 110
    assert await told(here, 0) == 107  # a second old at most
    await there.write()
    beats.now += 1
    assert await told(here, 5) == 115
    await here.write()
    await here.write()
    assert list(store.days.values()) == [{("u", "g"): 115}]


async def test_what_is_told_while_it_is_written_counts_once() -> None:
    store, beats = Kept(), Beats()
    ledger, other = DayLedger(store, beats), DayLedger(store, beats)
    for turn in range(20):
        beats.now += turn % 3 / 2
        await asyncio.gather(told(ledger, 10), ledger.write(), told(other, 1), other.write(), told(ledger, 10))
    for each in (ledger, other):
        await each.write()
    beats.now += 1
    assert await told(ledger, 0) == await told(other, 0) == 420


async def test_what_the_store_does_not_take_is_added_later() -> None:
    store, beats = Kept(), Beats()
    ledger = DayLedger(store, beats)
    assert await told(ledger, 10) == 10
    store.broken = True
    await ledger.write()
    beats.now += 1
    assert await told(ledger, 1) == 11  # and what was known counts on
    store.broken = False
    await ledger.write()
    beats.now += 1
    assert await told(ledger, 0) == 11
    assert list(store.days.values()) == [{("u", "g"): 11}]


async def test_a_new_day_begins_anew() -> None:
    store, clock = Kept(), Clock()
    clock.now = datetime.now(UTC) - timedelta(days=1)
    counts = DayCounts(Bus(DayLedger(store)), clock)
    count = counts.of("u", "g")
    assert count.resets == f"{clock.now + timedelta(days=1):%Y-%m-%d} 00:00 UTC"
    count.add(50)
    counts.hurry()
    await until(lambda: count.unreported == 0)
    clock.now += timedelta(days=1)
    count.touched = True
    counts.hurry()
    await until(lambda: count.sent == 0)
    assert count.resets == f"{clock.now + timedelta(days=1):%Y-%m-%d} 00:00 UTC"
    await counts.close()


async def test_the_clerk_believes_workers_alone_and_only_what_is_well_formed() -> None:
    ledger, today = DayLedger(Kept()), datetime.now(UTC).date().isoformat()
    entry = ["u", "g", 5]
    assert await ledger.sent(Message("anonymous:1", "sent", {"day": today, "sent": [entry]})) == {}
    assert await ledger.sent(Message("worker:1", "sent", {"day": 5})) == {}
    later = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    assert await ledger.sent(Message("worker:1", "sent", {"day": later, "sent": [entry]})) == {}
    found = await ledger.sent(Message("worker:1", "sent", {"day": today, "sent": [entry, ["u"], entry]}))
    assert found == {"totals": [5, None, 10]}
    before = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    assert await ledger.sent(Message("worker:1", "sent", {"day": before, "sent": [entry]})) == {"totals": [0]}
