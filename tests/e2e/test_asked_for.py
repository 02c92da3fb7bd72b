"""Grants of access requests through real drivers: what runs, what does not, and what the database holds afterwards."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors

from gateway.access.requested import Backer, Only
from gateway.access_mode import AccessMode
from gateway.services import groups, users
from tests.support.asked_for import Asked, give, needed
from tests.support.gateway import WHY, Person, RunningGateway
from tests.support.upstream import Database, Login, Upstream, fresh_database

RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
TABLES = ("app.orders", "app.lines", "app.log", "other.orders")


@dataclass
class Shop:
    gateway: RunningGateway
    target: str
    admin: "psycopg.Connection[Any]"

    def asks_for(self, *texts: str, exact: bool = False, **more: Any) -> tuple["psycopg.Connection[Any]", Asked]:
        """A new person's session under what was given for these statements."""
        mode, only = needed(*texts, exact=exact)
        return self.session(mode, only=only, **more)

    def session(self, mode: AccessMode, person: Person | None = None, **more: Any) -> tuple["psycopg.Connection[Any]", Asked]:
        person = person or self.gateway.person()
        asked = give(self.gateway, person, self.target, mode, **more)
        dbname = f"{self.target}:rw" if mode is RW else self.target
        self.gateway.settle(person, dbname)
        return self.gateway.client(person, dbname, autocommit=True), asked

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        return {table: self.admin.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES}


@pytest.fixture(scope="module")
def stock(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Database]:
    with fresh_database(postgres, upstream_logins) as fresh:
        with fresh.superuser() as admin:
            admin.execute("CREATE SCHEMA app; CREATE SCHEMA other")
            admin.execute("CREATE TABLE app.orders AS SELECT k AS id, 0 AS paid, 'n' || k AS name FROM generate_series(1, 9) k")
            admin.execute("CREATE TABLE app.lines AS SELECT k AS id, k % 9 AS paid FROM generate_series(1, 20) k")
            admin.execute("CREATE TABLE app.log (id int, paid int)")
            admin.execute("CREATE TABLE other.orders AS SELECT * FROM app.orders")
            admin.execute("CREATE FUNCTION app.spoil() RETURNS int LANGUAGE sql AS 'DELETE FROM app.lines RETURNING 1'")
            admin.execute("GRANT USAGE ON SCHEMA app, other TO app_ro, app_rw")
            admin.execute("GRANT ALL ON ALL TABLES IN SCHEMA app, other TO app_rw")
            admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA app, other TO app_ro")
            admin.execute(f"ALTER ROLE app_rw IN DATABASE {fresh.name} SET search_path = app")
        yield fresh
        with fresh.superuser() as admin:
            admin.execute(f"ALTER ROLE app_rw IN DATABASE {fresh.name} RESET ALL")


@pytest.fixture(scope="module")
def target(gateway: RunningGateway, stock: Database) -> str:
    return gateway.target(stock)


@pytest.fixture
def shop(gateway: RunningGateway, stock: Database, target: str) -> Iterator[Shop]:
    with stock.superuser() as admin:
        admin.autocommit = True
        before = Shop(gateway, target, admin)
        yield before
    gateway.close_clients()


def refused(session: "psycopg.Connection[Any]", text: str, *values: object, rule: str) -> None:
    with pytest.raises(psycopg.Error) as found:
        session.execute(text, values or None)
    assert rule in str(found.value), f"{text}: {found.value}"
    session.rollback()


def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.05)


ASKED = "UPDATE orders SET paid = 1 WHERE id = 7"
OTHERS = (
    "UPDATE orders SET paid = 1 WHERE id = 8",
    "UPDATE orders SET paid = 2 WHERE id = 7",
    "UPDATE orders SET paid = 1",
    "UPDATE orders SET paid = 1 WHERE id = 7 OR true",
    "UPDATE other.orders SET paid = 1 WHERE id = 7",
    "UPDATE lines SET paid = 1 WHERE id = 7",
    "DELETE FROM orders WHERE id = 7",
    "EXPLAIN ANALYZE UPDATE orders SET paid = 1 WHERE id = 7",
    "WITH x AS (UPDATE orders SET paid = 1 WHERE id = 8 RETURNING id) SELECT 1",
    "UPDATE orders SET paid = 1 WHERE id = 7; UPDATE orders SET paid = 1 WHERE id = 8",
    "PREPARE p AS UPDATE orders SET paid = 1 WHERE id = $1",
    "SELECT app.spoil()",
    "SET search_path = other",
    "SELECT set_config('search_path', 'other', false)",
    "DO 'BEGIN DELETE FROM app.orders; END'",
)


def test_nothing_but_the_statement_that_was_asked_for(shop: Shop) -> None:
    session, _ = shop.asks_for(ASKED, exact=True)
    before = shop.state()
    for text in OTHERS:
        refused(session, text, rule="statement-not-granted")
        assert shop.state() == before, text
    session.execute("update /* as approved */ ORDERS set paid = 1 where id = 7")
    assert shop.admin.execute("SELECT id FROM app.orders WHERE paid = 1").fetchall() == [(7,)]
    changed = shop.state()
    for text in OTHERS:  # what was let through is no pattern for others
        refused(session, text, rule="statement-not-granted")
        assert shop.state() == changed, text
    shop.admin.execute("UPDATE app.orders SET paid = 0")


def test_in_every_way_that_a_client_can_send_it(shop: Shop) -> None:
    session, _ = shop.asks_for(ASKED, exact=True)

    def paid() -> int:
        row = shop.admin.execute("SELECT count(*) FROM app.orders WHERE paid = 1").fetchone()
        shop.admin.execute("UPDATE app.orders SET paid = 0")
        assert row is not None
        return int(row[0])

    session.execute(ASKED, prepare=True)
    assert paid() == 1
    session.execute(ASKED, binary=True)
    assert paid() == 1
    with session.transaction():
        session.execute(ASKED)
    assert paid() == 1
    session.execute(f"PREPARE p AS {ASKED}")
    session.execute("EXECUTE p")
    assert paid() == 1
    session.execute(f"EXPLAIN {ASKED}")
    assert paid() == 0
    session.execute(f"BEGIN; {ASKED}; COMMIT")
    assert paid() == 1
    refused(session, "UPDATE orders SET paid = 1 WHERE id = %s", 7, rule="statement-not-granted")
    refused(session, "UPDATE orders SET paid = 1 WHERE id = %s", 8, rule="statement-not-granted")
    assert paid() == 0
    with pytest.raises(psycopg.OperationalError, match="search_path"):
        shop.gateway.client(_person_of(session, shop), f"{shop.target}:rw", options="-c search_path=other")


def _person_of(session: "psycopg.Connection[Any]", shop: Shop) -> Person:
    return Person(session.info.user, session.info.password)


WORK = (
    "UPDATE app.orders SET paid = 1 FROM app.lines l WHERE l.id = orders.id AND l.id < 4",
    "INSERT INTO app.log SELECT id, paid FROM app.orders WHERE paid = 1",
    "WITH gone AS (DELETE FROM app.lines WHERE id > 15 RETURNING id) INSERT INTO app.log SELECT id, 9 FROM gone",
)
BEYOND = (
    "DELETE FROM app.orders WHERE id = 1",
    "DELETE FROM app.log WHERE id = 1",
    "UPDATE app.lines SET paid = 5 WHERE id = 1",
    "UPDATE app.log SET paid = 5 WHERE id = 1",
    "INSERT INTO app.orders VALUES (99, 1, 'x')",
    "INSERT INTO app.log VALUES (1, 1) ON CONFLICT DO NOTHING RETURNING *",
    "SELECT * FROM app.log",
    "SELECT * FROM other.orders",
    "UPDATE other.orders SET paid = 5 WHERE id = 1",
    "UPDATE orders SET paid = 5 WHERE id = 1",
    "TRUNCATE app.log",
    "COPY app.log TO STDOUT",
    "SELECT app.spoil()",
    "UPDATE app.orders SET paid = app.spoil() WHERE id = 1",
    "DO 'BEGIN DELETE FROM app.orders; END'",
    "CREATE TABLE app.mine (a int)",
    "WITH x AS (DELETE FROM app.orders WHERE id = 1 RETURNING id) SELECT * FROM x",
    "MERGE INTO app.orders o USING app.lines l ON o.id = l.id WHEN MATCHED THEN UPDATE SET paid = 5",
    "PREPARE p AS DELETE FROM app.orders WHERE id = $1",
    "EXPLAIN ANALYZE DELETE FROM app.orders WHERE id = 1",
    "SELECT * FROM app.lines FOR UPDATE",
)


def test_the_operations_of_what_was_asked_for_and_no_others(shop: Shop) -> None:
    session, _ = shop.asks_for(*WORK)
    before = shop.state()
    for text in BEYOND:
        refused(session, text, rule="operation-not-granted")
        assert shop.state() == before, text
    for text in WORK:
        session.execute(text)
        after = shop.state()
        assert after != before, text
        before = after
    assert after["other.orders"] == shop.admin.execute("SELECT * FROM other.orders ORDER BY 1, 2").fetchall()
    assert [row[0] for row in after["app.orders"] if row[1] == 1] == [1, 2, 3]
    assert session.execute("SELECT count(*) FROM app.orders WHERE id = %s", [3]).fetchone() == (1,)
    session.execute("UPDATE app.orders SET paid = 0 WHERE id = %s", [3])  # another literal of the same operation
    session.execute("UPDATE app.orders SET paid = 0 WHERE true")
    shop.admin.execute("TRUNCATE app.log")


def test_reading_opens_what_was_asked_for(shop: Shop) -> None:
    session, _ = shop.asks_for("SELECT o.name FROM app.orders o JOIN app.lines l USING (id) WHERE l.paid = 3")
    assert session.execute("SELECT count(*) FROM app.orders").fetchone() == (9,)
    for text in ("SELECT * FROM app.log", "SELECT * FROM other.orders", "EXPLAIN SELECT * FROM app.log"):
        refused(session, text, rule="operation-not-granted")
    refused(session, "UPDATE app.orders SET paid = 5 WHERE id = 1", rule="write-statement")


def test_two_requests_open_both_each_for_its_time(shop: Shop) -> None:
    person = shop.gateway.person()
    mode, only = needed("UPDATE app.orders SET paid = 3 WHERE id = 1", exact=True)
    session, _ = shop.session(mode, person, only=only)
    mode, only = needed("SELECT * FROM app.lines; UPDATE app.lines SET paid = 1 WHERE id = 1")
    more = give(shop.gateway, person, shop.target, mode, only=only)

    def reads() -> bool:
        try:
            return session.execute("SELECT count(*) FROM app.lines").fetchone() is not None
        except errors.InsufficientPrivilege:
            return False

    until(reads)
    session.execute("UPDATE app.orders SET paid = 3 WHERE id = 1")
    more.end("request 17 was given back")
    until(lambda: not reads())
    session.execute("UPDATE app.orders SET paid = 3 WHERE id = 1")
    assert shop.admin.execute("SELECT paid FROM app.orders WHERE id = 1").fetchone() == (3,)


def ended(session: "psycopg.Connection[Any]", seconds: float = 1.5) -> str:
    """What the session was told."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            session.execute("SELECT 1")
        except errors.AdminShutdown as error:
            return str(error)
        time.sleep(0.02)
    raise AssertionError("the session goes on")


def test_who_may_not_approve_any_more_takes_the_right_along(shop: Shop) -> None:
    """Two who approved: one leaves the group, or is disabled; the session ends while a statement runs in it."""
    admin = shop.gateway.admin
    for lose in ("leave", "disable"):
        ben, name = shop.gateway.person(), f"g_{lose}_{time.monotonic_ns()}"
        admin.change(groups.create_group(admin.store, name=name, members=[ben.name], **WHY))
        snapshot = admin.read()
        backer = Backer(snapshot.users[ben.name].id, (snapshot.groups[name].id,))
        session, _ = shop.session(RO, backers=[backer])
        if lose == "leave":
            admin.change(groups.remove_member(admin.store, group_name=name, user_name=ben.name, **WHY))
        else:
            admin.change(users.disable_user(admin.store, name=ben.name, **WHY))
        assert f"{ben.name}, who approved it, may not approve any more" in ended(session)


def test_a_session_is_told_what_ended_its_right(shop: Shop) -> None:
    session, asked = shop.session(RW)
    asked.end("request 17 was revoked by ana: leaves the team")
    assert "your access request 17 was revoked by ana: leaves the team" in ended(session)
    session, _ = shop.session(RO, valid_until=datetime.now(UTC) + timedelta(seconds=2))
    assert "has expired" in ended(session, 4.0)


def test_a_verdict_of_one_is_not_anothers(shop: Shop) -> None:
    """The same text, in sessions of three people on one target."""
    everything, _ = shop.session(RW)
    exact, _ = shop.session(RW, only=needed("UPDATE app.orders SET paid = 4 WHERE id = 2", exact=True)[1])
    other, _ = shop.session(RW, only=needed("UPDATE app.lines SET paid = 4 WHERE id = 2")[1])
    for _ in range(3):
        everything.execute("UPDATE app.orders SET paid = 0 WHERE id = 2")
        exact.execute("UPDATE app.orders SET paid = 4 WHERE id = 2")
        refused(exact, "UPDATE app.orders SET paid = 0 WHERE id = 2", rule="statement-not-granted")
        refused(other, "UPDATE app.orders SET paid = 4 WHERE id = 2", rule="operation-not-granted")
    assert shop.admin.execute("SELECT paid FROM app.orders WHERE id = 2").fetchone() == (4,)


def test_it_is_in_the_audit(shop: Shop) -> None:
    session, asked = shop.session(RW, only=needed("UPDATE app.lines SET paid = 4 WHERE id = 2")[1])
    person = session.info.user
    event = shop.gateway.wait_for_event(event="session_start", user=person, grant=asked.grant.id)
    assert event["only_operations"] == ["update app.lines"]


def test_an_empty_list_opens_nothing() -> None:
    with pytest.raises(ValueError, match="either"):
        Only()
