"""R15: whoever decides about an access request at the same moment, exactly one of them is heard, on each kind of store."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from gateway.access.request_record import AccessRequest, State, Word
from gateway.services.approval_terms import NamedStep
from gateway.services.errors import ServiceError
from gateway.store.errors import StoreUnavailableError
from gateway.store.sql_store import SqlStore
from tests.store.conftest import StoreHere
from tests.support.requesting import HOUR, READING, Clock, Desk, desk_at, fill


async def _tried(work: Callable[[], Awaitable[AccessRequest | tuple[int, ...]]]) -> str:
    """What came of it: a state, or the rule that refused it. Whom the store had no time for asks again, as callers do."""
    while True:
        try:
            found = await work()
        except ServiceError as error:
            return error.rule
        except StoreUnavailableError:
            await asyncio.sleep(random.random())  # as a caller would: not all at once again
            continue
        return found.state.value if isinstance(found, AccessRequest) else f"swept {len(found)}"


async def test_r15_of_a_hundred_who_decide_at_once_one_is_heard(place: StoreHere):
    desk = desk_at(place.where)
    await fill(desk)
    await desk.policy(decide_within_seconds=60)
    request = await desk.ask(duration_seconds=8 * HOUR)
    late = Desk(SqlStore(place.where, clock=(later := Clock(desk.clock.now + timedelta(seconds=61)))), later)
    names = ("ben", "cam", "dee")
    works = [
        *(partial(desk.decide, request, names[number % 3]) for number in range(30)),
        *(partial(desk.decide, request, names[number % 3], Word.NO) for number in range(30)),
        *(partial(desk.cancel, request) for _ in range(20)),
        *(late.sweep for _ in range(20)),
    ]
    ordered = [works[number * 37 % 100] for number in range(100)]
    came = Counter(await asyncio.gather(*map(_tried, ordered)))
    found = await desk.now(request)
    heard = {State.ACTIVE: "approved"}.get(found.state, found.state.value)
    assert [action for _, action in await desk.events()] == ["created", heard]
    by_word = Counter(
        {"active": came["active"], "denied": came["denied"], "cancelled": came["cancelled"], "expired": came["swept 1"]}
    )
    assert +by_word == {found.state.value: 1}
    assert len(await desk.grants()) == (found.state is State.ACTIVE)
    assert set(came) <= {found.state.value, "request-not-pending", "request-not-open", "swept 0", "swept 1"}


async def test_r16_of_many_who_approve_at_once_each_counts_once(place: StoreHere):
    desk = desk_at(place.where)
    await fill(desk)
    await desk.policy(steps=(NamedStep(("group:approvers",), 3),))
    request = await desk.ask()
    works = [partial(desk.decide, request, ("ben", "cam", "dee")[number % 3]) for number in range(18)]
    came = Counter(await asyncio.gather(*map(_tried, works)))
    assert (came["pending"], came["active"]) == (2, 1)
    assert (await desk.now(request)).approver_ids == {
        user.id for user in (await desk.store.read()).users.values() if user.name in ("ben", "cam", "dee")
    }
    assert len(await desk.grants()) == 1


async def test_who_asks_the_same_many_times_at_once_asks_once(place: StoreHere):
    desk = desk_at(place.where)
    await fill(desk)
    found = await asyncio.gather(*(desk.ask(READING) for _ in range(5)))
    assert {each.number for each in found} == {1}
    numbers = await asyncio.gather(*(desk.ask(READING, by=name, target_name="crm") for name in ("ana", "ben", "cam", "eve")))
    assert sorted(each.number for each in numbers) == [2, 3, 4, 5]


async def test_what_ends_and_is_told_is_one_transaction(place: StoreHere):
    """The same story on each kind of store: rows, events and messages come and go together."""
    desk = desk_at(place.where)
    await fill(desk)
    request = await desk.given(environment_name="prod")
    assert [len(await desk.grants()), len(await desk.messages("approved"))] == [2, 2]
    desk.clock.go(seconds=HOUR)
    assert await desk.sweep() == (1,)
    assert [len(await desk.grants()), len(await desk.messages("expired"))] == [0, 2]
    snapshot = await desk.store.read()
    assert set(snapshot.endings.values()) == {"request 1 has expired"}
    assert (await desk.now(request)).state is State.EXPIRED
