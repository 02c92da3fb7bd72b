"""A change, its event and the revision are one thing; what hangs on a deleted row goes with it."""

import asyncio
import sqlite3
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.model import ListMode
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.ports import SessionTermination
from gateway.secret import Secret
from gateway.store.errors import StoreConflictError, StoreUnavailableError
from gateway.store.events import read_events
from gateway.store.rows import to_text
from gateway.store.unit_of_work import SqlStore
from tests.support.snapshots import ALICE, GRANT, LATER, SALES, SOON, entry

EVENT = AdminEvent("os:test", "test.done", "id", "name", "because", {"n": 1, "b": True, "none": None, "list": ("a", "b")})


async def put(store, *rows):
    async with store.begin() as work:
        for row in rows:
            work.put(row)
        return await work.commit(EVENT)


async def remove(store, row):
    async with store.begin() as work:
        work.remove(row)
        return await work.commit(EVENT)


FULL = (
    replace(ALICE, valid_until=SOON),
    replace(SALES, ca_pem="pem", allowed_functions=frozenset({"shop.f"}), allowlist=ListMode.RESTRICT),
    replace(GRANT, valid_until=LATER),
    entry("10.0.0.0/8"),
    replace(entry("2001:db8::/32", SOON), target_id=SALES.id),
    replace(entry("192.0.2.7/32"), user_id=ALICE.id),
    SessionTermination("s-1", "off hours"),
)


async def test_everything_comes_back_as_it_was_put(place):
    await put(place.store, *FULL)
    user, target, grant, everywhere, of_target, of_user, termination = FULL
    snapshot = await place.store.read()
    assert snapshot.users == {"alice": user}
    assert snapshot.targets == {"sales": target}
    assert snapshot.grants == {user.id: (grant,)}
    assert snapshot.global_entries == (everywhere,)
    assert snapshot.target_entries == {target.id: (of_target,)}
    assert snapshot.user_entries == {user.id: (of_user,)}
    assert snapshot.terminated == {termination.session_id: termination.reason}
    assert snapshot.revision == 2


async def test_putting_again_keeps_what_hangs_on_it(place):
    await put(place.store, *FULL)
    await put(place.store, replace(FULL[0], enabled=False), replace(FULL[1], port=5433))
    snapshot = await place.store.read()
    assert snapshot.users["alice"].enabled is False
    assert snapshot.targets["sales"].port == 5433
    assert snapshot.grants == {ALICE.id: (FULL[2],)}
    assert snapshot.user_entries == {ALICE.id: (FULL[5],)}


async def test_a_target_loses_the_roles_it_no_longer_has(place):
    await put(place.store, SALES)
    await put(place.store, replace(SALES, roles={AccessMode.READ_ONLY: SALES.roles[AccessMode.READ_ONLY]}))
    assert set((await place.store.read()).targets["sales"].roles) == {AccessMode.READ_ONLY}


async def test_a_user_made_anew_inherits_nothing(place):
    await put(place.store, *FULL)
    await remove(place.store, FULL[0])
    await put(place.store, replace(ALICE, id="u-new"))
    snapshot = await place.store.read()
    assert snapshot.grants == {}
    assert snapshot.user_entries == {}
    assert snapshot.target_entries != {}


async def test_a_target_made_anew_inherits_nothing(place):
    await put(place.store, *FULL)
    await remove(place.store, FULL[1])
    await put(place.store, replace(SALES, id="t-new", roles={}))
    snapshot = await place.store.read()
    assert snapshot.grants == {}
    assert snapshot.target_entries == {}
    assert snapshot.targets["sales"].roles == {}
    with sqlite3.connect(place.file) as connection:
        assert connection.execute("SELECT count(*) FROM target_roles").fetchone() == (0,)


async def test_leaving_without_commit_changes_nothing(place):
    async with place.store.begin() as work:
        work.put(ALICE)
    assert (await place.store.read()).revision == 1
    assert await read_events(place.url) == []


async def test_a_row_that_does_not_go_in_takes_everything_back(place):
    with pytest.raises(StoreConflictError):
        await put(place.store, ALICE, replace(GRANT, target_id="nowhere"))
    snapshot = await place.store.read()
    assert (snapshot.revision, snapshot.users) == (1, {})
    assert await read_events(place.url) == []


async def test_each_commit_has_one_event_and_one_revision(place):
    for number in range(5):
        assert await put(place.store, SessionTermination(f"s-{number}", "")) == number + 2
    events = await read_events(place.url)
    assert [recorded.revision for recorded in events] == [2, 3, 4, 5, 6]
    assert {recorded.event.action for recorded in events} == {"test.done"}
    assert events[0].event == EVENT
    assert len({recorded.id for recorded in events}) == 5
    assert (datetime.now(UTC) - events[-1].at).total_seconds() < 5


async def test_events_are_read_by_time_and_number(place):
    for minute in range(4):
        clock = SqlStore(place.url, clock=lambda minute=minute: datetime(2026, 1, 1, 0, minute, tzinfo=UTC))
        await put(clock, SessionTermination(f"s-{minute}", ""))
    since, until = datetime(2026, 1, 1, 0, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 3, tzinfo=UTC)
    assert [recorded.at.minute for recorded in await read_events(place.url, since, until)] == [1, 2]
    assert [recorded.at.minute for recorded in await read_events(place.url, limit=2)] == [2, 3]


async def test_changes_at_once_wait_for_each_other(place):
    await asyncio.gather(*(place.add_user(f"user{number}") for number in range(8)))
    snapshot = await place.store.read()
    assert len(snapshot.users) == 8
    assert snapshot.revision == 9


async def test_changes_by_several_processes_all_arrive(place):
    program = (
        "import asyncio, sys; from gateway.store.unit_of_work import SqlStore; from gateway.services.users import *\n"
        "async def go():\n"
        "    for n in range(5): await create_user(SqlStore(sys.argv[1]), name=sys.argv[2] + str(n), actor='os:a', reason='')\n"
        "asyncio.run(go())"
    )
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, place.url, name, stderr=asyncio.subprocess.PIPE)
        for name in ("a", "b", "c")
    ]
    assert [(await process.communicate())[1] for process in started] == [b"", b"", b""]
    assert len((await place.store.read()).users) == 15
    assert len(await read_events(place.url)) == 15


async def test_a_locked_store_is_an_error_and_not_a_wait(place):
    other = sqlite3.connect(place.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreUnavailableError, match="locked"):
            await asyncio.wait_for(put(place.store, ALICE), 5)
    finally:
        other.close()
    assert await put(place.store, ALICE) == 2


async def test_errors_do_not_repeat_values(place):
    clash = replace(ALICE, id="u-2", verifier="verifier-canary")
    await put(place.store, ALICE)
    with pytest.raises(StoreConflictError) as caught:
        await put(place.store, clash)
    chain = f"{caught.value} {caught.value.__cause__}"
    assert "canary" not in chain


async def test_old_terminations_are_forgotten(place):
    early = SqlStore(place.url, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    late = SqlStore(place.url, clock=lambda: datetime(2026, 1, 9, tzinfo=UTC))
    await put(early, SessionTermination("old", ""))
    await put(late, SessionTermination("new", ""))
    assert set((await place.store.read()).terminated) == {"new"}


async def test_a_secret_is_not_in_the_files(place):
    secret = Secret("upstream-canary-92b1")
    role = replace(SALES.roles[AccessMode.READ_ONLY], sealed_secret=place.vault.seal("r-ro", secret))
    async with place.store.begin() as work:
        work.put(replace(SALES, roles={AccessMode.READ_ONLY: role}))
        await work.commit(EVENT)
        wal = (place.folder / "store.sqlite3-wal").read_bytes()
    assert role.sealed_secret in wal
    files = [path.read_bytes() for path in place.folder.iterdir()]
    assert not any(secret.reveal().encode() in content for content in [wal, *files])
    opened = (await place.store.read()).targets["sales"].roles[AccessMode.READ_ONLY]
    assert place.vault.open(opened).reveal() == secret.reveal()


INSTANTS = st.datetimes(timezones=st.timezones(), min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1))


@given(INSTANTS, INSTANTS)
def test_instants_as_text_sort_like_instants(one, other):
    assert (to_text(one) < to_text(other)) is (one.astimezone(UTC) < other.astimezone(UTC))
    assert datetime.fromisoformat(to_text(one)) == one.astimezone(UTC)


def test_an_instant_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        to_text(datetime(2026, 1, 1))
