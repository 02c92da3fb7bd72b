"""Groups and lockdown: being in a group only ever adds rights, leaving it takes them away, and a lockdown denies everybody."""

from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.authorize import authorize, renew
from gateway.access.model import Denial, Grant, Group, Lease, ListMode, Snapshot
from gateway.access_mode import AccessMode
from tests.support.snapshots import ALICE, GRANT, LATER, NOW, PAST, SALES, SOON, entry, world

INSIDE = IPv4Address("10.1.2.3")
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
PEOPLE = tuple(replace(ALICE, id=f"u-{name}", name=name) for name in ("ann", "ben", "cas"))
PLACES = tuple(replace(SALES, id=f"t-{name}", name=name) for name in ("sales", "stock"))
GROUP_IDS = ("g-one", "g-two", "g-six")
MEMBER = Group("g-analysts", "analysts", frozenset({ALICE.id}))

ENDS = st.one_of(st.none(), st.integers(-5, 5).map(lambda hours: NOW + timedelta(hours=hours)))
GRANTS = st.lists(
    st.builds(
        Grant,
        id=st.uuids().map(str),
        holder_id=st.sampled_from([*GROUP_IDS, *(person.id for person in PEOPLE)]),
        target_id=st.sampled_from([place.id for place in PLACES]),
        mode=st.sampled_from(AccessMode),
        valid_until=ENDS,
    ),
    max_size=12,
)
MEMBERS = st.tuples(*(st.frozensets(st.sampled_from([person.id for person in PEOPLE])) for _ in GROUP_IDS))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    grants = draw(GRANTS)
    groups = [Group(key, key[2:], members) for key, members in zip(GROUP_IDS, draw(MEMBERS), strict=True)]
    return Snapshot(
        revision=1,
        users={person.name: person for person in PEOPLE},
        targets={place.name: place for place in PLACES},
        grants={holder: tuple(g for g in grants if g.holder_id == holder) for holder in {g.holder_id for g in grants}},
        global_entries=(entry("10.0.0.0/8"),),
        target_entries={},
        user_entries={},
        terminated={},
        groups={group.name: group for group in groups},
    )


def ask(snapshot: Snapshot, user: str, target: str, mode: AccessMode) -> Lease | Denial:
    return authorize(snapshot, user_name=user, target_name=target, mode=mode, address=INSIDE, now=NOW, session_id="s-1")


def rights(snapshot: Snapshot) -> dict[tuple[str, str, AccessMode], datetime]:
    """Who may do what until when; a right without end ends at the end of time."""
    asked = [(person.name, place.name, mode) for person in PEOPLE for place in PLACES for mode in AccessMode]
    answers = {key: ask(snapshot, *key) for key in asked}
    forever = datetime.max.replace(tzinfo=NOW.tzinfo)
    return {key: lease.valid_until or forever for key, lease in answers.items() if isinstance(lease, Lease)}


def with_members(snapshot: Snapshot, group: str, members: frozenset[str]) -> Snapshot:
    return replace(snapshot, groups={**snapshot.groups, group: replace(snapshot.groups[group], members=members)})


@given(snapshots(), st.sampled_from(GROUP_IDS), st.sampled_from(PEOPLE))
def test_joining_only_adds_rights_and_leaving_gives_them_back(snapshot, group_id, person):
    group = snapshot.groups[group_id[2:]]
    outside = with_members(snapshot, group.name, group.members - {person.id})
    inside = with_members(snapshot, group.name, group.members | {person.id})
    before, after = rights(outside), rights(inside)
    assert all(key in after and end <= after[key] for key, end in before.items())
    gained = {key for key, end in after.items() if before.get(key) != end}
    assert all(name == person.name for name, _, _ in gained)
    back = with_members(inside, group.name, group.members - {person.id})
    assert rights(back) == before


@given(snapshots())
def test_what_a_group_holds_is_as_if_each_member_held_it(snapshot):
    spread = [
        replace(grant, holder_id=member)
        for group in snapshot.groups.values()
        for member in group.members
        for grant in snapshot.grants.get(group.id, ())
    ]
    own = {
        person.id: (*snapshot.grants.get(person.id, ()), *(g for g in spread if g.holder_id == person.id)) for person in PEOPLE
    }
    assert rights(snapshot) == rights(replace(snapshot, grants=own, groups={}))


@given(snapshots())
def test_a_lease_names_a_live_grant_of_the_user_or_of_a_group_of_theirs(snapshot):
    by_id = {grant.id: grant for grants in snapshot.grants.values() for grant in grants}
    for user, target, mode in rights(snapshot):
        lease = ask(snapshot, user, target, mode)
        grant = by_id[lease.grant_id]
        theirs = {lease.user.id, *(group.id for group in snapshot.groups.values() if lease.user.id in group.members)}
        assert grant.holder_id in theirs
        assert grant.target_id == lease.target.id
        assert grant.mode in (mode, RW)
        assert grant.valid_until is None or grant.valid_until > NOW


@given(snapshots(), st.sampled_from(["an intruder", ""]))
def test_a_lockdown_denies_everybody_everything(snapshot, reason):
    closed = replace(snapshot, lockdown=reason)
    assert rights(closed) == {}
    assert rights(replace(closed, lockdown=None)) == rights(snapshot)


@given(snapshots())
def test_no_hint_names_a_target_without_a_live_grant(snapshot):
    held = rights(snapshot)
    for person in PEOPLE:
        hint = ask(snapshot, person.name, "nowhere", RO).hint
        for place in PLACES:
            assert (place.name in hint) == ((person.name, place.name, RO) in held)


def by_group(valid_until=None, **changes):
    grant = Grant("g-group", MEMBER.id, SALES.id, RO, valid_until)
    return world(grants=(grant,), groups=(MEMBER,), **changes)


def asked(snapshot):
    return ask(snapshot, "alice", "sales", RO)


def renewed(snapshot, lease):
    return renew(snapshot, lease, address=INSIDE, now=NOW, session_id="s-1")


def test_a_groups_grant_carries_the_lease():
    lease = asked(by_group(SOON))
    assert (lease.grant_id, lease.valid_until) == ("g-group", SOON)


def test_an_own_grant_that_lasts_longer_carries_it_instead():
    snapshot = world(
        grants=(replace(GRANT, valid_until=LATER), Grant("g-group", MEMBER.id, SALES.id, RO, SOON)), groups=(MEMBER,)
    )
    assert asked(snapshot).grant_id == GRANT.id


def test_leaving_the_group_ends_the_live_session():
    lease = asked(by_group())
    for left in ({"groups": ()}, {"groups": (replace(MEMBER, members=frozenset()),)}):
        denial = renewed(replace(by_group(), groups={group.name: group for group in left["groups"]}), lease)
        assert (denial.rule, denial.sqlstate) == ("grant-ended", "57P01")


def test_a_session_goes_on_when_another_grant_takes_over():
    lease = asked(world())
    after = renewed(by_group(), lease)
    assert after.grant_id == "g-group"


def test_a_membership_in_a_group_that_holds_nothing_gives_nothing():
    assert asked(world(grants=(), groups=(MEMBER,))).rule == "target-unknown"
    assert asked(by_group(PAST)).rule == "target-unknown"


def test_a_lockdown_goes_before_everything_and_tells_why():
    broken = {"user": replace(ALICE, enabled=False, allowlist=ListMode.RESTRICT), "everywhere": (), "terminated": {"s-1": "x"}}
    for changes in ({}, broken):
        denial = asked(world(lockdown="an intruder", **changes))
        assert (denial.rule, denial.sqlstate) == ("lockdown", "57P03")
        assert "an intruder" in denial.message


def test_a_lockdown_ends_live_sessions_with_its_reason():
    lease = asked(world())
    denial = renewed(world(lockdown="an intruder"), lease)
    assert (denial.rule, denial.sqlstate) == ("lockdown", "57P01")
    assert "an intruder" in denial.message


@pytest.mark.parametrize("reason", ["", "an intruder"])
def test_a_lockdown_without_a_reason_is_one_too(reason):
    assert asked(world(lockdown=reason)).rule == "lockdown"
