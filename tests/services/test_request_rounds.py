"""What time makes of requests is written down by the supervisor, within about a second."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.access.request_record import State
from gateway.services import groups
from gateway.store.migrate import upgrade
from gateway.store.places import locate
from gateway.store.sql_store import SqlStore
from gateway.supervision.request_rounds import RequestRounds
from tests.support.requesting import BY, Desk, desk_at, fill

_PATIENCE_SECONDS = 30.0


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    url = f"sqlite+aiosqlite:///{tmp_path}/store.sqlite3"
    await upgrade(locate(url))
    desk = desk_at(url)
    await fill(desk)
    return desk


async def _until_written(desk: Desk, *actions: str) -> None:
    rounds = asyncio.create_task(RequestRounds(store := SqlStore(desk.store._place), store).run())
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            seen: list[str] = []
            while seen != [*actions]:
                await asyncio.sleep(0.05)
                seen = [action for actor, action in await desk.events() if actor == "system" and action in actions]
    finally:
        rounds.cancel()
        await asyncio.wait([rounds])


async def test_a_right_that_ends_and_a_request_that_nobody_decides_about(desk: Desk):
    await desk.policy(decide_within_seconds=60)
    desk.clock.now = datetime.now(UTC) - timedelta(seconds=58)
    given, waiting = await desk.given(duration_seconds=60), await desk.ask(target_name="crm")
    await _until_written(desk, "expired", "expired")
    found = await desk.now(given)
    assert found.state is State.EXPIRED
    assert found.ended_at is not None
    assert found.ends_at is not None
    assert found.ended_at - found.ends_at < timedelta(seconds=5)
    assert await desk.grants() == ()
    assert (await desk.now(waiting)).state is State.EXPIRED


async def test_a_change_of_the_store_is_seen(desk: Desk):
    desk.clock.now = datetime.now(UTC)
    await desk.policy(bound_to_approvers=True)
    request = await desk.given()
    await groups.remove_member(desk.store, group_name="approvers", user_name="ben", **BY)
    await _until_written(desk, "revoked")
    assert (await desk.now(request)).state is State.REVOKED
