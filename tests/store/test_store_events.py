"""Admin events come back in their order, by what they say, page by page."""

from datetime import UTC, datetime

import pytest

from gateway.audit.admin_event import AdminEvent
from gateway.ports import SessionTermination
from gateway.store.sql_store import SqlStore

EVENTS = (
    AdminEvent("os:ana", "grant.created", "g-1", "alice on sales", "on call", {"mode": "read_only"}),
    AdminEvent("os:ana", "grant.revoked", "g-1", "alice on sales", "100% over_now"),
    AdminEvent("token:ci", "user.created", "u-2", "Bob", "back\\slash", {"groups": ("analysts",)}),
    AdminEvent("token:ci", "grants.listed", "x", "bob", ""),
)


@pytest.fixture
async def recorded(place):
    for minute, event in enumerate(EVENTS):
        store = SqlStore(place.where, clock=lambda minute=minute: datetime(2026, 1, 1, 0, minute, tzinfo=UTC))
        async with store.begin() as work:
            work.put(SessionTermination(f"s-{minute}", ""))
            await work.commit(event)
    return place.store


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [1, 2, 3, 4]),
        ({"since": datetime(2026, 1, 1, 0, 1, tzinfo=UTC), "until": datetime(2026, 1, 1, 0, 3, tzinfo=UTC)}, [2, 3]),
        ({"actor": "os:ana"}, [1, 2]),
        ({"actor": "os:"}, []),
        ({"action": "grant."}, [1, 2]),
        ({"action": "grant"}, [1, 2, 4]),
        ({"action": "Grant."}, []),
        ({"object_name": "alice on sales"}, [1, 2]),
        ({"object_name": "bob"}, [4]),
        ({"text": "ALICE"}, [1, 2]),
        ({"text": "analysts"}, [3]),
        ({"text": "READ_ONLY"}, [1]),
        ({"text": "0%"}, [2]),
        ({"text": "r_n"}, [2]),
        ({"text": "k\\s"}, [3]),
        ({"text": "%"}, [2]),
        ({"text": "bob", "actor": "token:ci", "action": "user."}, [3]),
        ({"limit": 2}, [3, 4]),
        ({"limit": 2, "before": 3}, [1, 2]),
        ({"limit": 2, "after": 1}, [2, 3]),
        ({"after": 4}, []),
        ({"before": 1, "limit": 5}, []),
        ({"after": 1, "before": 4}, [2, 3]),
        ({"after": 0, "limit": 1, "actor": "token:ci"}, [3]),
    ],
)
async def test_what_is_asked_for_is_found(recorded, asked, found):
    assert [each.sequence for each in await recorded.read_events(**asked)] == found


async def test_an_event_comes_back_as_it_was(recorded):
    assert [each.event for each in await recorded.read_events()] == list(EVENTS)
