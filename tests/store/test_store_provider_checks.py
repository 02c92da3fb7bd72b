"""With what an identity provider is asked again: kept apart from rights, and taken by one process at a time."""

import asyncio
from datetime import UTC, datetime, timedelta

from gateway.access.accounts import Account, Identity
from gateway.audit.admin_event import AdminEvent
from gateway.store.provider_checks import PlannedCheck, ProviderCheck
from gateway.store.sql_store import SqlStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


async def with_account(place, name: str) -> str:
    await place.add_user(name)
    async with place.store.begin() as work:
        user_id = work.snapshot.users[name].id
        work.put(Account(user_id, identity=Identity("https://id.example", name)))
        await work.commit(AdminEvent("system", "account.linked", user_id, name, ""))
    return user_id


def at(place, now: datetime) -> SqlStore:
    return SqlStore(place.where, clock=lambda: now)


async def test_a_check_is_taken_when_it_is_due_and_by_one(place):
    ids = [await with_account(place, name) for name in ("alice", "bob")]
    revision = (await place.store.read()).revision
    for each, due in zip(ids, (NOW, LATER), strict=True):
        await place.store.put_provider_check(ProviderCheck(each, b"sealed", NOW), due)
    assert await at(place, NOW - timedelta(seconds=1)).take_provider_checks(LATER, 10) == []
    taken = await asyncio.gather(*(at(place, NOW).take_provider_checks(LATER, 10) for _ in range(3)))
    assert [check for checks in taken for check in checks] == [ProviderCheck(ids[0], b"sealed", NOW)]
    assert {check.account_id for check in await at(place, LATER).take_provider_checks(LATER + timedelta(minutes=5), 10)} == set(
        ids
    )
    assert (await place.store.read()).revision == revision


async def test_a_check_goes_with_its_account(place):
    user_id = await with_account(place, "alice")
    await place.store.put_provider_check(ProviderCheck(user_id, b"one", NOW), NOW)
    await place.store.put_provider_check(ProviderCheck(user_id, b"two", LATER), NOW)
    assert await place.store.planned_checks() == [PlannedCheck(user_id, LATER, NOW)]
    (check,) = await at(place, NOW).take_provider_checks(NOW, 10)
    assert (check.sealed_refresh, check.vouched_at) == (b"two", LATER)
    async with place.store.begin() as work:
        work.remove(work.snapshot.accounts[user_id])
        await work.commit(AdminEvent("system", "account.deleted", user_id, "alice", ""))
    assert await at(place, LATER).take_provider_checks(LATER, 10) == []
    await place.store.put_provider_check(ProviderCheck(user_id, b"three", NOW), NOW)  # of nobody: passed over
    assert await at(place, LATER).take_provider_checks(LATER, 10) == []


async def test_a_check_can_be_dropped(place):
    user_id = await with_account(place, "alice")
    await place.store.put_provider_check(ProviderCheck(user_id, b"sealed", NOW), NOW)
    await place.store.drop_provider_check(user_id)
    await place.store.drop_provider_check(user_id)
    assert await at(place, LATER).take_provider_checks(LATER, 10) == []
