"""An answer that is given for sessions that are alike is the one that each would have had."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from gateway.access.authorize import authorize, renew
from gateway.access.model import Lease, Snapshot
from gateway.access_mode import AccessMode
from gateway.proxy.renewals import Renewals
from tests.support.snapshots import ALICE, GRANT, SALES, entry, world

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADDRESSES = [IPv4Address("10.1.2.3"), IPv4Address("10.9.9.9")]
TERMS = [None, NOW + timedelta(minutes=1), NOW + timedelta(minutes=3)]

SNAPSHOTS = st.builds(
    lambda until, version, mode, network, gone, lockdown: world(
        user=replace(ALICE, credential_version=version),
        grants=(replace(GRANT, id=f"g-{mode}", mode=mode, valid_until=until),),
        everywhere=(entry(network),),
        terminated=dict.fromkeys(gone, "why"),
        lockdown=lockdown,
    ),
    st.sampled_from(TERMS),
    st.sampled_from([1, 1, 1, 2]),
    st.sampled_from(list(AccessMode)),
    st.sampled_from(["10.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16"]),
    st.sets(st.sampled_from(["s0", "s1"])),
    st.sampled_from([None, None, None, "closed"]),
)


def leases(snapshot: Snapshot) -> dict[str, tuple[IPv4Address, Lease]]:
    found = {}
    for number in range(8):
        address, mode = ADDRESSES[number % 2], list(AccessMode)[number // 2 % 2]
        lease = authorize(
            snapshot,
            user_name=ALICE.name,
            target_name=SALES.name,
            mode=mode,
            address=address,
            now=NOW,
            session_id=f"s{number}",
        )
        if isinstance(lease, Lease):
            found[f"s{number}"] = address, lease
    return found


@given(SNAPSHOTS, st.lists(st.tuples(SNAPSHOTS, st.integers(0, 100)), max_size=4))
def test_it_is_what_each_would_have_been_told(first: Snapshot, changes: list[tuple[Snapshot, int]]) -> None:
    renewals, now, held = Renewals(), NOW, leases(replace(first, lockdown=None))
    for snapshot, seconds in changes:
        now += timedelta(seconds=seconds)
        for name, (address, lease) in list(held.items()):
            told = renewals.renew(snapshot, lease, address=address, now=now, session_id=name)
            assert told == renew(snapshot, lease, address=address, now=now, session_id=name)
            if isinstance(told, Lease):
                held[name] = address, told
            else:
                del held[name]


def test_sessions_that_are_alike_share_one_lease() -> None:
    snapshot = world()
    renewals = Renewals()
    told = [
        renewals.renew(snapshot, lease, address=address, now=NOW, session_id=name)
        for name, (address, lease) in leases(snapshot).items()
        if address is ADDRESSES[0]
    ]
    assert len(told) > 1
    assert len({id(each) for each in told}) == 1
