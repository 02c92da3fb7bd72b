"""What becomes of messages: delivered once, in order, tried again, given up in sight; and nothing keeps others waiting."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.access.webhooks import TEST_TOPIC
from gateway.audit.admin_event import AdminEvent
from gateway.notify.courier import Courier
from gateway.notify.delivering import Dead, Delivered, Deliverer, Later, Outcome
from gateway.ports import OutboxMessage, OutboxState
from gateway.ports.outbox import MessageFilter
from gateway.settings.notify import Notify
from gateway.store.errors import StoreUnavailableError
from gateway.store.migrate import upgrade
from gateway.store.outbox import Lease, Settled
from gateway.store.sql_store import SqlStore

SETTINGS = Notify(timeout_seconds=1.0, attempts=3)
Answer = Callable[[OutboxMessage], Awaitable[Outcome]]


@dataclass
class Place:
    """Where messages go: what came, and how many at a time."""

    answer: Answer
    came: list[str] = field(default_factory=list)
    here: Counter[str] = field(default_factory=Counter)
    most: int = 0
    twice: bool = False

    async def deliver(self, message: OutboxMessage) -> Outcome:
        self.came.append(message.id)
        self.twice = self.twice or self.here[message.id] > 0
        self.here[message.id] += 1
        self.most = max(self.most, self.here.total())
        try:
            return await self.answer(message)
        finally:
            self.here[message.id] -= 1


async def takes(_message: OutboxMessage) -> Outcome:
    await asyncio.sleep(0.01)
    return Delivered("17")


def now() -> datetime:
    return datetime.now(UTC)


def message(number: int, destination: str = "webhook:a", request_id: str | None = None, topic: str = "t") -> OutboxMessage:
    return OutboxMessage(f"m-{number}", topic, destination, "{}", now(), now(), request_id)


@pytest.fixture
async def store(tmp_path: Path) -> SqlStore:
    url = f"sqlite+aiosqlite:///{tmp_path}/store.sqlite3"
    await upgrade(url)
    return SqlStore(url)


async def write(store: SqlStore, *messages: OutboxMessage) -> None:
    async with store.begin() as work:
        for each in messages:
            work.put(each)
        await work.commit(AdminEvent("system", "access_request.created", "r", "1", ""))


@contextlib.asynccontextmanager
async def courier(outbox, places: dict[str, Deliverer], **more) -> AsyncIterator[Courier]:
    settings = more.pop("settings", SETTINGS)
    made = Courier(outbox, lambda destination: places[destination], settings, now, first_pause_seconds=0.1)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        await made.stop(2.0)
        await running


async def until(store: SqlStore, condition: Callable[[list[OutboxMessage]], bool]) -> list[OutboxMessage]:
    async with asyncio.timeout(20):
        while True:
            found = await store.outbox.messages(MessageFilter(limit=1000))
            if condition(found):
                return found
            await asyncio.sleep(0.05)


def ended(messages: list[OutboxMessage]) -> bool:
    return all(each.state is not OutboxState.PENDING for each in messages)


async def test_two_couriers_deliver_each_message_once_and_in_order(store: SqlStore) -> None:
    await write(store, *(message(number, request_id=f"r-{number % 5}") for number in range(40)))
    place = Place(takes)
    async with courier(store.outbox, {"webhook:a": place}), courier(store.outbox, {"webhook:a": place}):
        found = await until(store, ended)
    assert sorted(place.came) == sorted(each.id for each in found)
    assert not place.twice
    for request in range(5):
        numbers = [number for each in place.came if (number := int(each[2:])) % 5 == request]
        assert numbers == sorted(numbers)
    assert {(each.state, each.receipt, each.attempts) for each in found} == {(OutboxState.DELIVERED, "17", 1)}


async def test_a_place_that_does_not_answer_keeps_nobody_waiting(store: SqlStore) -> None:
    async def hangs(_message: OutboxMessage) -> Outcome:
        await asyncio.sleep(60)
        return Delivered()

    down, up = Place(hangs), Place(takes)
    await write(store, *(message(number, "webhook:a", f"r-{number}") for number in range(60)))
    await write(store, *(message(100 + number, "mail:b", f"r-{number}") for number in range(20)))
    async with courier(store.outbox, {"webhook:a": down, "mail:b": up}):
        await until(store, lambda found: ended([each for each in found if each.destination == "mail:b"]))
        assert down.most <= 4
        assert len(down.came) <= 12  # and the others to it were not tried in vain
    assert len(up.came) == 20


async def test_what_fails_is_tried_again_as_the_other_side_asks_and_then_given_up(store: SqlStore) -> None:
    tries: list[tuple[str, float]] = []

    async def refuses(each: OutboxMessage) -> Outcome:
        tries.append((each.id, asyncio.get_running_loop().time()))
        return Later(1.0, "not now") if len(tries) == 1 else Later(None, "still not")

    await write(store, message(1, request_id="r"), message(2, request_id="r"))
    async with courier(store.outbox, {"webhook:a": Place(refuses)}):
        found = await until(store, lambda found: any(each.state is OutboxState.DEAD for each in found))
        first = next(each for each in found if each.id == "m-1")
        assert (first.state, first.attempts, first.last_error) == (OutboxState.DEAD, 3, "still not")
        assert [each for each, _ in tries[:3]] == ["m-1"] * 3
        assert tries[1][1] - tries[0][1] >= 0.9
        await until(store, ended)  # and the one behind it had its turn


async def test_what_cannot_be_delivered_is_given_up_at_once_and_what_is_not_wanted_is_no_failure(store: SqlStore) -> None:
    async def says(each: OutboxMessage) -> Outcome:
        match each.id:
            case "m-1":
                return Dead("no such place")
            case "m-2":
                return Delivered(dropped="no address")
            case _:
                raise RuntimeError("secret-canary")

    await write(store, message(1), message(2), message(3, topic=TEST_TOPIC))
    async with courier(store.outbox, {"webhook:a": Place(says)}):
        found = {each.id: each for each in await until(store, ended)}
    assert (found["m-1"].state, found["m-1"].last_error) == (OutboxState.DEAD, "no such place")
    assert (found["m-2"].state, found["m-2"].last_error) == (OutboxState.DELIVERED, "no address")
    assert (found["m-3"].state, found["m-3"].attempts) == (OutboxState.DEAD, 1)  # of a test, the first try tells
    assert "secret-canary" not in found["m-3"].last_error


async def test_who_kills_every_courier_is_given_up_some_day(store: SqlStore) -> None:
    before = now() - timedelta(hours=10)
    await write(store, replace(message(1), next_at=before))
    for attempt in range(SETTINGS.attempts):  # taken, and never heard of again
        at = before + timedelta(hours=attempt)
        assert await store.outbox.take(Lease(at, at, 10, 10))
    place = Place(takes)
    async with courier(store.outbox, {"webhook:a": place}):
        (found,) = await until(store, ended)
    assert (found.state, place.came) == (OutboxState.DEAD, [])


async def test_a_store_that_is_gone_for_a_moment_loses_nothing(store: SqlStore) -> None:
    class Shaky:
        """Every other question is not answered."""

        def __init__(self) -> None:
            self.asked = Counter[str]()

        def _perhaps(self, what: str) -> None:
            self.asked[what] += 1
            if self.asked[what] % 2:
                raise StoreUnavailableError("gone")

        async def take(self, lease: Lease) -> list[OutboxMessage]:
            self._perhaps("take")
            return await store.outbox.take(lease)

        async def settle(self, each: OutboxMessage, settled: Settled) -> bool:
            self._perhaps("settle")
            return await store.outbox.settle(each, settled)

        async def next_at(self) -> datetime | None:
            return await store.outbox.next_at()

        async def forget(self, before: datetime) -> int:
            return await store.outbox.forget(before)

    await write(store, *(message(number) for number in range(6)))
    place = Place(takes)
    async with courier(Shaky(), {"webhook:a": place}):
        found = await until(store, ended)
    assert sorted(place.came) == [f"m-{number}" for number in range(6)]  # each once: it was written down when it could be
    assert {each.state for each in found} == {OutboxState.DELIVERED}


async def test_at_the_end_what_is_on_its_way_may_arrive(store: SqlStore) -> None:
    begun = asyncio.Event()

    async def slow(_message: OutboxMessage) -> Outcome:
        begun.set()
        await asyncio.sleep(0.3)
        return Delivered()

    await write(store, message(1))
    async with courier(store.outbox, {"webhook:a": Place(slow)}):
        await asyncio.wait_for(begun.wait(), 10)
    (found,) = await store.outbox.messages(MessageFilter())
    assert found.state is OutboxState.DELIVERED
