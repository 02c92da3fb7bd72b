"""A remembered yes is the one that would have been given; whatever is not a yes, or may be another, is asked for."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from gateway.access.authorize import authorize
from gateway.access.model import Denial, Lease, Snapshot
from gateway.access_mode import AccessMode
from gateway.proxy.answers import Answers
from tests.proxy.test_renewals import ADDRESSES, NOW, SNAPSHOTS
from tests.support.snapshots import ALICE, GRANT, SALES, world

COMERS = st.tuples(
    st.sampled_from([ALICE, ALICE, replace(ALICE, credential_version=2), replace(ALICE, id="another")]),
    st.sampled_from([SALES.name, SALES.name, "nowhere"]),
    st.sampled_from(list(AccessMode)),
    st.sampled_from(ADDRESSES),
    st.sampled_from(["s0", "s1", "s2"]),
    st.integers(0, 40),
)


@given(st.lists(st.tuples(SNAPSHOTS, st.lists(COMERS, max_size=12)), max_size=4))
def test_it_is_what_each_would_have_been_told(changes: list[tuple[Snapshot, list[tuple[object, ...]]]]) -> None:
    answers, now = Answers(), NOW
    for snapshot, comers in changes:
        for user, target_name, mode, address, session_id, seconds in comers:
            now += timedelta(seconds=seconds)  # type: ignore[arg-type]
            asked = {"target_name": target_name, "mode": mode, "address": address, "now": now, "session_id": session_id}
            own = {"user_name": user.name, "user_id": user.id, "credential_version": user.credential_version}  # type: ignore[attr-defined]
            assert answers.authorize(snapshot, user=user, **asked) == authorize(snapshot, **own, **asked)  # type: ignore[arg-type]


def ask(answers: Answers, snapshot: Snapshot, session_id: str, seconds: int = 0) -> Lease | Denial:
    return answers.authorize(
        snapshot,
        user=ALICE,
        target_name=SALES.name,
        mode=GRANT.mode,
        address=IPv4Address("10.1.2.3"),
        now=NOW + timedelta(seconds=seconds),
        session_id=session_id,
    )


def test_who_comes_again_gets_the_very_lease_until_the_store_changes() -> None:
    answers, snapshot = Answers(), world()
    first = ask(answers, snapshot, "s0")
    assert isinstance(first, Lease)
    assert ask(answers, snapshot, "s1") is first
    assert ask(answers, world(), "s2") is not first
    assert isinstance(ask(answers, world(lockdown="closed"), "s3"), Denial)


def test_neither_a_grant_that_ended_nor_a_session_that_was_ended_is_let_in() -> None:
    answers = Answers()
    snapshot = world(grants=(replace(GRANT, valid_until=NOW + timedelta(seconds=5)),), terminated={"s9": "why"})
    assert isinstance(ask(answers, snapshot, "s0", 4), Lease)
    assert isinstance(ask(answers, snapshot, "s9", 4), Denial)
    assert isinstance(ask(answers, snapshot, "s1", 5), Denial)
