"""What a grant of an access request means beyond its time and its mode: approvers, endings, what alone may run, database roles."""

from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.accounts import Account, Standing
from gateway.access.authorize import authorize, renew
from gateway.access.backing import Backing, backing
from gateway.access.electorate import still_backs
from gateway.access.explain import Part, explain
from gateway.access.managed import ManagedKey, ManagedMode
from gateway.access.managed_rights import Rights, key_of
from gateway.access.model import AdminRole, Denial, Grant, Group, Lease, Snapshot, Target, User
from gateway.access.requested import Backer, Command, Only, Operation
from gateway.access_mode import AccessMode
from gateway.proxy.asked_for import only_these
from tests.support.snapshots import ALICE, GRANT, LATER, NOW, PAST, SALES, SOON, world

RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
HOME = ip_address("10.1.1.1")
PER_USER = replace(SALES, managed=ManagedMode.PER_USER)
PER_GRANT = replace(SALES, managed=ManagedMode.PER_GRANT)
BEN = replace(ALICE, id="u-ben", name="ben")
CAM = replace(ALICE, id="u-cam", name="cam")
LEADS = Group("g-leads", "leads", frozenset({BEN.id}))
SECURITY = AdminRole("r-security", "security", members=frozenset({CAM.id}))
ASKED = replace(GRANT, id="g-17", request_id="r-17", request_number=17, valid_until=LATER)
BOUND = replace(ASKED, backers=(Backer(BEN.id, ("g-leads", "r-security")), Backer(CAM.id, ("g-leads", "r-security"))))
STATEMENTS = Only(statements=frozenset({"aa"}))
OPERATIONS = Only(operations=frozenset({Operation(Command.SELECT, "app", "orders")}))


def place(
    *grants: Grant, ben: User | None = BEN, cam: User | None = CAM, target: Target = SALES, leads: Group = LEADS, **more: object
) -> Snapshot:
    found = world(grants=grants, groups=(leads,), target=target)
    people = {each.name: each for each in (ALICE, ben, cam) if each is not None}
    return replace(found, users=people, **{"admin_roles": {"security": SECURITY}, **more})


def ask(snapshot: Snapshot, mode: AccessMode = RO, now: datetime = NOW) -> Lease | Denial:
    return authorize(snapshot, user_name="alice", target_name="sales", mode=mode, address=HOME, now=now, session_id="s")


def lease(snapshot: Snapshot, mode: AccessMode = RO) -> Lease:
    found = ask(snapshot, mode)
    assert isinstance(found, Lease), found
    return found


def again(snapshot: Snapshot, held: Lease, now: datetime = NOW) -> Lease | Denial:
    return renew(snapshot, held, address=HOME, now=now, session_id="s")


def ended(snapshot: Snapshot, held: Lease, now: datetime = NOW) -> str:
    found = again(snapshot, held, now)
    assert isinstance(found, Denial), found
    assert (found.rule, found.sqlstate) == ("grant-ended", "57P01")
    assert "pgbastion request create sales" in found.hint
    return found.message


# -- approvers

LOST = {
    "disabled": {"ben": replace(BEN, enabled=False)},
    "over": {"ben": replace(BEN, valid_until=PAST)},
    "gone": {"ben": None},
    "another account under the name": {"ben": replace(BEN, id="u-another")},
    "not in the group any more": {"leads": replace(LEADS, members=frozenset())},
    "the group is another one": {"leads": replace(LEADS, id="g-another")},
    "the other lost the role": {"admin_roles": {"security": replace(SECURITY, members=frozenset())}},
    "the role is gone": {"admin_roles": {}},
    "held back": {"accounts": {BEN.id: Account(BEN.id, managed=True, standing=Standing.REFUSED)}},
}


@pytest.mark.parametrize("change", LOST.values(), ids=LOST)
def test_a_bound_grant_ends_with_the_right_of_any_approver(change: dict[str, object]) -> None:
    held = lease(place(BOUND))
    after = place(BOUND, **change)
    assert ask(after) == ask(place())
    assert "who approved it, may not approve any more" in ended(after, held)
    assert ended(after, held).startswith("your access request 17 has ended: ")
    unbound = place(ASKED, **change)
    assert isinstance(again(unbound, lease(place(ASKED))), Lease)
    (only,) = explain(after, ALICE, SALES, RO, NOW).considered
    assert (only.part, "may not approve" in only.reason) == (Part.ENDED, True)


def test_moving_between_roles_that_both_may_approve_changes_nothing() -> None:
    moved = place(
        BOUND,
        leads=replace(LEADS, members=frozenset({CAM.id})),
        admin_roles={"s": replace(SECURITY, members=frozenset({BEN.id}))},
    )
    assert isinstance(again(moved, lease(place(BOUND))), Lease)


def test_it_ends_with_the_time_of_an_approver_at_the_second() -> None:
    snapshot = place(BOUND, ben=replace(BEN, valid_until=SOON))
    held = lease(snapshot)
    assert held.valid_until == held.changes_at == SOON
    assert "ben" in ended(snapshot, held, SOON)


def test_another_grant_carries_the_session_on() -> None:
    after = place(BOUND, GRANT, ben=None)
    assert lease(after).grant_id == GRANT.id
    carried = again(after, lease(place(BOUND)))
    assert isinstance(carried, Lease)
    assert (carried.grant_id, carried.request) == (GRANT.id, None)


def test_its_targets_are_not_named_any_more() -> None:
    """To whom a target's name is told is decided by the same."""
    there = place(BOUND)
    assert "sales" in str(authorize(there, user_name="alice", target_name="x", mode=RO, address=HOME, now=NOW, session_id="s"))
    gone = place(BOUND, ben=None)
    assert "sales" not in str(
        authorize(gone, user_name="alice", target_name="x", mode=RO, address=HOME, now=NOW, session_id="s")
    )


@given(
    enabled=st.booleans(),
    in_group=st.booleans(),
    in_role=st.booleans(),
    as_one_of=st.sets(st.sampled_from(["g-leads", "r-security", "u-ben", "g-other"]), min_size=1),
    until=st.sampled_from([None, PAST, NOW, SOON]),
)
def test_it_is_decided_like_the_right_to_approve_itself(
    enabled: bool, in_group: bool, in_role: bool, as_one_of: set[str], until: datetime | None
) -> None:
    backer = Backer(BEN.id, tuple(sorted(as_one_of)))
    grant = replace(ASKED, backers=(backer,))
    snapshot = place(
        grant,
        ben=replace(BEN, enabled=enabled, valid_until=until),
        leads=replace(LEADS, members=frozenset({BEN.id} if in_group else ())),
        admin_roles={"security": replace(SECURITY, members=frozenset({BEN.id} if in_role else ()))},
    )
    assert (backing(snapshot, grant, NOW).lost == "") is still_backs(snapshot, backer, NOW)


def test_nobody_is_searched_for_where_nothing_is_bound() -> None:
    assert place(ASKED, GRANT).backers == {}
    assert set(place(BOUND).backers) == {BEN.id, CAM.id}
    assert backing(place(ASKED), ASKED, NOW) == Backing()


# -- endings


def test_a_session_is_told_why_it_ends() -> None:
    held = lease(place(ASKED))
    why = {ASKED.id: "request 17 was revoked by ana: leaves the team"}
    assert ended(place(endings=why), held) == "your access request 17 was revoked by ana: leaves the team"
    assert ended(place(endings={ASKED.id: "the incident is over"}), held).endswith('"sales" has ended: the incident is over')
    assert ended(place(ASKED), held, LATER) == "your access request 17 has expired"
    assert ended(place(), held, LATER) == "your access request 17 has expired"
    assert ended(place(replace(ASKED, valid_until=NOW)), held) == "your access request 17 has expired"


def test_so_is_one_whose_holder_may_still_read() -> None:
    asked = replace(ASKED, mode=RW)
    held = lease(place(asked, GRANT), RW)
    assert ended(place(GRANT, endings={asked.id: "request 17 was given back"}), held) == "your access request 17 was given back"
    assert ended(place(asked, GRANT), held, LATER) == "your access request 17 has expired"


def test_what_ended_a_grant_of_others_is_not_told() -> None:
    found = again(place(endings={"another": "request 18 was revoked"}), lease(place(GRANT)))
    assert isinstance(found, Denial)
    assert "18" not in found.message


# -- what alone may run


def test_what_it_opens_goes_into_the_lease() -> None:
    assert lease(place(GRANT)).only == ()
    assert lease(place(replace(ASKED, only=STATEMENTS))).only == (STATEMENTS,)


def test_a_grant_without_such_a_list_goes_before() -> None:
    for grants in ((GRANT, replace(ASKED, only=STATEMENTS)), (replace(ASKED, only=STATEMENTS), GRANT)):
        assert lease(place(*grants)).grant_id == GRANT.id
    after = again(place(replace(ASKED, only=OPERATIONS)), lease(place(GRANT)))
    assert isinstance(after, Lease)
    assert after.only == (OPERATIONS,)


def test_no_live_session_comes_to_statements_whose_meaning_it_may_have_changed() -> None:
    """It could set search_path before."""
    exact, operations = replace(ASKED, only=STATEMENTS), replace(ASKED, id="g-18", only=OPERATIONS)
    assert isinstance(again(place(exact), lease(place(GRANT))), Denial)
    stays = again(place(exact, operations), lease(place(operations)))
    assert isinstance(stays, Lease)
    assert stays.only == (OPERATIONS,)
    began = lease(place(exact))
    more = again(place(exact, operations), began)
    assert isinstance(more, Lease)
    assert set(more.only) == {STATEMENTS, OPERATIONS}
    wider = again(place(exact, GRANT), began)
    assert isinstance(wider, Lease)
    assert wider.only == ()
    assert isinstance(again(place(exact), wider), Denial)


def test_several_count_together_each_for_its_time() -> None:
    one = replace(ASKED, only=STATEMENTS, valid_until=SOON)
    other = replace(ASKED, id="g-18", request_number=18, only=OPERATIONS)
    snapshot = place(one, other)
    held = lease(snapshot)
    assert set(held.only) == {STATEMENTS, OPERATIONS}
    assert held.valid_until == SOON
    both = only_these(held.only)
    assert both is not None
    assert (both.statements, both.operations) == (frozenset({"aa"}), frozenset({("select", "app", "orders")}))
    later = again(snapshot, held, SOON)
    assert isinstance(later, Lease)
    assert (later.only, later.valid_until) == ((OPERATIONS,), LATER)
    assert [each.part for each in explain(snapshot, ALICE, SALES, RO, NOW).considered] == [Part.COUNTS, Part.COUNTS]
    assert only_these(lease(place(GRANT)).only) is None


def test_they_do_not_where_they_differ_in_more_or_each_has_a_login() -> None:
    one, other = replace(ASKED, only=STATEMENTS), replace(ASKED, id="g-18", only=OPERATIONS, max_changed_rows=5)
    assert len(lease(place(one, other)).only) == 1
    assert len(lease(place(one, replace(other, max_changed_rows=None), target=PER_GRANT)).only) == 1


# -- database roles

FOR_ROLE = replace(ASKED, database_role="reporting")


@pytest.mark.parametrize("target", [PER_USER, PER_GRANT], ids=["per-user", "per-grant"])
def test_a_grant_for_a_database_role_has_a_login_of_its_own(target: Target) -> None:
    snapshot = place(FOR_ROLE, GRANT, target=target)
    held = lease(snapshot)
    assert (held.role.login, held.database_role, held.grant_id) == ("reporting", "reporting", FOR_ROLE.id)
    key = key_of(held)
    assert key == ManagedKey(target.id, RO, ALICE.id, FOR_ROLE.id)
    behind = Rights(snapshot).behind(key, NOW)
    assert behind is not None
    assert (behind.member_of, behind.until, behind.asked_for) == ("reporting", LATER, True)
    assert Rights(snapshot).behind(key, LATER) is None
    assert Rights(place(GRANT, target=target)).behind(key, NOW) is None


def test_it_is_not_behind_the_login_of_other_grants() -> None:
    hers = ManagedKey(PER_USER.id, RO, ALICE.id)
    assert Rights(place(FOR_ROLE, target=PER_USER)).behind(hers, NOW) is None
    behind = Rights(place(FOR_ROLE, GRANT, target=PER_USER)).behind(hers, NOW)
    assert behind is not None
    assert (behind.member_of, behind.asked_for) == ("app_ro", False)
    other = ManagedKey(PER_USER.id, RO, ALICE.id, GRANT.id)
    assert Rights(place(FOR_ROLE, GRANT, target=PER_USER)).behind(other, NOW) is None


def test_its_login_ends_with_the_right_of_an_approver() -> None:
    bound = replace(BOUND, database_role="reporting")
    key = ManagedKey(PER_USER.id, RO, ALICE.id, bound.id)
    assert Rights(place(bound, target=PER_USER)).behind(key, NOW) is not None
    assert Rights(place(bound, ben=None, target=PER_USER)).behind(key, NOW) is None
    soon = Rights(place(bound, ben=replace(BEN, valid_until=SOON), target=PER_USER)).behind(key, NOW)
    assert soon is not None
    assert soon.until == SOON


def test_no_session_comes_to_another_database_role() -> None:
    """A live one keeps the role that it logged in with, or ends."""
    before = lease(place(GRANT, target=PER_USER))
    stays = again(place(GRANT, FOR_ROLE, target=PER_USER), before)
    assert isinstance(stays, Lease)
    assert (stays.database_role, stays.role.login) == (None, "app_ro")
    assert isinstance(again(place(FOR_ROLE, target=PER_USER), before), Denial)
    held = lease(place(FOR_ROLE, GRANT, target=PER_USER))
    assert isinstance(again(place(FOR_ROLE, GRANT, target=PER_USER), held), Lease)
    assert ended(place(FOR_ROLE, GRANT, target=PER_USER), held, LATER) == "your access request 17 has expired"
    other = replace(FOR_ROLE, id="g-18")
    assert isinstance(again(place(other, GRANT, target=PER_USER), held), Denial)


def test_where_logins_are_not_managed_it_opens_nothing() -> None:
    assert ask(place(FOR_ROLE)) == ask(place())
    assert lease(place(FOR_ROLE, GRANT)).grant_id == GRANT.id
    held = lease(place(FOR_ROLE, target=PER_USER))
    assert isinstance(again(place(FOR_ROLE), held), Denial)
    (only,) = explain(place(FOR_ROLE), ALICE, SALES, RO, NOW).considered
    assert "not managed" in only.reason


def test_reading_stays_reading() -> None:
    wide = replace(FOR_ROLE, mode=RW)
    held = lease(place(wide, target=PER_USER))
    assert (held.mode, held.options) == (RO, frozenset())
