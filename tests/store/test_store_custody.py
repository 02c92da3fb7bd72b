"""What is kept of targets beside the snapshot: by which login they are administered, what they had before, who else uses them."""

import asyncio
from datetime import UTC, datetime, timedelta

from gateway.access.model import DEFAULT_ENVIRONMENT, DatabaseRole, Target
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.ports import FormerLogin, OutsideLook, OutsideUse, TargetAdmin, TargetObservation
from gateway.services.target_facts import Place
from gateway.services.targets import sketch_target
from gateway.store.sql_store import SqlStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RO = AccessMode.READ_ONLY


async def with_target(place, name: str = "shop") -> Target:
    target = sketch_target(name, Place("db.internal", 5432, "webshop"), DEFAULT_ENVIRONMENT)
    await changed(place, target, put=[target])
    return target


async def changed(place, target: Target, *, put=(), remove=()) -> None:
    async with place.store.begin() as work:
        for row in put:
            work.put(row)
        for row in remove:
            work.remove(row)
        await work.commit(AdminEvent("system", "target.adopted", target.id, target.name, ""))


def at(place, now: datetime) -> SqlStore:
    return SqlStore(place.where, clock=lambda: now)


async def test_an_admin_login_is_kept_replaced_and_goes_with_its_target(place):
    target = await with_target(place)
    first = TargetAdmin(target.id, "postgres", b"sealed", NOW)
    await changed(place, target, put=[first])
    assert await place.store.target_admin(target.id) == first
    second = TargetAdmin(target.id, "admin", b"other", NOW, b"pending", NOW)
    await changed(place, target, put=[second])
    async with place.store.begin() as work:
        assert await work.target_admin(target.id) == second
    await changed(place, target, remove=[target])
    assert await place.store.target_admin(target.id) is None


async def test_former_logins_are_had_back_as_they_were(place):
    target = await with_target(place)
    former = FormerLogin(target.id, RO, DatabaseRole("role-1", "app", b"sealed"), NOW)
    await changed(place, target, put=[former])
    assert await place.store.former_logins(target.id) == [former]
    assert (await place.store.read()).targets["shop"].roles == {}
    await changed(place, target, remove=[former])
    assert await place.store.former_logins(target.id) == []


async def test_a_look_that_is_due_is_taken_by_one_and_comes_again(place):
    target = await with_target(place)
    observation = TargetObservation(target.id, 300, 7)
    await changed(place, target, put=[observation])
    assert await place.store.target_observation(target.id) == observation
    later = datetime.now(UTC) + timedelta(seconds=10)
    taken = await asyncio.gather(*(at(place, later).take_observations() for _ in range(3)))
    assert [each for found in taken for each in found] == [observation]
    assert await at(place, later + timedelta(seconds=299)).take_observations() == []
    assert list(await at(place, later + timedelta(seconds=300)).take_observations()) == [observation]
    await changed(place, target, remove=[observation])
    assert await place.store.target_observation(target.id) is None


async def test_what_was_seen_is_kept_for_as_long_as_it_is_to_be(place):
    target = await with_target(place)
    observation = TargetObservation(target.id, 300, 7)
    looks = [
        OutsideLook(NOW - timedelta(days=8), (OutsideUse("old", "webshop", "10.0.0.1", "psql", 1),)),
        OutsideLook(NOW - timedelta(days=1), (), "the server did not answer"),
        OutsideLook(NOW, (OutsideUse("tunnel", "webshop", "local", "Ä 'quoted'", 3),)),
    ]
    for look in looks:
        await place.store.record_look(observation, look)
    assert await place.store.outside_looks(target.id, NOW - timedelta(days=30)) == looks[1:]
    assert await place.store.outside_looks(target.id, NOW - timedelta(hours=1)) == looks[2:]
    revision = (await place.store.read()).revision
    await place.store.record_look(TargetObservation("gone", 300, 7), looks[2])  # of nobody: passed over
    assert (await place.store.read()).revision == revision
