"""The same changes, in whichever order, leave the same behind on either kind of store: also those that are refused."""

import random
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest

from gateway.access.model import AllowlistEntry, ApiToken, Grant, Group, TokenScope
from gateway.access_mode import AccessMode, GrantOption
from gateway.ports import IdempotencyClaim, Lockdown, SessionTermination
from gateway.store.errors import StoreConflictError
from gateway.store.sql_store import SqlStore
from tests.store.test_store_unit_of_work import EVENT
from tests.store.writers import user
from tests.support.snapshots import LATER, NOW, SALES

CHANGES = 30
NAMES = ("a", "b", "Ä", "ß'\"\\", "%_")


def any_row(chance: random.Random):
    one, other = chance.choice(NAMES), chance.choice(NAMES)
    mode = chance.choice(list(AccessMode))
    options = frozenset(option for option in GrantOption if chance.random() < 0.3)
    roles = {mode: replace(role, id=f"r-{one}-{mode}") for mode, role in SALES.roles.items() if chance.random() < 0.7}
    return chance.choice(
        [
            replace(user(one), id=f"u-{other}", enabled=chance.random() < 0.5),
            replace(
                SALES,
                id=f"t-{one}",
                name=other,
                roles=roles,
                max_sessions=chance.choice([None, 3]),
                open_ahead=chance.choice([0, 2]),
            ),
            Group(f"gr-{one}", other, frozenset(f"u-{name}" for name in NAMES if chance.random() < 0.3)),
            Grant(
                f"g-{one}{other}",
                chance.choice(["u-", "gr-"]) + one,
                f"t-{other}",
                mode,
                chance.choice([None, LATER]),
                options=options,
                max_changed_rows=chance.choice([None, 1, 1000]),
            ),
            AllowlistEntry(f"e-{one}", ip_network("10.0.0.0/8"), other, None, user_id=chance.choice([None, f"u-{other}"])),
            ApiToken(f"k-{one}", other, f"hash {one}".encode(), chance.choice(list(TokenScope)), NOW, LATER, "os:ana"),
            SessionTermination(one, other),
            Lockdown(chance.choice([None, one])),
        ]
    )


async def change(store: SqlStore, seed: str):
    """One random change; its revision, or that it was refused."""
    chance = random.Random(seed)
    try:
        async with store.begin() as work:
            for _ in range(chance.randint(1, 4)):
                (work.put if chance.random() < 0.8 else work.remove)(any_row(chance))
            if chance.random() < 0.2:
                work.claim(IdempotencyClaim(chance.choice(NAMES), seed))
            return await work.commit(EVENT, *[EVENT] * chance.randint(0, 2))
    except StoreConflictError:
        return "refused"


def in_order(snapshot):
    def by_id(row):
        return row.id

    return replace(
        snapshot,
        grants={holder: sorted(found, key=by_id) for holder, found in snapshot.grants.items()},
        global_entries=sorted(snapshot.global_entries, key=by_id),
        user_entries={holder: sorted(found, key=by_id) for holder, found in snapshot.user_entries.items()},
    )


@pytest.mark.parametrize("seed", range(2))
async def test_both_kinds_end_alike(sqlite_place, postgres_place, seed):
    stores = [SqlStore(place.where, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC)) for place in (sqlite_place, postgres_place)]
    for store in stores:
        async with store.begin() as work:
            for name in NAMES:
                work.put(replace(user(name), id=f"u-{name}"))
                work.put(replace(SALES, id=f"t-{name}", name=name, roles={}))
            await work.commit(EVENT)
    outcomes = []
    for number in range(CHANGES):
        one, other = [await change(store, f"{seed} {number}") for store in stores]
        assert one == other
        outcomes.append(one)
    assert 0 < outcomes.count("refused") < CHANGES - 5
    one, other = [in_order(await store.read()) for store in stores]
    assert one == other
    one, other = [[replace(each, id="") for each in await store.read_events()] for store in stores]
    assert one == other
