"""Who is at a work, and which passwords want to be changed: the same in both kinds of store."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateway.access.model import DatabaseRole
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.ports import TargetAdmin
from gateway.store.sql_store import SqlStore
from tests.support.snapshots import SALES

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVENT = AdminEvent("os:test", "x.y", "id", "sales", "")
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE


def at(place, seconds: float) -> SqlStore:
    return SqlStore(place.where, clock=lambda: NOW + timedelta(seconds=seconds))


async def test_a_lease_is_held_by_one_renewed_by_it_and_over_by_itself(place):
    taken = await asyncio.gather(*(at(place, 0).take_lease("rotation", f"gateway {n}", 10) for n in range(4)))
    assert sorted(taken) == [False, False, False, True]
    holder = f"gateway {taken.index(True)}"
    assert await at(place, 8).take_lease("rotation", holder, 10)
    assert not await at(place, 12).take_lease("rotation", "another", 10)
    assert await at(place, 12).take_lease("something else", "another", 10)
    await at(place, 12).drop_lease("rotation", "another")
    assert not await at(place, 12).take_lease("rotation", "another", 10)
    assert await at(place, 19).take_lease("rotation", "another", 10)
    assert not await at(place, 19).take_lease("rotation", holder, 10)
    await at(place, 19).drop_lease("rotation", "another")
    assert await at(place, 19).take_lease("rotation", holder, 10)


async def test_passwords_with_a_schedule_or_half_done_are_found(place):
    found = DatabaseRole("r-ro", "app_ro", b"\0sealed")
    async with at(place, 0).begin() as work:
        work.put(replace(SALES, roles={RO: found}))
        await work.commit(EVENT)
    assert await place.store.password_ages() == []
    async with at(place, 60).begin() as work:
        sales = work.snapshot.targets[SALES.name]
        assert sales.roles[RO].changed_at == NOW
        half_done = DatabaseRole("r-rw", "app_rw", b"\0sealed", b"\0sealed")
        work.put(replace(sales, roles={**sales.roles, RW: half_done}))
        work.put(TargetAdmin(sales.id, "admin", b"\0sealed", NOW, b"\0sealed"))
        await work.commit(EVENT)
    seen = [(each.role, each.half_done, each.changed_at) for each in await place.store.password_ages()]
    assert seen == [("admin", True, NOW), ("read_write", True, NOW + timedelta(seconds=60))]
    async with place.store.begin() as work:
        work.put(replace(work.snapshot.targets[SALES.name], rotate_every_days=7))
        await work.commit(EVENT)
    (_, reader, writer) = await place.store.password_ages()
    assert (reader.role, reader.half_done, reader.every_days, reader.changed_at) == ("read_only", False, 7, NOW)
    assert (writer.role, writer.half_done, writer.every_days) == ("read_write", True, 7)
