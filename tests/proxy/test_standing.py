"""By what right a session stays, by the real clocks: from grant to grant without a gap, and not a moment beyond the last."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from gateway.access.authorize import authorize
from gateway.access.model import Grant, Lease, Snapshot
from gateway.access_mode import AccessMode, GrantOption
from gateway.proxy.standing import Introduction, Standing, still_holds
from tests.support.snapshots import ALICE, GRANT, SALES, world

ADDRESS = IPv4Address("10.1.2.3")
WHO = Introduction("s-1", ADDRESS, "", tls=True)
NARROW_OPTIONS = frozenset({GrantOption.NO_DDL})
TRIALS = 60


def standing(snapshot: Snapshot) -> Standing:
    lease = authorize(
        snapshot,
        user_name=ALICE.name,
        target_name=SALES.name,
        mode=AccessMode.READ_WRITE,
        address=ADDRESS,
        now=datetime.now(UTC),
        session_id="s-1",
    )
    assert isinstance(lease, Lease)
    return Standing(WHO, lease)


def ending(grant_id: str, seconds: float, options: frozenset[GrantOption] = frozenset()) -> Grant:
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return replace(GRANT, id=grant_id, mode=AccessMode.READ_WRITE, valid_until=until, options=options)


def test_a_grant_that_ends_by_the_clock_gives_way_to_a_narrower_one() -> None:
    """Asked all the time, so that some question falls just on the end, where the two clocks may differ by a hair."""
    for _ in range(TRIALS):
        snapshot = world(grants=(ending("wide", 0.005), ending("narrow", 60, NARROW_OPTIONS)))
        stays = standing(snapshot)
        while stays.lease.grant_id == "wide":
            assert stays.renew(snapshot) is None
        assert (stays.lease.grant_id, stays.lease.options) == ("narrow", NARROW_OPTIONS)


def test_after_the_last_one_it_is_over() -> None:
    snapshot = world(grants=(ending("wide", 0.02), ending("narrow", 0.3, NARROW_OPTIONS)))
    stays = standing(snapshot)
    while (denial := stays.renew(snapshot)) is None:
        """Ask on."""
    assert denial.rule == "grant-ended"
    assert stays.lease.grant_id == "narrow"
    assert stays.lease.valid_until is not None
    assert datetime.now(UTC) >= stays.lease.valid_until - timedelta(milliseconds=1)


def test_nothing_but_a_grant_carries_it_beyond_an_end() -> None:
    """The account's own end is the end, whatever grants there are."""
    until = datetime.now(UTC) + timedelta(seconds=0.02)
    grants = (ending("wide", 5), ending("narrow", 9, NARROW_OPTIONS))
    snapshot = world(user=replace(ALICE, valid_until=until), grants=grants)
    stays = standing(snapshot)
    while (denial := stays.renew(snapshot)) is None:
        assert stays.lease.grant_id == "wide"
    assert denial.rule == "user-expired"
    assert datetime.now(UTC) >= until - timedelta(milliseconds=1)


def with_password(version: int) -> Snapshot:
    return world(user=replace(ALICE, credential_version=version), grants=(ending("g", 60),))


def test_another_password_ends_it() -> None:
    stays = standing(with_password(1))
    denial = stays.renew(with_password(2))
    assert denial is not None
    assert denial.rule == "password-changed"


def test_the_password_that_it_changed_itself_does_not_and_the_next_one_does() -> None:
    stays = standing(with_password(1))
    stays.changing_password()
    assert stays.renew(with_password(2)) is None  # seen before the answer has come
    stays.password_changed(done=True)
    assert stays.renew(with_password(1)) is None  # the answer came before it could be seen
    assert stays.renew(with_password(2)) is None
    assert stays.lease.user.credential_version == 2
    denial = stays.renew(with_password(3))
    assert denial is not None
    assert denial.rule == "password-changed"


def test_what_somebody_else_changed_meanwhile_ends_it() -> None:
    stays = standing(with_password(1))
    stays.changing_password()
    assert stays.renew(with_password(2)) is None
    stays.password_changed(done=False)
    assert stays.renew(with_password(2)) is not None


def test_an_answer_is_good_for_the_same_question_until_something_changes() -> None:
    snapshot = world(grants=(ending("short", 0.1),))
    lease = standing(snapshot).lease
    assert still_holds(lease, snapshot, snapshot, "s-1")
    assert not still_holds(lease, snapshot, replace(snapshot), "s-1")
    ended = world(grants=(ending("short", 60),), terminated={"s-2": "leave"})
    lease_of_other = standing(ended).lease
    assert still_holds(lease_of_other, ended, ended, "s-1")
    assert not still_holds(lease_of_other, ended, ended, "s-2")
    while still_holds(lease, snapshot, snapshot, "s-1"):
        """Until its grant ends."""
    assert lease.changes_at is not None
    assert datetime.now(UTC) >= lease.changes_at - timedelta(milliseconds=1)


def test_sessions_whose_rights_are_alike_share_their_lease_and_none_has_anothers() -> None:
    snapshot = world(grants=(ending("wide", 60),))
    first, second = standing(snapshot), standing(snapshot)
    assert first.lease is second.lease
    other = replace(snapshot, revision=snapshot.revision + 1)
    assert first.renew(other) is None
    assert first.lease.revision == other.revision
    assert second.lease.revision == snapshot.revision, "it was not asked yet"
    assert second.renew(other) is None
    assert first.lease is second.lease
    options = frozenset({GrantOption.NO_DDL})
    lesser = Standing(WHO, replace(first.lease, options=options))  # of the same person, grant and revision
    assert (lesser.lease.options, first.lease.options) == (options, frozenset())
