"""What `SHOW pgbastion.grants` has: all that somebody may use now or later, and nothing of anybody else's."""

from dataclasses import replace
from datetime import timedelta

from gateway.access.model import (
    DEFAULT_ENVIRONMENT,
    OWNERS,
    AdminRole,
    Environment,
    Grant,
    Group,
    Permission,
    Reading,
    Snapshot,
)
from gateway.access.requested import Backer, Command, Only, Operation
from gateway.access_mode import AccessMode
from gateway.proxy.addressed import grants_of
from gateway.session.addressed import GRANTS
from gateway.session.constant_rows import Value
from tests.support.snapshots import ALICE, GRANT, LATER, NOW, PAST, SALES, SOON, world

WRITE = AccessMode.READ_WRITE
LEADS = Group("g-leads", "leads", frozenset({ALICE.id}))


def shown(snapshot: Snapshot) -> list[dict[str, Value]]:
    names = [column.name for column in GRANTS]
    return [dict(zip(names, row, strict=True)) for row in grants_of(snapshot, ALICE, NOW)]


def test_own_ones_with_all_that_they_carry() -> None:
    only = Only(operations=frozenset({Operation(Command.UPDATE, "app", "orders")}))
    grant = replace(
        GRANT,
        mode=WRITE,
        valid_from=PAST,
        valid_until=SOON,
        only=only,
        request_id="r",
        request_number=17,
        reading=Reading(max_rows=5),
    )
    snapshot = replace(world(grants=(grant,)), environments={"prod": Environment(DEFAULT_ENVIRONMENT, "prod")})
    (row,) = shown(snapshot)
    assert row == {
        "target": "sales",
        "environment": "prod",
        "mode": "read_write",
        "options": (),
        "given_to": "you",
        "state": "live",
        "since": PAST,
        "until": SOON,
        "windows": (),
        "limited_to": ("update app.orders",),
        "database_role": None,
        "request": 17,
        "grant_id": "g-1",
    }


def test_of_groups_and_of_admin_roles() -> None:
    group = Grant("g-2", LEADS.id, SALES.id, WRITE, None)
    snapshot = replace(
        world(grants=(group,), groups=(LEADS,)),
        environments={"default": Environment(DEFAULT_ENVIRONMENT, "default")},
        admin_roles={
            "dba": AdminRole("a-1", "dba", {DEFAULT_ENVIRONMENT: frozenset({Permission.TUNNEL})}, frozenset({ALICE.id}))
        },
    )
    assert [(row["target"], row["given_to"], row["mode"]) for row in shown(snapshot)] == [
        ("payroll", 'admin role "dba"', "read_only"),
        ("sales", 'group "leads"', "read_write"),
        ("sales", 'admin role "dba"', "read_only"),
    ]


def test_later_ones_and_none_that_are_over() -> None:
    later = replace(GRANT, id="g-2", valid_from=SOON, valid_until=LATER)
    over = replace(GRANT, id="g-3", valid_until=PAST)
    unbacked = replace(GRANT, id="g-4", backers=(Backer("u-gone", (OWNERS,)),))
    by_role = replace(GRANT, id="g-5", database_role="reporting")  # and logins are not managed
    snapshot = world(grants=(GRANT, later, over, unbacked, by_role))
    assert [(row["grant_id"], row["state"]) for row in shown(snapshot)] == [("g-1", "live"), ("g-2", "not-yet")]


def test_nobody_elses() -> None:
    others = Grant("g-9", "u-bob", SALES.id, WRITE, NOW + timedelta(hours=1))
    assert shown(world(grants=(others,), groups=(replace(LEADS, members=frozenset({"u-bob"})),))) == []
