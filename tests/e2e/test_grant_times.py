"""Grants in time, against a real PostgreSQL: when a session may begin, what it is told before its end, and its limits."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from gateway.access.windows import DAYS, parse_window
from gateway.access_mode import AccessMode
from gateway.services import grants
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.upstream import Database
from tests.support.wire import Closed, Message, Place, RawClient, Refused, bind, copy_fail, execute, parse, query

NOTICES = [5.0, 1.5]  # in place of 10 minutes and 1 minute
OPEN_WARNING, ADMIN_SHUTDOWN, IDLE, IDLE_IN_TRANSACTION = "01000", "57P01", "57P05", "25P03"


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    with running_gateway(
        listen={"host": "127.0.0.1", "port": 0, "drain_seconds": 1.0, "workers": 2},
        limits={"end_notices_seconds": NOTICES, "max_pending_per_address": 500},
    ) as running:
        yield running


@pytest.fixture
def person(gateway: RunningGateway) -> Person:
    return gateway.person()


@pytest.fixture(scope="module")
def target(gateway: RunningGateway, shared_database: Database) -> str:
    return gateway.target(shared_database)


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def give(gateway: RunningGateway, person: Person, target: str, mode: AccessMode = AccessMode.READ_ONLY, **given: Any) -> str:
    """The new grant's id. Beside those that there are."""
    change = grants.create_grant(
        gateway.admin.store,
        holder=grants.UserHolder(person.name),
        target_name=target,
        mode=mode,
        beside=True,
        **given,
        **WHY,
    )
    return str(gateway.admin.change(change).grant.id)


def alter(gateway: RunningGateway, grant_id: str, **given: Any) -> None:
    gateway.admin.change(grants.update_grant(gateway.admin.store, grant_id=grant_id, **given, **WHY))


def enter(gateway: RunningGateway, person: Person, target: str) -> RawClient:
    """As soon as the workers know of the grant."""
    place, deadline = Place(gateway.host, gateway.port, gateway.ca_file), time.monotonic() + 5
    while True:
        try:
            return place.log_in(person.name, person.password, target)
        except Refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def working(time_text: str) -> str:
    """A statement that works for so long (reading roles may not sleep)."""
    return (
        "DO $$ DECLARE began timestamptz := clock_timestamp(); "
        f"BEGIN WHILE clock_timestamp() < began + interval '{time_text}' LOOP PERFORM 1; END LOOP; END $$; "
    )


def to_the_end(client: RawClient, seconds: float = 15) -> list[tuple[float, Message]]:
    """What comes until the connection is closed, each with its time."""
    found: list[tuple[float, Message]] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            message = client.read(seconds)
        except Closed:
            return found
        found.append((time.monotonic(), message))
    raise AssertionError(f"still open: {found}")


# -- the end -----------------------------------------------------------------------------------------------------------


def test_before_its_end_a_session_is_told_twice_and_then_ends_cleanly(
    gateway: RunningGateway, person: Person, target: str
) -> None:
    ends_at = in_seconds(6.0)
    give(gateway, person, target, valid_until=ends_at)
    client = enter(gateway, person, target)
    heard = to_the_end(client)
    assert [(message.kind, message.severity, message.sqlstate) for _, message in heard] == [
        ("N", "WARNING", OPEN_WARNING),
        ("N", "WARNING", OPEN_WARNING),
        ("E", "FATAL", ADMIN_SHUTDOWN),
    ]
    ended = heard[-1][0]
    before = [ended - at for at, _ in heard]
    assert NOTICES[0] + 1.0 > before[0] > before[1] + 0.4 > 0.9
    assert -0.2 < ended - time.monotonic() + time.time() - ends_at.timestamp() < 3.0
    assert heard[0][1].said.startswith(f'your access to target "{target}" ends in ')
    assert "save your work" in heard[0][1].fields["H"]
    assert gateway.events(event="end_announced", user=person.name)


def test_a_session_goes_on_under_another_grant_and_hears_nothing(gateway: RunningGateway, person: Person, target: str) -> None:
    give(gateway, person, target, valid_until=in_seconds(2.5))
    other = give(gateway, person, target, idle_timeout_seconds=2)
    client = enter(gateway, person, target)
    for _ in range(7):
        assert client.value("SELECT 1") == "1"
        time.sleep(0.5)
    assert all(message.kind != "N" for message in client.transcript)
    gateway.wait_for_event(event="grant_changed", user=person.name, grant=other, idle_timeout_seconds=2)
    assert [message.sqlstate for _, message in to_the_end(client)] == [IDLE]  # its limits hold at once


def test_before_it_begins_and_outside_its_windows_nobody_is_let_in(
    gateway: RunningGateway, person: Person, target: str
) -> None:
    grant = give(gateway, person, target, valid_from=in_seconds(60))
    place = Place(gateway.host, gateway.port, gateway.ca_file)
    time.sleep(0.3)
    with pytest.raises(Refused) as refused:
        place.log_in(person.name, person.password, target)
    assert refused.value.sqlstate == "28000"
    assert "has not begun: it does at " in refused.value.error.said
    alter(gateway, grant, valid_from=in_seconds(1.0))
    client = enter(gateway, person, target)
    assert client.value("SELECT 1") == "1"
    other_day = DAYS[(datetime.now(UTC).weekday() + 3) % 7]
    alter(gateway, grant, windows=(parse_window(f"{other_day} 08:00-18:00 UTC"),))
    ((_, end),) = to_the_end(client, 3)
    assert (end.sqlstate, end.severity) == (ADMIN_SHUTDOWN, "FATAL")
    assert f"is closed at this hour: it opens at {other_day} " in end.said
    with pytest.raises(Refused) as refused:
        place.log_in(person.name, person.password, target)
    assert f"It is open {other_day} 08:00-18:00 UTC." in refused.value.error.fields["H"]


def test_notices_and_the_end_never_stand_inside_a_message(gateway: RunningGateway, person: Person, target: str) -> None:
    """The client reads too slowly for the row of 20 MB that it asked for: what is said meanwhile comes behind it."""
    ends_at = in_seconds(8)
    give(gateway, person, target, valid_until=ends_at)
    client = enter(gateway, person, target)
    client.send(query("SELECT repeat('x', 20000000)"))
    time.sleep(max(0.0, ends_at.timestamp() - time.time() - 3.8))  # it was time for the first one a second ago
    messages = client.until("Z", 10)
    assert [message.kind for message in messages if message.kind != "N"] == ["T", "D", "C", "Z"]
    assert max(len(message.body) for message in messages) > 20_000_000
    rest = [message for _, message in to_the_end(client)]
    assert [message.kind for message in [*messages, *rest]].count("N") >= 1
    assert (rest[-1].kind, rest[-1].sqlstate) == ("E", ADMIN_SHUTDOWN)


# -- sessions ----------------------------------------------------------------------------------------------------------


def test_the_limit_of_sessions_holds_over_all_workers(gateway: RunningGateway, person: Person, target: str) -> None:
    grant = give(gateway, person, target, max_sessions=5)
    held = [enter(gateway, person, target) for _ in range(5)]  # as many as a GUI opens
    place = Place(gateway.host, gateway.port, gateway.ca_file)
    for _ in range(6):
        with pytest.raises(Refused) as refused:
            place.log_in(person.name, person.password, target)
        assert refused.value.sqlstate == "53300"
        assert refused.value.error.said == (
            f'too many sessions on your grant for "{target}": it admits 5 at a time, 5 are open'
        )
        assert grant in refused.value.error.fields["H"]
    held.pop().close()
    held.append(enter(gateway, person, target))
    alter(gateway, grant, max_sessions=6)
    held.append(enter(gateway, person, target))
    alter(gateway, grant, max_sessions=2)
    assert all(client.value("SELECT 1") == "1" for client in held)  # who is there stays
    for client in held:
        client.close()


# -- statements --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(AccessMode))
def test_no_statement_runs_longer_than_the_grant_allows(
    gateway: RunningGateway, person: Person, target: str, mode: AccessMode
) -> None:
    give(gateway, person, target, mode, statement_timeout_ms=400)
    enter(gateway, person, target).close()
    with gateway.client(person, target if mode is AccessMode.READ_ONLY else f"{target}:rw") as client:
        said: list[str] = []
        client.add_notice_handler(lambda diagnostic: said.append(str(diagnostic.message_primary)))

        def timed_out() -> None:
            with pytest.raises(psycopg.errors.QueryCanceled, match="due to statement timeout"):
                client.execute("SELECT count(*) FROM pg_catalog.generate_series(1, 1000000000)")

        timed_out()
        for text in (
            "SET statement_timeout = 0",
            "SET SESSION statement_timeout TO '1h'",
            "SET LOCAL statement_timeout = '5min'",
        ):
            client.execute(text)
            assert said.pop() == "a value above this gateway's cap was lowered to it"
            timed_out()
        for text in ("RESET statement_timeout", "SET statement_timeout TO DEFAULT", "RESET ALL", "DISCARD ALL"):
            client.execute(text)
            assert client.execute("SHOW statement_timeout").fetchone() == ("400ms",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute("SELECT set_config('statement_timeout', '0', false)")
        client.execute("SET statement_timeout = 300")
        assert client.execute("SHOW statement_timeout").fetchone() == ("300ms",)
    with gateway.client(person, target, options="-c statement_timeout=1h") as client:
        assert client.execute("SHOW statement_timeout").fetchone() == ("400ms",)


def test_a_timeout_that_a_function_took_away_is_kept_by_the_gateway(
    gateway: RunningGateway, person: Person, target: str
) -> None:
    give(gateway, person, target, AccessMode.READ_WRITE, statement_timeout_ms=500)
    enter(gateway, person, target).close()
    with gateway.client(person, f"{target}:rw") as client:
        client.execute("DO $$ BEGIN PERFORM pg_catalog.set_config('statement_timeout', '0', false); END $$")
        assert client.execute("SHOW statement_timeout").fetchone() == ("0",)
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            client.execute(working("20 s"))
        assert time.monotonic() - began < 10
        assert client.execute("SELECT 1").fetchone() == (1,)
    assert gateway.wait_for_event(event="cancel", user=person.name)["reason"] == "statement-timeout"


def test_a_query_of_several_statements_has_the_time_for_each(gateway: RunningGateway, person: Person, target: str) -> None:
    give(gateway, person, target, AccessMode.READ_WRITE, statement_timeout_ms=3000)
    enter(gateway, person, target).close()
    client = enter(gateway, person, f"{target}:rw")
    answer = client.ask(query(working("800 ms") * 6))
    assert [message.kind for message in answer if message.kind in "CE"] == ["C"] * 6


# -- idleness ----------------------------------------------------------------------------------------------------------


def test_an_idle_session_ends_with_the_reason(gateway: RunningGateway, person: Person, target: str) -> None:
    grant = give(gateway, person, target, idle_timeout_seconds=1)
    client = enter(gateway, person, target)
    ((_, end),) = to_the_end(client)
    assert (end.severity, end.sqlstate) == ("FATAL", IDLE)
    assert end.said == f'terminating connection due to idle timeout of 1 s of grant {grant} on "{target}"'
    told = gateway.wait_for_event(event="session_end", user=person.name)
    assert told["reason"] == "idle-timeout"
    assert told["duration_seconds"] >= 1


def test_what_runs_is_never_idle(gateway: RunningGateway, person: Person, target: str, shared_database: Database) -> None:
    give(gateway, person, target, AccessMode.READ_WRITE, idle_timeout_seconds=2, idle_in_transaction_timeout_seconds=2)
    with shared_database.upstream.connect(shared_database.name) as admin:
        admin.autocommit = False
        admin.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        client, copying = enter(gateway, person, f"{target}:rw"), enter(gateway, person, f"{target}:rw")
        client.send(query("SELECT count(*) FROM orders"))  # which then waits for a lock
        copying.send(query("BEGIN; COPY accounts (owner) FROM STDIN"))  # and for its data
        time.sleep(5)
        admin.rollback()
    assert client.until("Z")[-1].kind == "Z"
    assert [message.kind for message in copying.quiet(0.2)] == ["C", "G"]
    copying.send(copy_fail())
    assert copying.until("Z")[-1].kind == "Z"


def test_a_transaction_left_open_ends_the_session(gateway: RunningGateway, person: Person, target: str) -> None:
    give(gateway, person, target, idle_in_transaction_timeout_seconds=1)
    client = enter(gateway, person, target)
    time.sleep(3)
    assert client.value("SELECT 1") == "1"  # outside of one there is no such limit
    client.ask(query("BEGIN"))
    ((_, end),) = to_the_end(client)
    assert (end.severity, end.sqlstate) == ("FATAL", IDLE_IN_TRANSACTION)
    assert "due to idle-in-transaction timeout of 1 s" in end.said
    client = enter(gateway, person, target)
    client.send(parse("SELECT 1"), bind(), execute(), b"H\0\0\0\x04")  # a group that never gets its Sync
    heard = [message for _, message in to_the_end(client)]
    assert (heard[-1].kind, heard[-1].sqlstate) == ("E", IDLE_IN_TRANSACTION)
