"""What was sent on a day is kept by user and grant, and only of that day."""

from datetime import date


async def test_sums_of_a_day(place):
    today, tomorrow = date(2030, 1, 1), date(2030, 1, 2)
    store = place.store
    revision = (await store.read()).revision
    assert await store.sent_on(today) == {}
    await store.record_sent(today, {("u-1", "g-1"): 5, ("u-1", "g-2"): 2**40})
    await store.record_sent(today, {("u-1", "g-1"): 9, ("u-2", "g-1"): 1})
    await store.record_sent(today, {("u-2", "g-1"): 0})  # of a clerk that knew less
    assert await store.sent_on(today) == {("u-1", "g-1"): 9, ("u-1", "g-2"): 2**40, ("u-2", "g-1"): 1}
    await store.record_sent(tomorrow, {("u-1", "g-1"): 3})
    assert await store.sent_on(today) == {}
    assert await store.sent_on(tomorrow) == {("u-1", "g-1"): 3}
    assert (await store.read()).revision == revision
