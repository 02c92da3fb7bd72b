"""What was to be told elsewhere: taken by one at a time, in order, never lost, and given up or asked for again in sight."""

import asyncio
from datetime import UTC, datetime, timedelta

from gateway.audit.admin_event import AdminEvent
from gateway.ports import OutboxMessage, OutboxState, Redelivery
from gateway.ports.outbox import MessageFilter
from gateway.store.outbox import Lease, Settled
from gateway.store.sql_store import SqlStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON, LATER = NOW + timedelta(seconds=60), NOW + timedelta(hours=1)


def lease(now: datetime = NOW, **more) -> Lease:
    return Lease(**({"now": now, "until": now + timedelta(seconds=60), "limit": 100, "per_destination": 100} | more))


def message(number: int, destination: str = "webhook:chat", request_id: str | None = None) -> OutboxMessage:
    return OutboxMessage(f"m-{number}", "access_request.created", destination, "{}", NOW, NOW, request_id)


async def write(store: SqlStore, *messages: OutboxMessage) -> None:
    async with store.begin() as work:
        for each in messages:
            work.put(each)
        await work.commit(AdminEvent("system", "access_request.created", "r", "1", ""))


def ids(messages) -> list[str]:
    return [each.id for each in messages]


async def test_a_message_is_taken_by_one_of_many_and_comes_again_when_nothing_is_heard_of_it(place):
    await write(place.store, *(message(number) for number in range(20)))
    outbox = place.store.outbox
    revision = (await place.store.read()).revision
    taken = await asyncio.gather(*(SqlStore(place.where).outbox.take(lease()) for _ in range(4)))
    assert sorted(ids(each for batch in taken for each in batch)) == sorted(f"m-{number}" for number in range(20))
    assert await outbox.take(lease()) == []
    again = await outbox.take(lease(SOON))
    assert ids(again) == [f"m-{number}" for number in range(20)]  # the same ids, in their order
    assert {each.attempts for each in again} == {2}
    assert (await place.store.read()).revision == revision


async def test_who_comes_too_late_is_not_heard(place):
    await write(place.store, message(1))
    outbox = place.store.outbox
    (slow,) = await outbox.take(lease())
    (other,) = await outbox.take(lease(SOON))
    assert not await outbox.settle(slow, Settled(OutboxState.DEAD, SOON, error="late"))
    assert await outbox.settle(other, Settled(OutboxState.DELIVERED, SOON, receipt="C1 17.2"))
    assert not await outbox.settle(other, Settled(OutboxState.DEAD, SOON))
    (kept,) = await outbox.messages(MessageFilter())
    assert (kept.state, kept.receipt, kept.ended_at, kept.last_error) == (OutboxState.DELIVERED, "C1 17.2", SOON, "")


async def test_of_one_request_and_place_the_later_waits_for_the_earlier(place):
    first, second = message(1, request_id="r-1"), message(2, request_id="r-1")
    elsewhere, other = message(3, "slack:C1", "r-1"), message(4, request_id="r-2")
    await write(place.store, first, second, elsewhere, other)
    outbox = place.store.outbox
    taken = await outbox.take(lease())
    assert ids(taken) == ["m-1", "m-3", "m-4"]
    await outbox.settle(taken[0], Settled(OutboxState.PENDING, NOW, LATER, "it does not answer"))
    assert ids(await outbox.take(lease(NOW + timedelta(seconds=30)))) == []
    (again,) = (each for each in await outbox.take(lease(LATER)) if each.id == "m-1")
    assert again.last_error == "it does not answer"
    await outbox.settle(again, Settled(OutboxState.DEAD, LATER, error="given up"))
    assert "m-2" in ids(await outbox.take(lease(LATER)))  # what was given up holds up nothing


async def test_a_place_with_many_leaves_room_for_others_and_can_be_passed_over(place):
    await write(
        place.store, *(message(number, request_id=f"r-{number}") for number in range(30)), message(99, "mail:a@b.example")
    )
    outbox = place.store.outbox
    assert ids(await outbox.take(lease(limit=10, per_destination=4))) == ["m-0", "m-1", "m-2", "m-3", "m-99"]
    assert await outbox.take(lease(passed_over={"webhook:chat"})) == []
    assert len(await outbox.take(lease())) == 26


async def test_what_was_given_up_is_counted_seen_and_had_again(place):
    await write(place.store, message(1), message(2), message(3, "mail:a@b.example"))
    outbox = place.store.outbox
    for each in await outbox.take(lease(limit=2)):
        await outbox.settle(each, Settled(OutboxState.DEAD, NOW, error="refused"))
    counts = await outbox.count()
    assert (counts.pending, counts.dead, counts.oldest_pending_at) == (1, 2, NOW)
    assert ids(await outbox.messages(MessageFilter(state=OutboxState.DEAD))) == ["m-2", "m-1"]
    assert ids(await outbox.messages(MessageFilter(kind="mail"))) == ["m-3"]
    assert ids(await outbox.messages(MessageFilter(destination="webhook:chat", before=2))) == ["m-1"]
    later = SqlStore(place.where, clock=lambda: LATER)
    async with later.begin() as work:
        work.put(Redelivery("m-1"))
        work.put(Redelivery("m-3"))  # it waits already: as it was
        await work.commit(AdminEvent("os:test", "webhook.redelivered", "m-1", "m-1", ""))
    anew = await outbox.message("m-1")
    assert anew is not None
    assert (anew.state, anew.attempts, anew.next_at, anew.ended_at) == (OutboxState.PENDING, 0, LATER, None)
    assert await outbox.next_at() == NOW
    assert ids(await outbox.take(lease(LATER))) == ["m-1", "m-3"]


async def test_receipts_and_what_is_forgotten(place):
    await write(place.store, message(1, "slack:C1", "r-1"), message(2, "slack:C1", "r-1"), message(3, "slack:C1", "r-2"))
    outbox = place.store.outbox
    for each in await outbox.take(lease()):
        await outbox.settle(each, Settled(OutboxState.DELIVERED, NOW, receipt=f"of {each.id}"))
    assert [(each.destination, each.receipt) for each in await outbox.receipts("r-1")] == [("slack:C1", "of m-1")]
    assert await outbox.wants_courier()
    assert await outbox.forget(NOW) == 0
    assert await outbox.forget(LATER) == 2
    assert ids(await outbox.messages(MessageFilter())) == ["m-2"]
    (last,) = await outbox.take(lease())
    await outbox.settle(last, Settled(OutboxState.DELIVERED, NOW))
    assert not await outbox.wants_courier()
