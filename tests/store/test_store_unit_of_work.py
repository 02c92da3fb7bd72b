"""A change, its event and the revision are one thing; what hangs on a deleted row goes with it."""

import asyncio
import contextlib
import sqlite3
import time
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.model import ApiToken, Grant, Group, ListMode, TokenScope
from gateway.access_mode import AccessMode, GrantOption
from gateway.audit.admin_event import AdminEvent
from gateway.ports import IdempotencyClaim, Lockdown, SessionTermination
from gateway.store.errors import StoreConflictError, StoreUnavailableError
from gateway.store.sql_store import SqlStore
from gateway.store.values import to_text
from tests.store.writers import user
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


ANALYSTS = Group("gr-analysts", "analysts", frozenset({ALICE.id}))

FULL = (
    replace(ALICE, valid_until=SOON),
    replace(SALES, ca_pem="pem", allowed_functions=frozenset({"shop.f"}), allowlist=ListMode.RESTRICT),
    replace(GRANT, valid_until=LATER, options=frozenset({GrantOption.TEMPORARY_TABLES})),
    Grant(
        "g-2", ANALYSTS.id, SALES.id, AccessMode.READ_WRITE, None, options=frozenset(GrantOption), max_changed_rows=2**31 - 1
    ),
    entry("10.0.0.0/8"),
    replace(entry("2001:db8::/32", SOON), target_id=SALES.id),
    replace(entry("192.0.2.7/32"), user_id=ALICE.id),
    ANALYSTS,
    ApiToken("k-1", "ci", bytes(range(32)), TokenScope.READ, SOON, LATER, "os:ana"),
    SessionTermination("s-1", "off hours"),
    Lockdown("breach"),
)


async def test_everything_comes_back_as_it_was_put(place):
    await put(place.store, *FULL)
    user, target, grant, of_group, everywhere, of_target, of_user, group, token, termination, lockdown = map(at_version_2, FULL)
    snapshot = await place.store.read()
    assert snapshot.users == {"alice": user}
    assert snapshot.groups == {"analysts": group}
    assert snapshot.targets == {"sales": target}
    assert snapshot.grants == {user.id: (grant,), group.id: (of_group,)}
    assert snapshot.global_entries == (everywhere,)
    assert snapshot.target_entries == {target.id: (of_target,)}
    assert snapshot.user_entries == {user.id: (of_user,)}
    assert snapshot.tokens == {"ci": token}
    assert snapshot.terminated == {termination.session_id: termination.reason}
    assert snapshot.lockdown == lockdown.reason
    assert snapshot.revision == 2


def at_version_2(row):
    return replace(row, version=2) if hasattr(row, "version") else row


async def test_the_order_of_puts_does_not_matter(place):
    await put(place.store, *reversed(FULL))
    assert (await place.store.read()).grants[ANALYSTS.id][0].holder_id == ANALYSTS.id


async def test_only_what_is_put_gets_a_new_version(place):
    await put(place.store, *FULL)
    await put(place.store, replace(ALICE, enabled=False), replace(ANALYSTS, members=frozenset()))
    snapshot = await place.store.read()
    assert (snapshot.users["alice"].version, snapshot.groups["analysts"].version) == (3, 3)
    assert snapshot.targets["sales"].version == snapshot.tokens["ci"].version == snapshot.grants[ALICE.id][0].version == 2
    assert snapshot.groups["analysts"].members == frozenset()


async def test_a_group_made_anew_inherits_nothing(place):
    await put(place.store, *FULL)
    await remove(place.store, ANALYSTS)
    await put(place.store, replace(ANALYSTS, id="gr-new", members=frozenset()))
    snapshot = await place.store.read()
    assert set(snapshot.grants) == {ALICE.id}
    assert snapshot.groups["analysts"].members == frozenset()


async def test_a_deleted_user_leaves_its_groups(place):
    await put(place.store, *FULL)
    await remove(place.store, ALICE)
    assert (await place.store.read()).groups["analysts"].members == frozenset()


async def test_a_holder_may_have_several_grants_for_one_target_and_mode(place):
    await put(place.store, *FULL)
    for grant in (FULL[2], FULL[3]):
        await put(place.store, replace(grant, id=f"{grant.id}-again"))
        held = (await place.store.read()).grants[grant.holder_id]
        assert {each.id for each in held} >= {grant.id, f"{grant.id}-again"}


@pytest.mark.parametrize("holders", ["NULL, NULL", "'u-alice', 'gr-analysts'"])
async def test_a_grant_has_exactly_one_holder(place, holders):
    await put(place.store, *FULL)
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.CheckViolation)):
        place.run(
            f"INSERT INTO grants (id, target_id, mode, version, user_id, group_id) VALUES ('g', 't-sales', 'x', 1, {holders})"
        )


async def test_a_lockdown_is_lifted(place):
    await put(place.store, Lockdown("breach"))
    await put(place.store, Lockdown(None))
    assert (await place.store.read()).lockdown is None
    await put(place.store, Lockdown("breach"))
    await remove(place.store, Lockdown(None))
    assert (await place.store.read()).lockdown is None


async def test_a_row_may_take_the_name_of_one_that_goes(place):
    await put(place.store, *FULL)
    async with place.store.begin() as work:
        work.put(replace(ALICE, id="u-other"))
        work.remove(ALICE)
        await work.commit(EVENT)
    assert (await place.store.read()).users["alice"].id == "u-other"


async def test_several_events_share_a_revision_and_are_counted_through(place):
    for number in (1, 3, 2):
        async with place.store.begin() as work:
            work.put(ALICE)
            events = [replace(EVENT, object_name=f"{number}.{each}") for each in range(number)]
            await work.commit(events[0], *events[1:])
    recorded = await place.store.read_events()
    assert [(each.revision, each.sequence) for each in recorded] == [(2, 1), (3, 2), (3, 3), (3, 4), (4, 5), (4, 6)]
    assert [each.event.object_name for each in recorded] == ["1.0", "3.0", "3.1", "3.2", "2.0", "2.1"]
    shipped, last = [], 0
    while batch := await place.store.events_after(last, 4):
        shipped += batch
        last = batch[-1].sequence
    assert shipped == recorded


async def test_a_claim_is_taken_once(place):
    claim = IdempotencyClaim("key", "request")
    assert await place.store.find_claim("key") is None
    for name, outcome in (("alice", contextlib.nullcontext()), ("bob", pytest.raises(StoreConflictError))):
        with outcome:
            async with place.store.begin() as work:
                work.put(user(name))
                work.claim(claim)
                await work.commit(EVENT, EVENT)
    found = await place.store.find_claim("key")
    assert (found.request_hash, found.revision, found.event.sequence, found.event.event) == ("request", 2, 1, EVENT)
    assert set((await place.store.read()).users) == {"alice"}


async def test_an_old_claim_is_forgotten(place):
    for day in (1, 9):
        async with SqlStore(place.where, clock=lambda day=day: datetime(2026, 1, day, tzinfo=UTC)).begin() as work:
            work.claim(IdempotencyClaim("key", f"request {day}"))
            await work.commit(EVENT)
    assert (await place.store.find_claim("key")).request_hash == "request 9"


async def test_whoever_asked_hears_of_each_commit(place):
    heard = []
    store = SqlStore(place.where, on_commit=heard.append)
    await put(store, ALICE)
    with pytest.raises(StoreConflictError):
        await put(store, replace(ALICE, id="u-2"))
    async with store.begin() as work:
        work.put(SALES)
        await work.commit(EVENT)
        assert heard == [2, 3]


async def test_an_error_of_the_caller_passes_unchanged(place):
    with pytest.raises(TimeoutError, match="the caller's"):
        async with place.store.begin():
            raise TimeoutError("the caller's")
    assert await put(place.store, ALICE) == 2


async def test_a_large_change_is_quick(place):
    async with place.store.begin() as work:
        for number in range(5000):
            work.put(user(f"user{number}"))
        began = time.monotonic()
        await work.commit(EVENT)
        assert time.monotonic() - began < 5
    assert len((await place.store.read()).users) == 5000


async def test_putting_again_keeps_what_hangs_on_it(place):
    await put(place.store, *FULL)
    await put(place.store, replace(FULL[0], enabled=False), replace(FULL[1], port=5433))
    snapshot = await place.store.read()
    assert snapshot.users["alice"].enabled is False
    assert snapshot.targets["sales"].port == 5433
    assert snapshot.grants[ALICE.id] == (at_version_2(FULL[2]),)
    assert snapshot.user_entries == {ALICE.id: (at_version_2(FULL[6]),)}


async def test_a_target_loses_the_roles_it_no_longer_has(place):
    await put(place.store, SALES)
    await put(place.store, replace(SALES, roles={AccessMode.READ_ONLY: SALES.roles[AccessMode.READ_ONLY]}))
    assert set((await place.store.read()).targets["sales"].roles) == {AccessMode.READ_ONLY}


async def test_a_user_made_anew_inherits_nothing(place):
    await put(place.store, *FULL)
    await remove(place.store, FULL[0])
    await put(place.store, replace(ALICE, id="u-new"))
    snapshot = await place.store.read()
    assert set(snapshot.grants) == {ANALYSTS.id}
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
    assert place.run("SELECT count(*) FROM target_roles") == [(0,)]


async def test_leaving_without_commit_changes_nothing(place):
    async with place.store.begin() as work:
        work.put(ALICE)
    assert (await place.store.read()).revision == 1
    assert await place.store.read_events() == []


async def test_a_row_that_does_not_go_in_takes_everything_back(place):
    with pytest.raises(StoreConflictError):
        await put(place.store, ALICE, replace(GRANT, target_id="nowhere"))
    snapshot = await place.store.read()
    assert (snapshot.revision, snapshot.users) == (1, {})
    assert await place.store.read_events() == []


async def test_each_commit_has_one_event_and_one_revision(place):
    for number in range(5):
        assert await put(place.store, SessionTermination(f"s-{number}", "")) == number + 2
    events = await place.store.read_events()
    assert [recorded.revision for recorded in events] == [2, 3, 4, 5, 6]
    assert {recorded.event.action for recorded in events} == {"test.done"}
    assert events[0].event == EVENT
    assert len({recorded.id for recorded in events}) == 5
    assert (datetime.now(UTC) - events[-1].at).total_seconds() < 5


async def test_events_are_read_by_time_and_number(place):
    for minute in range(4):
        clock = SqlStore(place.where, clock=lambda minute=minute: datetime(2026, 1, 1, 0, minute, tzinfo=UTC))
        await put(clock, SessionTermination(f"s-{minute}", ""))
    since, until = datetime(2026, 1, 1, 0, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 3, tzinfo=UTC)
    assert [recorded.at.minute for recorded in await place.store.read_events(since=since, until=until)] == [1, 2]
    assert [recorded.at.minute for recorded in await place.store.read_events(limit=2)] == [2, 3]


async def test_changes_at_once_wait_for_each_other(place):
    await asyncio.gather(*(place.add_user(f"user{number}") for number in range(8)))
    snapshot = await place.store.read()
    assert len(snapshot.users) == 8
    assert snapshot.revision == 9


async def test_changes_by_several_processes_all_arrive(place):
    started = [await place.writer(name, 5) for name in ("a", "b", "c")]
    assert [(await process.communicate())[1] for process in started] == [b"", b"", b""]
    assert len((await place.store.read()).users) == 15
    assert len(await place.store.read_events()) == 15


async def test_a_locked_store_is_an_error_and_not_a_wait(place):
    with place.locked(), pytest.raises(StoreUnavailableError, match="locked"):
        await asyncio.wait_for(put(place.store, ALICE), 8)
    assert await put(place.store, ALICE) == 2


async def test_errors_do_not_repeat_values(place):
    clash = replace(ALICE, id="u-2", verifier="verifier-canary")
    await put(place.store, ALICE)
    with pytest.raises(StoreConflictError) as caught:
        await put(place.store, clash)
    chain = f"{caught.value} {caught.value.__cause__}"
    assert "canary" not in chain


async def test_old_terminations_are_forgotten(place):
    early = SqlStore(place.where, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    late = SqlStore(place.where, clock=lambda: datetime(2026, 1, 9, tzinfo=UTC))
    await put(early, SessionTermination("old", ""))
    await put(late, SessionTermination("new", ""))
    assert set((await place.store.read()).terminated) == {"new"}


INSTANTS = st.datetimes(timezones=st.timezones(), min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1))


@given(INSTANTS, INSTANTS)
def test_instants_as_text_sort_like_instants(one, other):
    assert (to_text(one) < to_text(other)) is (one.astimezone(UTC) < other.astimezone(UTC))
    assert datetime.fromisoformat(to_text(one)) == one.astimezone(UTC)


def test_an_instant_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        to_text(datetime(2026, 1, 1))
