"""A snapshot that is replaced goes a few parts at a time; who still has it, has all of it."""

import gc
from dataclasses import fields

from gateway.access.model import User
from gateway.store.letting_go import empty, empty_rows, parts_of
from gateway.store.queries import SELECTS, raw_store
from tests.store.directories import running, until
from tests.support.snapshots import entry, world


def test_who_still_has_a_snapshot_has_all_of_it():
    snapshot = world(of_user=(entry("10.1.0.0/16"),), terminated={"s-1": "x"})
    parts = parts_of(snapshot)
    assert {id(part) for part in parts} >= {id(user) for user in snapshot.users.values()}
    empty(parts)
    assert parts == []
    assert snapshot == world(of_user=(entry("10.1.0.0/16"),), terminated={"s-1": "x"})


def test_rows_are_gone_whatever_the_table():
    raw = raw_store(7, None, {name: list(range(1_201)) for name in SELECTS})
    empty_rows(raw)
    assert [each.name for each in fields(raw) if getattr(raw, each.name)] == ["revision"]


async def test_nothing_of_a_former_snapshot_stays(place):
    def users() -> int:
        return sum(type(each) is User and each.name == "zoe" for each in gc.get_objects())

    async with running(place) as directory:
        for name in ("zoe", "bob", "carol"):
            await place.add_user(name)
            await until(lambda name=name: name in directory.snapshot.users)
        gc.collect()
        await until(lambda: users() == 1)
