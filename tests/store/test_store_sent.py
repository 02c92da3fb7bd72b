"""What was sent on a day is added up by user and grant, whoever adds, and kept for that day and the next."""

import asyncio
from datetime import date, timedelta


async def test_sums_of_a_day(place):
    today, tomorrow = date(2030, 1, 1), date(2030, 1, 2)
    store = place.store
    revision = (await store.read()).revision
    assert await store.sent_on(today) == {}
    await store.record_sent(today, {("u-1", "g-1"): 5, ("u-1", "g-2"): 2**40})
    await store.record_sent(today, {("u-1", "g-1"): 4, ("u-2", "g-1"): 1})
    assert await store.sent_on(today) == {("u-1", "g-1"): 9, ("u-1", "g-2"): 2**40, ("u-2", "g-1"): 1}
    await store.record_sent(tomorrow, {("u-1", "g-1"): 3})
    assert await store.sent_on(tomorrow) == {("u-1", "g-1"): 3}
    await store.record_sent(today, {("u-2", "g-1"): 1})  # of a gateway in which the day is not over yet
    assert (await store.sent_on(today))["u-2", "g-1"] == 2
    await store.record_sent(tomorrow + timedelta(days=1), {("u-1", "g-1"): 1})
    assert await store.sent_on(today) == {}
    assert (await store.read()).revision == revision


async def test_what_several_add_at_once_is_all_there(place):
    day = date(2030, 1, 1)
    stores = [place.store for _ in range(4)]
    keys = [("u-1", "g-1"), ("u-2", "g-1"), ("u-3", "g-1")]
    await asyncio.gather(
        *(store.record_sent(day, dict.fromkeys(keys[turn % 2 :], 10)) for turn in range(5) for store in stores)
    )
    assert await stores[0].sent_on(day) == {keys[0]: 120, keys[1]: 200, keys[2]: 200}
