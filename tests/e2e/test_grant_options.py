"""What a grant carries, in live sessions: it comes and goes with the grant, by changes and by the clock, and the session stays."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from gateway.access_mode import AccessMode, GrantOption
from gateway.bus.gateway import BusGateway
from gateway.services import grants, groups
from tests.support.gateway import WHY, Person, RunningGateway
from tests.support.upstream import Database

RW = AccessMode.READ_WRITE
ALL_ROWS = "UPDATE orders SET total = total"
PATIENCE_SECONDS = 10.0


def group_grant(gateway: RunningGateway, person: Person, target: str, *options: GrantOption) -> None:
    """A narrow grant, through a group of its own: a holder has one grant of each mode."""
    store, name = gateway.admin.store, f"g{person.name}"
    gateway.admin.change(groups.create_group(store, name=name, members=(person.name,), **WHY))
    holder = grants.GroupHolder(name)
    gateway.admin.change(
        grants.create_grant(store, holder=holder, target_name=target, mode=RW, options=frozenset(options), **WHY)
    )


def own_grant(gateway: RunningGateway, person: Person, target: str, until: datetime | None = None) -> str:
    wide = frozenset({GrantOption.UNFILTERED_WRITES})
    holder = grants.UserHolder(person.name)
    named = gateway.admin.change(
        grants.create_grant(
            gateway.admin.store, holder=holder, target_name=target, mode=RW, options=wide, valid_until=until, **WHY
        )
    )
    return named.grant.id


def refused_by(connection: "psycopg.Connection[tuple[object, ...]]", sql: str) -> str:
    """The gateway's rule, or nothing (upstream's own refusals are none). Whatever it would have done is undone."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql, prepare=True)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ProgramLimitExceeded) as error:
        _, ours, rule = (error.diag.message_primary or "").rpartition("(rule ")
        return rule.rstrip(")") if ours else ""
    return ""


def wait_for(connection: "psycopg.Connection[tuple[object, ...]]", sql: str, rule: str) -> float:
    """Until that statement is refused by that rule (or by none); when it was."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while refused_by(connection, sql) != rule:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return time.monotonic()


def wait_until_listed(gateway: RunningGateway, person: Person, mode: AccessMode, options: list[str], rows: int | None) -> None:
    """As administrators see the live session of that mode."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        listed = asyncio.run(BusGateway(gateway.state_dir / "bus.sock").sessions())
        (found,) = (each for each in listed if (each.user, each.mode) == (person.name, mode))
        if (list(found.options), found.max_changed_rows) == (options, rows):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


@pytest.fixture
def ana(gateway: RunningGateway, shared_database: Database) -> tuple[Person, str]:
    """Somebody who may write without DDL for good."""
    person, target = gateway.person(), gateway.target(shared_database)
    group_grant(gateway, person, target, GrantOption.NO_DDL)
    gateway.settle(person, target)
    return person, target


def test_a_wide_grant_ends_by_the_clock_and_the_session_goes_on_under_the_narrow_one(
    gateway: RunningGateway, ana: tuple[Person, str]
) -> None:
    """What it had prepared under the wide one is refused when it is used; the session, its settings and tables stay."""
    person, target = ana
    ends = time.monotonic() + 4
    own_grant(gateway, person, target, datetime.now(UTC) + timedelta(seconds=4))
    with gateway.client(person, f"{target}:rw") as client:
        wait_for(client, ALL_ROWS, "")
        process = client.execute("SELECT pg_backend_pid()").fetchone()
        client.execute("SET statement_timeout = '77s'")
        assert refused_by(client, "CREATE TABLE made_by_ana (a int)") == ""
        ended = wait_for(client, ALL_ROWS, "where-missing")
        assert -0.3 < ended - ends < 1.5
        assert refused_by(client, "CREATE TABLE made_by_ana (a int)") == "ddl-not-granted"
        assert refused_by(client, f"{ALL_ROWS} WHERE true") == ""
        assert client.execute("SELECT pg_backend_pid()").fetchone() == process
        assert client.execute("SHOW statement_timeout").fetchone() == ("77s",)


def test_what_a_grant_carries_changes_under_a_live_session(gateway: RunningGateway, ana: tuple[Person, str]) -> None:
    person, target = ana
    with gateway.client(person, f"{target}:rw") as client:
        wait_for(client, ALL_ROWS, "where-missing")
        grant_id = own_grant(gateway, person, target)
        wait_for(client, ALL_ROWS, "")
        assert refused_by(client, "CREATE TABLE made_by_ana (a int)") == ""
        store = gateway.admin.store
        for options, rule in (({GrantOption.REPORT_ONLY}, ""), (set(), "where-missing"), ({GrantOption.UNFILTERED_WRITES}, "")):
            gateway.admin.change(grants.update_grant(store, grant_id=grant_id, options=frozenset(options), **WHY))
            wait_for(client, ALL_ROWS, rule)
        gateway.admin.change(grants.update_grant(store, grant_id=grant_id, max_changed_rows=1, **WHY))
        wait_for(client, "WITH a AS (UPDATE orders SET total = total RETURNING 1) SELECT * FROM a", "row-ceiling-uncounted")
        gateway.admin.change(grants.revoke_grant(store, grant_id=grant_id, **WHY))
        wait_for(client, "CREATE TABLE made_by_ana (a int)", "ddl-not-granted")


def test_the_record_of_a_sessions_start_tells_what_it_carries(gateway: RunningGateway, ana: tuple[Person, str]) -> None:
    person, target = ana
    gateway.client(person, f"{target}:rw").close()
    gateway.client(person, target).close()
    started = {mode: gateway.wait_for_event(event="session_start", user=person.name, mode=mode) for mode in AccessMode}
    assert started[RW]["options"] == ["no-ddl"]
    assert "max_changed_rows" not in started[RW]
    assert "options" not in started[AccessMode.READ_ONLY]


def test_listings_tell_what_a_live_session_carries_now(gateway: RunningGateway, ana: tuple[Person, str]) -> None:
    """As far as it means something in its mode."""
    person, target = ana
    with gateway.client(person, target), gateway.client(person, f"{target}:rw"):
        wait_until_listed(gateway, person, RW, ["no-ddl"], None)
        wait_until_listed(gateway, person, AccessMode.READ_ONLY, [], None)
        grant_id = own_grant(gateway, person, target)
        wait_until_listed(gateway, person, RW, ["unfiltered-writes"], None)
        both = frozenset({GrantOption.TEMPORARY_TABLES, GrantOption.REPORT_ONLY})
        store = gateway.admin.store
        gateway.admin.change(grants.update_grant(store, grant_id=grant_id, options=both, max_changed_rows=7, **WHY))
        wait_until_listed(gateway, person, RW, ["report-only"], 7)
        wait_until_listed(gateway, person, AccessMode.READ_ONLY, ["temporary-tables"], None)
        gateway.admin.change(grants.revoke_grant(store, grant_id=grant_id, **WHY))
        wait_until_listed(gateway, person, RW, ["no-ddl"], None)
