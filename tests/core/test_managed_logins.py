"""Managed logins: what they are called, by which right they are there, and which session stands on which."""

from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.authorize import authorize, renew
from gateway.access.managed import ManagedKey, ManagedLogin, ManagedMode, ManagedState, login_name
from gateway.access.managed_rights import Rights, key_of
from gateway.access.model import DatabaseRole, Denial, Grant, Group, Lease, Snapshot
from gateway.access_mode import AccessMode
from tests.support.snapshots import ALICE, GRANT, LATER, NOW, PAST, SALES, SOON, world

RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
PER_USER = replace(SALES, managed=ManagedMode.PER_USER)
PER_GRANT = replace(SALES, managed=ManagedMode.PER_GRANT)
HERS = ManagedKey(SALES.id, RO, ALICE.id)
HOME = ip_address("10.1.1.1")


def end_of(snapshot: Snapshot, key: ManagedKey = HERS, now: datetime = NOW) -> datetime | str | None:
    behind = Rights(snapshot).behind(key, now)
    return "no right" if behind is None else behind.until


def lease(snapshot: Snapshot, session_id: str = "s") -> Lease:
    found = authorize(snapshot, user_name="alice", target_name="sales", mode=RO, address=HOME, now=NOW, session_id=session_id)
    assert isinstance(found, Lease)
    return found


@given(st.text(max_size=80), st.text(max_size=80), st.integers(0, 3))
def test_names_are_the_persons_and_fit(one: str, other: str, attempt: int) -> None:
    name = login_name("g", HERS, one, attempt)
    assert name == login_name("g", HERS, one, attempt)
    assert len(name.encode()) <= 63
    assert name.startswith("pgb_")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
    for elsewhere in (
        replace(HERS, user_id="u-2"),
        replace(HERS, mode=RW),
        replace(HERS, grant_id="g"),
        replace(HERS, target_id="t"),
    ):
        assert login_name("g", elsewhere, other)[-6:] != name[-6:]
    assert login_name("another gateway", HERS, one, attempt) != name


def test_it_lasts_as_long_as_the_longest_grant_that_includes_the_mode() -> None:
    longer = replace(GRANT, id="g-2", mode=RW, valid_until=LATER)
    assert end_of(world(target=PER_USER, grants=(replace(GRANT, valid_until=SOON), longer))) == LATER
    assert end_of(world(target=PER_USER, grants=(GRANT, longer))) is None
    assert end_of(world(target=PER_USER, grants=(GRANT, longer)), replace(HERS, mode=RW)) == LATER
    assert end_of(world(target=PER_USER, user=replace(ALICE, valid_until=SOON))) == SOON
    group = Group("gr", "analysts", frozenset({ALICE.id}))
    of_group = replace(GRANT, holder_id="gr", valid_until=SOON)
    assert end_of(world(target=PER_USER, grants=(of_group,), groups=(group,))) == SOON
    assert end_of(world(target=PER_USER, grants=(of_group,), groups=(replace(group, members=frozenset()),))) == "no right"


@pytest.mark.parametrize(
    "snapshot",
    [
        world(),  # not managed
        world(target=PER_GRANT),  # otherwise managed
        world(target=PER_USER, grants=()),
        world(target=PER_USER, grants=(replace(GRANT, valid_until=PAST),)),
        world(target=PER_USER, user=replace(ALICE, enabled=False)),
        world(target=PER_USER, user=replace(ALICE, valid_until=PAST)),
        world(target=PER_USER, user=replace(ALICE, id="u-another", name="alice")),
        world(target=replace(PER_USER, roles={})),
        world(target=replace(PER_USER, id="t-another")),
    ],
)
def test_it_ends_with_the_right(snapshot: Snapshot) -> None:
    assert end_of(snapshot) == "no right"


def test_who_only_reads_has_none_to_write() -> None:
    may_write = world(target=PER_USER, grants=(replace(GRANT, mode=RW),), user=replace(ALICE, read_only=True))
    assert end_of(may_write, replace(HERS, mode=RW)) == "no right"
    assert end_of(may_write) is None


def test_it_waits_out_windows_lockdowns_and_a_closed_target() -> None:
    """Nothing is dropped in the evening and made again in the morning."""
    assert end_of(world(target=PER_USER, grants=(replace(GRANT, valid_from=LATER),))) is None
    assert end_of(world(target=replace(PER_USER, enabled=False))) is None
    assert end_of(world(target=PER_USER, lockdown="an incident")) is None


def test_another_database_role_is_another_right() -> None:
    login = ManagedLogin("m", HERS, "alice", "pgb_alice_000000", "app_ro", b"", None, ManagedState.ACTIVE, NOW)
    assert Rights(world(target=PER_USER)).still(login, NOW) is not None
    moved = replace(PER_USER, roles={RO: DatabaseRole("r-2", "other_ro", b"")})
    assert Rights(world(target=moved)).still(login, NOW) is None


def test_whose_login_a_session_uses() -> None:
    assert key_of(lease(world())) is None
    assert key_of(lease(world(target=PER_USER))) == HERS
    assert key_of(lease(world(target=PER_GRANT))) == replace(HERS, grant_id=GRANT.id)


@pytest.mark.parametrize("before", [SALES, PER_USER, PER_GRANT])
@pytest.mark.parametrize("after", [SALES, PER_USER, PER_GRANT])
def test_sessions_end_when_the_mode_changes(before: object, after: object) -> None:
    old = lease(world(target=before))  # type: ignore[arg-type]
    new = renew(world(target=after), old, address=HOME, now=NOW, session_id="s")  # type: ignore[arg-type]
    assert isinstance(new, Denial) == (before is not after)
    if isinstance(new, Denial):
        assert new.rule in ("target-changed", "grant-ended")


def test_a_session_stays_on_its_grant_where_each_has_a_login() -> None:
    wider = Grant("g-wide", ALICE.id, SALES.id, RW, None)
    old = lease(world(target=PER_GRANT))
    both = world(target=PER_GRANT, grants=(GRANT, wider))
    kept = renew(both, old, address=HOME, now=NOW, session_id="s")
    assert isinstance(kept, Lease)
    assert kept.grant_id == GRANT.id
    only_the_wider = renew(world(target=PER_GRANT, grants=(wider,)), old, address=HOME, now=NOW, session_id="s")
    assert isinstance(only_the_wider, Denial)
    assert only_the_wider.rule == "grant-ended"
    assert isinstance(
        renew(world(target=PER_USER, grants=(wider,)), lease(world(target=PER_USER)), address=HOME, now=NOW, session_id="s"),
        Lease,
    )
