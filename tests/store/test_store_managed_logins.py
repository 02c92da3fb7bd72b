"""Managed logins in a store: they come back as they were put, and outlive their people; a gateway has one id, for good."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.access.managed import ManagedKey, ManagedLogin, ManagedMode, ManagedState
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.store.backups import copy_store
from gateway.store.errors import StoreError
from gateway.store.places import SqlitePlace
from gateway.store.sql_store import SqlStore
from tests.support.snapshots import SALES

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
EVENT = AdminEvent("system", "managed_login.begun", "m", "sales", "")


def login_of(user_id: str) -> ManagedLogin:
    key = ManagedKey(SALES.id, AccessMode.READ_WRITE, user_id, "g-1")
    return ManagedLogin("m", key, "alice", "pgb_alice_000000", "app_rw", b"\x00sealed", NOW, ManagedState.KEPT, NOW, "said why")


async def test_they_come_back_and_outlive_their_people(place, tmp_path):
    await place.add_user("alice")
    assert not await place.store.has_managed()
    async with place.store.begin() as work:
        login = login_of(work.snapshot.users["alice"].id)
        work.put(login)
        work.put(replace(SALES, managed=ManagedMode.PER_GRANT))
        version = await work.commit(EVENT)
    stored = replace(login, version=version)
    snapshot = await place.store.read()
    assert snapshot.managed_logins == (stored,)
    assert snapshot.managed[login.key] == stored
    assert snapshot.targets["sales"].managed is ManagedMode.PER_GRANT
    assert await place.store.has_managed()
    async with place.store.begin() as work:
        work.remove(work.snapshot.users["alice"])
        work.put(replace(work.snapshot.targets["sales"], managed=ManagedMode.OFF))
        await work.commit(EVENT)
    assert (await place.store.read()).managed_logins == (stored,)
    assert await place.store.has_managed()
    async with place.store.begin() as work:
        work.remove(work.snapshot.targets["sales"])
        with pytest.raises(StoreError):  # nobody would find its server again
            await work.commit(EVENT)
    copy = SqlitePlace(tmp_path / "copy.sqlite3")
    await copy_store(place.where, copy)
    assert (await SqlStore(copy).read()).managed_logins == (stored,)
    assert await SqlStore(copy).gateway_id() == await place.store.gateway_id()
    async with place.store.begin() as work:
        work.remove(stored)
        await work.commit(EVENT)
    assert not await place.store.has_managed()


async def test_a_gateway_has_one_id(place):
    found = await place.store.gateway_id()
    assert len(found) == 36
    await place.add_user("alice")
    assert await place.store.gateway_id() == found
