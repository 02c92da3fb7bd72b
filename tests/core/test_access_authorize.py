"""authorize: the order of its checks, one Denial for unknown and forbidden, and until when a lease holds."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.authorize import admits_globally, authorize, parse_database_name, renew, user_by_id
from gateway.access.model import Denial, Grant, Lease, ListMode, TlsMode
from gateway.access_mode import OPTIONS_OF, AccessMode, GrantOption
from tests.support.snapshots import ALICE, GRANT, LATER, NOW, PAST, SALES, SOON, entry, world

INSIDE = IPv4Address("10.1.2.3")
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
TEMPORARY, NO_DDL = GrantOption.TEMPORARY_TABLES, GrantOption.NO_DDL
UNFILTERED, REPORT = GrantOption.UNFILTERED_WRITES, GrantOption.REPORT_ONLY


def ask(snapshot, **changes):
    asked = {
        "user_name": "alice",
        "target_name": "sales",
        "mode": RO,
        "address": INSIDE,
        "now": NOW,
        "session_id": "s-1",
        **changes,
    }
    return authorize(snapshot, **asked)


def rule(snapshot, **changes):
    answer = ask(snapshot, **changes)
    return answer.rule if isinstance(answer, Denial) else "leased"


def test_a_right_gives_a_lease():
    lease = ask(world())
    assert lease == Lease(ALICE, SALES, RO, SALES.roles[RO], GRANT.id, None, 7)


# Each row breaks one more thing than the row below it; the first broken thing, in this order, is what is answered.
BROKEN = [
    ("user-disabled", {"user": replace(ALICE, enabled=False, valid_until=PAST, allowlist=ListMode.RESTRICT)}, {}),
    ("user-expired", {"user": replace(ALICE, valid_until=NOW, allowlist=ListMode.RESTRICT)}, {"credential_version": 9}),
    ("password-changed", {"user": replace(ALICE, allowlist=ListMode.RESTRICT)}, {"credential_version": 9}),
    ("session-terminated", {"terminated": {"s-1": "off hours"}, "everywhere": ()}, {}),
    ("address-not-admitted", {"everywhere": (), "user": replace(ALICE, allowlist=ListMode.RESTRICT)}, {}),
    (
        "address-not-admitted-for-user",
        {"user": replace(ALICE, allowlist=ListMode.RESTRICT), "of_user": (entry("192.0.2.0/24"),)},
        {"target_name": "nowhere"},
    ),
    ("target-unknown", {"grants": ()}, {"mode": RW}),
    ("mode-not-granted", {"target": replace(SALES, allowlist=ListMode.RESTRICT)}, {"mode": RW}),
    ("address-not-admitted-for-target", {"target": replace(SALES, allowlist=ListMode.RESTRICT, enabled=False)}, {}),
    ("target-disabled", {"target": replace(SALES, enabled=False, roles={})}, {}),
    ("target-without-login", {"target": replace(SALES, roles={})}, {}),
    ("leased", {}, {}),
]


@pytest.mark.parametrize(("expected", "changed", "asked"), BROKEN, ids=[row[0] for row in BROKEN])
def test_the_first_check_that_fails_is_the_answer(expected, changed, asked):
    assert rule(world(**changed), **asked) == expected


SQLSTATES = {
    "user-disabled": "28000", "user-expired": "28000", "password-changed": "28000", "session-terminated": "57P01",
    "address-not-admitted": "28000", "address-not-admitted-for-user": "28000", "address-not-admitted-for-target": "28000",
    "target-unknown": "3D000", "mode-not-granted": "42501", "target-disabled": "55000", "target-without-login": "55000",
}  # fmt: skip


@pytest.mark.parametrize(("expected", "changed", "asked"), BROKEN[:-1], ids=[row[0] for row in BROKEN[:-1]])
def test_each_denial_has_its_sqlstate(expected, changed, asked):
    assert ask(world(**changed), **asked).sqlstate == SQLSTATES[expected]


def test_an_account_that_is_gone_or_made_anew_is_not_the_one_that_logged_in():
    assert rule(world(), user_name="bob") == "user-unknown"
    assert rule(world(), user_id="another") == "user-unknown"
    assert rule(world(), user_id=ALICE.id) == "leased"
    assert rule(world(), credential_version=1) == "leased"


def test_unknown_and_ungranted_targets_look_the_same():
    there = ask(world(), target_name="payroll")
    nowhere = ask(world(), target_name="nowhere")
    assert there == replace(nowhere, message=nowhere.message.replace("nowhere", "payroll"))
    assert "payroll" not in there.hint


@pytest.mark.parametrize("mode", list(AccessMode))
@pytest.mark.parametrize("payroll", [{}, {"enabled": False}, {"allowlist": ListMode.RESTRICT}, {"roles": {}}])
def test_nothing_about_an_ungranted_target_shows(mode, payroll):
    snapshot = world()
    changed = replace(snapshot, targets={"sales": SALES, "payroll": replace(SALES, id="t-p", name="payroll", **payroll)})
    assert ask(changed, target_name="payroll", mode=mode) == ask(snapshot, target_name="payroll", mode=RO)


def test_an_expired_grant_is_no_grant():
    expired = world(grants=(replace(GRANT, valid_until=NOW),))
    assert ask(expired) == ask(world(grants=()))
    assert rule(world(grants=(replace(GRANT, valid_until=NOW + timedelta(milliseconds=1)),))) == "leased"


def test_the_hint_lists_the_targets_one_has():
    assert "sales." in ask(world(), target_name="x").hint
    writer = world(grants=(replace(GRANT, mode=RW),))
    assert "sales and sales:rw" in ask(writer, target_name="x").hint
    assert "no targets yet" in ask(world(grants=()), target_name="x").hint
    assert "no target is named" in ask(world(), target_name="").message


def test_a_long_hint_stays_bounded():
    targets = {f"t{i:03}": replace(SALES, id=f"t-{i}", name=f"t{i:03}") for i in range(500)}
    grants = tuple(Grant(f"g{i}", ALICE.id, f"t-{i}", RO, None) for i in range(500))
    hint = ask(replace(world(grants=grants), targets=targets), target_name="x").hint
    assert len(hint) < 400
    assert "480 more" in hint


def test_read_write_includes_read_only_and_not_the_other_way():
    writer = world(grants=(replace(GRANT, mode=RW),))
    assert ask(writer, mode=RW).role.login == "app_rw"
    assert ask(writer, mode=RO).role.login == "app_ro"
    assert rule(world(), mode=RW) == "mode-not-granted"


def test_the_longest_fitting_grant_carries_the_lease():
    short = replace(GRANT, id="g-short", valid_until=SOON)
    long = replace(GRANT, id="g-long", mode=RW, valid_until=LATER)
    assert ask(world(grants=(short, long))).grant_id == "g-long"
    assert ask(world(grants=(long, replace(short, valid_until=None)))).grant_id == "g-short"


def granted(grant_id="g", *options, mode=RW, rows=None, until=None):
    return Grant(grant_id, ALICE.id, SALES.id, mode, until, options=frozenset(options), max_changed_rows=rows)


# From the widest to the narrowest.
BY_WIDTH = {
    RW: [
        granted("reports", REPORT),
        granted("reports without ddl", REPORT, NO_DDL),
        granted("unfiltered", UNFILTERED),
        granted("unfiltered, a thousand rows", UNFILTERED, rows=1000),
        granted("plain"),
        granted("a thousand rows", rows=1000),
        granted("ten rows", TEMPORARY, rows=10),
        granted("unfiltered without ddl", UNFILTERED, NO_DDL),
        granted("no ddl", NO_DDL),
        granted("no ddl, one row", NO_DDL, rows=1),
    ],
    RO: [granted("with temporary tables", TEMPORARY, mode=RO), granted("plain", mode=RO)],
}
PAIRS = [(mode, *pair) for mode, grants in BY_WIDTH.items() for pair in combinations(grants, 2)]


@pytest.mark.parametrize(("mode", "wide", "narrow"), PAIRS, ids=lambda each: getattr(each, "id", each))
@pytest.mark.parametrize("ends", [(SOON, LATER), (SOON, None), (LATER, SOON)])
def test_of_two_grants_the_wider_comes_first_and_the_session_goes_on_under_the_narrower(mode, wide, narrow, ends):
    """A short wide grant never cuts a longer narrow one; a long one gives what the narrow one would, and more."""
    until, narrow_until = ends
    both = (replace(wide, valid_until=until), replace(narrow, valid_until=narrow_until))
    for grants in (both, both[::-1]):
        snapshot = world(grants=grants)
        lease = ask(snapshot, mode=mode)
        assert (lease.grant_id, lease.valid_until) == (wide.id, until)
        assert (lease.options, lease.max_changed_rows) == (wide.options & OPTIONS_OF[mode], wide.max_changed_rows)
        then = renew(snapshot, lease, address=INSIDE, now=until, session_id="s-1")
        if until == LATER:
            assert then.rule == "grant-ended"
        else:
            assert (then.grant_id, then.valid_until) == (narrow.id, narrow_until)
            assert (then.options, then.max_changed_rows) == (narrow.options & OPTIONS_OF[mode], narrow.max_changed_rows)


def test_a_revoked_wide_grant_leaves_the_session_the_narrow_one():
    wide, narrow = granted("wide"), granted("narrow", NO_DDL, until=SOON)
    lease = ask(world(grants=(narrow, wide)), mode=RW)
    assert lease.grant_id == "wide"
    then = renewed(world(grants=(narrow,)), lease)
    assert (then.grant_id, then.options) == ("narrow", frozenset({NO_DDL}))
    back = renewed(world(grants=(narrow, wide)), then)
    assert (back.grant_id, back.options) == ("wide", frozenset())


def test_of_equally_wide_grants_the_longest_carries_the_lease():
    short, long = granted("short", NO_DDL, until=SOON), granted("long", NO_DDL, TEMPORARY, until=LATER)
    assert ask(world(grants=(short, long)), mode=RW).grant_id == "long"
    assert ask(world(grants=(long, replace(short, valid_until=None))), mode=RW).grant_id == "short"


def test_what_means_nothing_in_a_mode_is_in_no_lease_of_it():
    grants = (granted("g", *GrantOption, rows=5),)
    reading, writing = ask(world(grants=grants)), ask(world(grants=grants), mode=RW)
    assert (reading.options, reading.max_changed_rows) == (frozenset({TEMPORARY}), None)
    assert (writing.options, writing.max_changed_rows) == (frozenset({NO_DDL, UNFILTERED, REPORT}), 5)


def test_a_read_write_grant_without_temporary_tables_does_not_hide_the_grant_that_has_them():
    grants = (granted("writer"), granted("reader", TEMPORARY, mode=RO, until=SOON))
    assert ask(world(grants=grants)).grant_id == "reader"
    assert ask(world(grants=grants), now=SOON).grant_id == "writer"
    assert ask(world(grants=grants), mode=RW).grant_id == "writer"


ENDS = st.one_of(st.none(), st.integers(1, 1000).map(lambda seconds: NOW + timedelta(seconds=seconds)))
GRANTS = st.lists(
    st.builds(
        Grant,
        id=st.uuids().map(str),
        holder_id=st.just(ALICE.id),
        target_id=st.just(SALES.id),
        mode=st.just(RW),
        valid_until=ENDS,
        options=st.frozensets(st.sampled_from(GrantOption)),
        max_changed_rows=st.one_of(st.none(), st.integers(1, 3)),
    ),
    max_size=5,
)


@given(GRANTS, st.sampled_from(AccessMode))
def test_a_session_lasts_exactly_as_long_as_any_of_its_grants(grants, mode):
    """Asked again at each end, as a live session is, it comes to its last one by way of ever narrower grants, and no later."""
    snapshot = world(grants=tuple(grants))
    lease, passed = ask(snapshot, mode=mode), []
    while isinstance(lease, Lease):
        passed.append(lease)
        if lease.valid_until is None:
            break
        lease = renew(snapshot, lease, address=INSIDE, now=lease.valid_until, session_id="s-1")
    ends = [grant.valid_until for grant in grants]
    last = passed[-1].valid_until if passed else NOW
    assert last == (None if None in ends else max(ends, default=NOW))
    assert len({each.grant_id for each in passed}) == len(passed)


@given(ENDS, ENDS, ENDS, ENDS, ENDS)
def test_a_lease_ends_with_the_first_thing_it_stands_on(user_end, grant_end, global_end, own_end, target_end):
    snapshot = world(
        user=replace(ALICE, valid_until=user_end, allowlist=ListMode.RESTRICT),
        target=replace(SALES, allowlist=ListMode.RESTRICT),
        grants=(replace(GRANT, valid_until=grant_end),),
        everywhere=(entry("10.0.0.0/8", global_end),),
        of_user=(entry("10.1.0.0/16", own_end),),
        of_target=(entry("10.1.2.0/24", target_end),),
    )
    ends = [end for end in (user_end, grant_end, global_end, own_end, target_end) if end is not None]
    lease = ask(snapshot)
    assert lease.valid_until == min(ends, default=None)
    if lease.valid_until is not None:
        assert rule(snapshot, now=lease.valid_until - timedelta(microseconds=1)) == "leased"
        assert rule(snapshot, now=lease.valid_until) != "leased"


@pytest.mark.parametrize("level", ["of_user", "of_target"])
def test_restrict_without_a_live_entry_admits_nobody_and_inherit_ignores_the_list(level):
    user = replace(ALICE, allowlist=ListMode.RESTRICT if level == "of_user" else ListMode.INHERIT)
    target = replace(SALES, allowlist=ListMode.RESTRICT if level == "of_target" else ListMode.INHERIT)
    assert rule(world(user=user, target=target)) != "leased"
    assert rule(world(user=user, target=target, **{level: (entry("10.0.0.0/8", PAST),)})) != "leased"
    assert rule(world(user=user, target=target, **{level: (entry("10.0.0.0/8"),)})) == "leased"
    assert rule(world(**{level: (entry("192.0.2.0/24"),)})) == "leased"


def test_a_user_list_does_not_open_what_the_global_list_closes():
    restricted = world(user=replace(ALICE, allowlist=ListMode.RESTRICT), of_user=(entry("192.0.2.0/24"),))
    assert rule(restricted, address=IPv4Address("192.0.2.1")) == "address-not-admitted"


def test_the_first_check_is_the_global_list_alone():
    assert admits_globally(world(), IPv6Address("::ffff:10.0.0.1"), NOW)
    assert not admits_globally(world(), IPv4Address("11.0.0.1"), NOW)
    assert not admits_globally(world(everywhere=()), INSIDE, NOW)


@pytest.mark.parametrize(
    ("database", "parsed"),
    [
        ("sales", ("sales", RO)),
        ("sales:ro", ("sales", RO)),
        ("sales:rw", ("sales", RW)),
        ("sales:RW", ("sales:RW", RO)),
        ("sales:rwx", ("sales:rwx", RO)),
        ("sales:", ("sales:", RO)),
        ("sales:rw:ro", ("sales:rw", RO)),
        (":rw", ("", RW)),
        ("", ("", RO)),
    ],
)
def test_only_the_exact_suffix_asks_for_writing(database, parsed):
    assert parse_database_name(database) == parsed


def held():
    lease = ask(world())
    assert isinstance(lease, Lease)
    return lease


def renewed(snapshot, lease=None):
    return renew(snapshot, lease or held(), address=INSIDE, now=NOW, session_id="s-1")


def test_a_live_session_goes_on_while_nothing_changed():
    assert renewed(world()) == held()


@pytest.mark.parametrize(
    "changes",
    [
        {"grants": ()},
        {"everywhere": ()},
        {"user": replace(ALICE, enabled=False)},
        {"user": replace(ALICE, id="u-other")},
        {"user": replace(ALICE, credential_version=2)},
        {"terminated": {"s-1": ""}},
        {"target": replace(SALES, id="t-other"), "grants": (replace(GRANT, target_id="t-other"),)},
        {"target": replace(SALES, host="elsewhere")},
        {"target": replace(SALES, port=1)},
        {"target": replace(SALES, dbname="other")},
        {"target": replace(SALES, tls=TlsMode.REQUIRE)},
        {"target": replace(SALES, enabled=False)},
        {"target": replace(SALES, allowed_schemas=frozenset())},
        {"target": replace(SALES, roles={RO: replace(SALES.roles[RO], login="weaker")})},
        {"target": replace(SALES, roles={})},
    ],
)
def test_a_live_session_ends_with_what_it_stood_on(changes):
    assert isinstance(renewed(world(**changes)), Denial)


@pytest.mark.parametrize(
    "changes",
    [
        {"allowed_functions": frozenset({"shop.f"})},
        {"allowed_settings": frozenset({"app.tenant"})},
        {"ca_pem": "another"},
        {"roles": {RO: replace(SALES.roles[RO], sealed_secret=b"rotated")}},
    ],
)
def test_what_takes_nothing_away_ends_no_session_and_shows_in_the_new_lease(changes):
    lease = renewed(world(target=replace(SALES, revision=1, **changes)))
    assert isinstance(lease, Lease)
    assert lease.target.revision == 1


def test_a_listed_function_taken_away_ends_no_session_since_statements_are_judged_anew():
    lease = ask(world(target=replace(SALES, allowed_functions=frozenset({"shop.f"}))))
    renewed_lease = renewed(world(), lease)
    assert isinstance(renewed_lease, Lease)
    assert renewed_lease.target.allowed_functions == frozenset()


def test_a_listed_setting_taken_away_ends_the_session_which_may_have_set_it():
    lease = ask(world(target=replace(SALES, allowed_settings=frozenset({"app.tenant"}))))
    assert renewed(world(), lease).rule == "target-changed"


def test_a_revoked_grant_says_so_and_not_that_the_target_is_unknown():
    lease = ask(world())
    assert renewed(world(grants=()), lease).rule == "grant-ended"


def test_users_are_found_by_id():
    assert user_by_id(world(), ALICE.id) == ALICE
    assert user_by_id(world(), "nobody") is None
