"""Thousands of sessions whose rights change: all end in time, nothing passes before it was asked, others have their turns."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from structlog.testing import capture_logs

from gateway.access.model import Target
from gateway.proxy import rights_clock
from tests.support.crowd import Crowd, Member, crowd, writing
from tests.support.snapshots import ALICE
from tests.support.wire import query

MANY = 9_900
SECONDS = 1.0
ASKED = query("SELECT 1")
TOLD = b"C57P01\0"
ROW = b"D\0\0\0\x06\0\0"


async def until(done: Callable[[], bool]) -> int:
    """How many turns others had before it was so. Of the thread's own time it may take a second: others use the machine, too."""
    turns, late_at = 0, time.thread_time() + SECONDS
    while not done():
        assert time.thread_time() < late_at, "it takes too long"
        turns += 1
        await asyncio.sleep(0)
    return turns


async def until_over(done: Callable[[], bool]) -> None:
    """By the clock, and far too late for a right to end: the test says when it was to."""
    async with asyncio.timeout(15):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def told_why(member: Member) -> bool:
    return TOLD in member.client.said and member.client.closed and member.server.closed


async def test_a_lockdown_ends_all_within_a_second_and_others_have_their_turns() -> None:
    with crowd() as found:
        await found.grow(MANY)
        found.store.publish(writing(lockdown="an exercise"))
        assert await until(lambda: not found.live) > 20
        assert all(map(told_why, found.members))
        assert not found.failed


async def test_nothing_of_a_session_passes_before_it_was_asked() -> None:
    """Neither what its client sends nor what its server answers: it is the first thing that happens after the change."""
    with crowd() as found:
        await found.grow(300)
        asks, hears, rests = found.members[-1], found.members[-2], found.members[-3]
        hears.session.data_received(ASKED)
        before = [len(each.server.said) for each in (asks, hears)], len(hears.client.said)
        found.store.publish(writing(lockdown="an exercise"))
        asks.session.data_received(ASKED)
        hears.session.upstream_data(ROW)
        assert told_why(asks)
        assert TOLD in hears.client.said
        assert asks.server.said[before[0][0] :] == b"X\0\0\0\x04"  # Terminate
        assert ROW not in hears.client.said[before[1] :]
        assert not rests.session.ended
        await until(lambda: not found.live)
        assert all(TOLD in each.client.said for each in found.members)


async def test_who_keeps_the_right_goes_on_by_the_new_one() -> None:
    with crowd() as found:
        await found.grow(300)
        asks = found.members[-1]
        changed = writing(user=replace(ALICE, read_only=False), until=datetime.now(UTC) + timedelta(days=1))
        found.store.publish(changed)
        asks.session.data_received(ASKED)
        assert asks.server.said == ASKED
        assert asks.session.lease.valid_until == changed.grants[ALICE.id][0].valid_until
        await until(lambda: not found.worker.registry.unasked)
        assert {each.session.lease.valid_until for each in found.members} == {asks.session.lease.valid_until}


async def test_changes_that_follow_each_other_keep_nobody_waiting() -> None:
    """Whoever has a change after the other is asked between them: a round goes on where it was."""
    with crowd() as found:
        await found.grow(2_000)
        for _ in range(20):
            found.store.publish(writing())
            await asyncio.sleep(0)
        found.store.publish(writing(lockdown="an exercise"))
        for _ in range(20):
            await asyncio.sleep(0)
            found.store.publish(writing(lockdown="an exercise"))
        await until(lambda: not found.live)


async def test_they_end_when_their_time_is_over_and_not_before() -> None:
    with crowd() as found:
        await found.grow(1_000)
        ends_at = rights_clock.now() + timedelta(seconds=2)
        found.store.publish(writing(until=ends_at))
        await until_over(lambda: found.live < 1_000)
        assert rights_clock.now() >= ends_at
        await until(lambda: not found.live)
        assert all(map(told_why, found.members))


async def test_of_thousands_that_end_by_the_clock_some_are_looked_up_in_each_turn() -> None:
    """No turn puts all of them among those to be asked; and all end."""
    with crowd() as found:
        await found.grow(3_000)
        registry, most = found.worker.registry, 0
        found.store.publish(writing(until=rights_clock.now() + timedelta(seconds=1.5)))
        await until(lambda: not registry.unasked)
        async with asyncio.timeout(15):
            while found.live:
                await asyncio.sleep(0)
                most = max(most, len(registry.unasked))
        assert 0 < most < 3_000
        assert all(map(told_why, found.members))


async def test_an_end_that_comes_closer_counts_and_one_that_is_put_off_does_not() -> None:
    with crowd(writing(until=datetime.now(UTC) + timedelta(hours=1))) as found:
        await found.grow(50)
        found.store.publish(writing(until=datetime.now(UTC) + timedelta(seconds=1)))
        await until(lambda: not found.worker.registry.unasked)
        ends_at = rights_clock.now() + timedelta(seconds=3)
        found.store.publish(writing(until=ends_at))
        await until_over(lambda: found.live < 50)
        assert rights_clock.now() >= ends_at
        await until(lambda: not found.live)


@pytest.mark.parametrize("jump", [-86_400.0, -3_600.0, 3_600.0])
async def test_a_clock_that_is_set_lengthens_nothing(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back: they end when they would have. On: at once, if it is past their end."""
    shift = timedelta(0)
    clock = rights_clock.RightsClock(lambda: datetime.now(UTC) + shift)
    monkeypatch.setattr(rights_clock, "_CLOCK", clock)
    with crowd() as found:
        await found.grow(200)
        began = time.monotonic()
        found.store.publish(writing(until=clock.now() + timedelta(seconds=1.5)))
        shift = timedelta(seconds=jump)
        await until_over(lambda: not found.live)
        lasted = time.monotonic() - began
        assert lasted < 15 if jump > 0 else lasted > 1.4


async def test_what_cannot_be_decided_is_no() -> None:
    with crowd() as found:
        await found.grow(3)
        broken = found.members[1].session
        broken.standing.lease = replace(broken.lease, target=cast("Target", None))
        with capture_logs() as logged:
            found.store.publish(writing())
            await until(lambda: broken.ended)
        assert "a session's rights could not be decided" in {each["event"] for each in logged}
        await until(lambda: not found.worker.registry.unasked)
        assert found.live == 2


async def test_a_store_that_is_too_stale_ends_all() -> None:
    with crowd() as found:
        await found.grow(500)
        current = found.worker.current
        store = current.now.store.model_copy(update={"on_stale": "end"})
        current.replace(current.now.model_copy(update={"store": store}))
        found.store.stale_for_seconds = current.now.store.end_after_seconds + 1
        await until_over(lambda: not found.live)


def idle_touches(found: Crowd) -> int:
    registry = found.worker.registry
    return len(registry.attended) + len(registry.gated) + len(registry.unasked)


async def test_who_rests_is_not_touched_at_all() -> None:
    """Neither limits nor an end, and its client is read from."""
    with crowd() as found:
        await found.grow(100)
        for member in found.members:
            member.session.data_received(ASKED)
        assert idle_touches(found) == 0
        assert found.worker.registry._instants.take(datetime.max.replace(tzinfo=UTC), 1) == []
