"""Asking the gateway by SQL, from real clients against a real PostgreSQL: who one is, what one may, and for more."""

import asyncio
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pg8000.native
import psycopg
import pytest

from gateway.access.asking import ModeWanted, StatementsWanted
from gateway.access.request_record import AccessRequest, State, Word
from gateway.access_mode import AccessMode
from gateway.bus.gateway import BusGateway
from gateway.services import approval_policies, users
from gateway.services.access_requests import decide_request
from gateway.services.approval_terms import NamedStep
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.upstream import Database
from tests.support.wire import SYNC, Place, bind, execute, parse, query, shape

READ, WRITE = AccessMode.READ_ONLY, AccessMode.READ_WRITE
DELETE = "DELETE FROM public.accounts WHERE id = 1"


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    """Two workers: what one of them refused is asked for in a session of the other, too."""
    listen = {"host": "127.0.0.1", "port": 0, "drain_seconds": 1.0, "workers": 2}
    limits = {"end_notices_seconds": [600.0], "max_pending_per_address": 500}
    with running_gateway(listen=listen, limits=limits) as running:
        yield running


@pytest.fixture(scope="module")
def approver(gateway: RunningGateway) -> Person:
    """Whose word counts in the default environment."""
    made = gateway.person("approver")
    given = approval_policies.create_policy(
        gateway.admin.store,
        name="all",
        environment="default",
        modes=frozenset(AccessMode),
        steps=(NamedStep(("user:approver",)),),
        **WHY,
    )
    gateway.admin.change(given)
    return made


@pytest.fixture(scope="module")
def target(gateway: RunningGateway, shared_database: Database) -> str:
    return gateway.target(shared_database)


@pytest.fixture
def person(gateway: RunningGateway, target: str, approver: Person) -> Person:
    made = gateway.person()
    gateway.grant(made, target)
    gateway.settle(made, target)
    return made


def stored(gateway: RunningGateway, number: int) -> AccessRequest:
    found = asyncio.run(gateway.admin.store.access_request(number))
    assert found is not None
    return found


def approve(gateway: RunningGateway, number: int) -> None:
    request = stored(gateway, number)
    yes = decide_request(
        gateway.admin.store,
        request=number,
        word=Word.YES,
        fingerprint=request.wanted.fingerprint,
        actor="user:approver",
    )
    gateway.admin.change(yes)


def eventually(look: Any, wanted: Any, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while (found := look()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def columns(cursor: "psycopg.Cursor[Any]") -> list[str]:
    return [each.name for each in cursor.description or ()]


def test_who_one_is_and_what_one_may(gateway: RunningGateway, person: Person, target: str) -> None:
    with gateway.client(person, target) as client:
        for binary in (False, True):
            cursor = client.execute("SHOW pgbastion.session", binary=binary)
            found = dict(zip(columns(cursor), cursor.fetchone() or (), strict=True))
            assert (found["user_name"], found["target"], found["mode"], found["environment"]) == (
                person.name,
                target,
                "read_only",
                "default",
            )
            assert (found["options"], found["request"], found["ends_at"]) == ([], None, None)
            assert abs(found["started_at"] - datetime.now(UTC)) < timedelta(minutes=1)
        cursor = client.execute("SHOW pgbastion.grants", prepare=True)
        assert columns(cursor)[:4] == ["target", "environment", "mode", "options"]
        assert [row[:6] for row in cursor] == [(target, "default", "read_only", [], "you", "live")]
        assert client.execute("SHOW pgbastion.requests").fetchall() == []
    assert (
        gateway.wait_for_event(event="statement", sql="SHOW pgbastion.session", user=person.name)["rule"] == "gateway-statement"
    )


def test_a_prepared_statement_shows_what_is_so_now(gateway: RunningGateway, person: Person, target: str) -> None:
    with gateway.client(person, target) as client:
        client.prepare_threshold = 0

        def modes() -> list[str]:
            return [row[2] for row in client.execute("SHOW pgbastion.grants").fetchall()]

        assert modes() == ["read_only"]
        gateway.grant(person, target, WRITE)
        eventually(lambda: sorted(modes()), ["read_only", "read_write"])
        assert client.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'pgbastion%'").fetchone() == (0,)


def test_in_transactions_and_pipelines(gateway: RunningGateway, person: Person, target: str) -> None:
    with gateway.client(person, target, autocommit=False) as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
        assert len(client.execute("SHOW pgbastion.grants").fetchall()) == 1
        number, state = (client.execute("SELECT pgbastion.request('read_write', '1h', 'fix')").fetchone() or ())[:2]
        client.rollback()  # takes nothing back
        assert (stored(gateway, number).state, state) == (State.PENDING, "pending")
        with client.pipeline() as pipeline:
            before = client.execute("SELECT 1")
            shown = client.execute("SHOW pgbastion.requests")
            same = client.execute("SELECT * FROM pgbastion.request('read_write', '1h', 'fix')")
            after = client.execute("SELECT 2")
            pipeline.sync()
            assert (before.fetchone(), after.fetchone()) == ((1,), (2,))
            assert [row[:2] for row in shown] == [(number, "pending")]
            assert (same.fetchone() or ())[0] == number
        client.rollback()
        given_back = client.execute(f"SELECT * FROM pgbastion.relinquish({number})").fetchone() or ()
        assert given_back[:2] == (number, "cancelled")


def test_a_failed_transaction_asks_for_nothing(gateway: RunningGateway, person: Person, target: str) -> None:
    with gateway.client(person, target, autocommit=False) as client:
        with pytest.raises(psycopg.errors.DivisionByZero):
            client.execute("SELECT 1/0")
        for prepare in (False, True):
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                client.execute("SELECT pgbastion.request('read_write')", prepare=prepare)
        client.rollback()
        assert client.execute("SHOW pgbastion.requests").fetchall() == []


def test_from_the_question_to_the_end(gateway: RunningGateway, person: Person, target: str) -> None:
    """Asked from psql, approved, used, told of its end, given back: the session reads why it ends."""
    psql = shutil.which("psql") or "/usr/lib/postgresql/15/bin/psql"
    parameters = gateway.parameters(person, target)
    dsn = " ".join(f"{key}={value}" for key, value in parameters.items() if key != "password")
    asked = "SELECT pgbastion.request(mode => 'read_write', duration => '5m', reason => 'order 7')"
    done = subprocess.run(
        [psql, dsn, "-XAtF", "|", "-c", asked, "-c", "SHOW pgbastion.requests"],
        env={"PGPASSWORD": person.password},
        capture_output=True,
        text=True,
        check=True,
    )
    first, listed = done.stdout.splitlines()
    number = int(first.partition("|")[0])
    assert "pending" in first
    assert "Waits for a decision (approver)" in first
    assert listed.startswith(f"{number}|pending|{target}|read_write|read_write|300|order 7|")
    request = stored(gateway, number)
    assert (request.wanted.right, request.wanted.reason) == (ModeWanted(WRITE), "order 7")
    approve(gateway, number)
    gateway.settle(person, f"{target}:rw")
    heard: list[str] = []
    with gateway.client(person, f"{target}:rw") as writer:
        writer.add_notice_handler(lambda notice: heard.append(f"{notice.message_primary} {notice.message_hint}"))
        cursor = writer.execute("SHOW pgbastion.session")
        found = dict(zip(columns(cursor), cursor.fetchone() or (), strict=True))
        assert (found["request"], found["mode"]) == (number, "read_write")
        assert timedelta(minutes=4) < found["ends_at"] - datetime.now(UTC) <= timedelta(minutes=5)
        shown = writer.execute("SHOW pgbastion.requests").fetchone() or ()
        assert (shown[1], shown[-1]) == (
            "active",
            f'Connect to "{target}:rw". To give it back: SELECT pgbastion.relinquish({number})',
        )
        eventually(lambda: bool(heard or writer.execute("SELECT 1").fetchone() is None), True)
        assert f'your access to target "{target}" (request {number}) ends in' in heard[0]
        assert "SELECT pgbastion.request(mode => 'read_write', duration => '1h')" in heard[0]
        with gateway.client(person, target) as reader:
            back = reader.execute(f"SELECT pgbastion.relinquish({number})").fetchone() or ()
            assert back[:2] == (number, "relinquished")
            with pytest.raises(psycopg.errors.AdminShutdown, match=f"your access request {number} was given back"):
                eventually(lambda: writer.execute("SELECT 1").fetchone(), None)
            assert reader.execute("SELECT 1").fetchone() == (1,)
            again = refused(reader, f"SELECT pgbastion.relinquish({number})")
            assert "is relinquished" in str(again)
    assert stored(gateway, number).state is State.RELINQUISHED


def refused(client: "psycopg.Connection[Any]", sql: str) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as caught:
        client.execute(sql)
    return caught.value


def code_of(error: psycopg.Error) -> str:
    hint = error.diag.message_hint or ""
    assert "pgbastion request create --from " in hint, hint
    return hint.partition("--from ")[2][:8]


def test_a_refusal_has_a_code_for_its_statement(gateway: RunningGateway, person: Person, target: str) -> None:
    """Which is asked for with it by its person, in any session, and by nobody else."""
    clients = [gateway.client(person, target) for _ in range(6)]
    code = code_of(refused(clients[0], DELETE))
    live = BusGateway(gateway.state_dir / "bus.sock")
    user = gateway.admin.read().users[person.name]
    found = asyncio.run(live.denied_statement(code, user.id))
    assert found is not None
    assert (found.target, found.statement, found.scope) == (target, DELETE, "exact")
    assert asyncio.run(live.denied_statement(code, "u-bob")) is None
    numbers = {(each.execute(f"SELECT pgbastion.request(code => '{code}')").fetchone() or (0,))[0] for each in clients}
    assert len(numbers) == 1
    (number,) = numbers
    right = stored(gateway, number).wanted.right
    assert isinstance(right, StatementsWanted)
    assert (right.texts, right.mode) == ((DELETE,), WRITE)
    other = gateway.person()
    gateway.grant(other, target)
    gateway.settle(other, target)
    with gateway.client(other, target) as theirs:
        assert "code-unknown" in str(refused(theirs, f"SELECT pgbastion.request(code => '{code}')"))
        assert theirs.execute("SHOW pgbastion.requests").fetchall() == []
        assert "unknown" in str(refused(theirs, f"SELECT pgbastion.relinquish({number})"))
    assert not any(DELETE in line for line in gateway.log)


def test_what_is_refused_says_what_would_work(gateway: RunningGateway, person: Person, target: str) -> None:
    with gateway.client(person, target) as client:
        unknown = refused(client, "SHOW pgbastion.rights")
        assert (unknown.sqlstate, unknown.diag.message_hint) == (
            "42704",
            "There are pgbastion.session, pgbastion.grants, pgbastion.requests.",
        )
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="literal"):
            client.execute("SELECT pgbastion.request(%s)", ("rw",))
        assert refused(client, "SELECT pgbastion.request('rw'); SELECT 1").sqlstate == "0A000"
        assert "not-askable" in str(refused(client, "SELECT pgbastion.request('rw', target => 'no_such_target')"))
        client.execute("PREPARE p AS SELECT 1")
        assert client.execute("SHOW pgbastion.requests").fetchall() == []
        assert client.execute("SHOW ALL").fetchall()


def test_an_upstream_function_of_that_name_is_not_called(
    gateway: RunningGateway, shared_database: Database, person: Person, target: str
) -> None:
    with shared_database.superuser() as admin:
        admin.execute("CREATE SCHEMA pgbastion")
        admin.execute("CREATE FUNCTION pgbastion.request(text) RETURNS text LANGUAGE sql AS $$SELECT 'theirs'$$")
        admin.execute("CREATE FUNCTION pgbastion.mine() RETURNS text LANGUAGE sql AS $$SELECT 'theirs'$$")
        admin.execute("GRANT USAGE ON SCHEMA pgbastion TO public")
    try:
        gateway.grant(person, target, WRITE)
        gateway.settle(person, f"{target}:rw")
        with gateway.client(person, f"{target}:rw") as client:
            answer = client.execute("SELECT * FROM pgbastion.request('read_only')").fetchone() or ()
            assert answer[1] == "pending"
            assert client.execute("SELECT pgbastion.mine()").fetchone() == ("theirs",)
            client.execute(f"SELECT pgbastion.relinquish({answer[0]})")
    finally:
        with shared_database.superuser() as admin:
            admin.execute("DROP SCHEMA pgbastion CASCADE")


def test_by_asyncpg(gateway: RunningGateway, person: Person, target: str) -> None:
    async def visit() -> None:
        given = gateway.parameters(person, target)
        dsn = f"postgresql://{given['host']}:{given['port']}/{target}?sslmode=verify-full&sslrootcert={given['sslrootcert']}"
        client = await asyncpg.connect(dsn, user=person.name, password=person.password)
        try:
            statement = await client.prepare("SHOW pgbastion.grants")
            assert [each.type.name for each in statement.get_attributes()][:4] == ["text", "text", "text", "text[]"]
            for _ in range(2):
                assert [row["target"] for row in await statement.fetch()] == [target]
            row = await client.fetchrow("SELECT pgbastion.request('read_write', reason => 'by asyncpg')")
            assert row["state"] == "pending"
            async with client.transaction():
                found = [each async for each in client.cursor("SHOW pgbastion.requests")]
                assert [(each["number"], each["reason"]) for each in found] == [(row["number"], "by asyncpg")]
            assert (await client.fetchrow(f"SELECT pgbastion.relinquish({row['number']})"))["state"] == "cancelled"
        finally:
            await client.close()

    asyncio.run(visit())


def test_by_pg8000(gateway: RunningGateway, person: Person, target: str) -> None:
    context = ssl.create_default_context(cafile=str(gateway.ca_file))
    client = pg8000.native.Connection(person.name, gateway.host, target, gateway.port, person.password, ssl_context=context)
    try:
        assert client.run("SHOW pgbastion.grants")[0][:3] == [target, "default", "read_only"]
        number, state = client.run("SELECT pgbastion.request('rw', '1h', 'by pg8000')")[0][:2]
        assert state == "pending"
        prepared = client.prepare("SHOW pgbastion.requests")
        assert prepared.run()[0][:2] == [number, "pending"]
        assert client.run(f"SELECT pgbastion.relinquish({number})")[0][1] == "cancelled"
        assert prepared.run()[0][:2] == [number, "cancelled"]
    finally:
        client.close()


def test_the_order_of_replies_on_the_wire(gateway: RunningGateway, person: Person, target: str) -> None:
    place = Place(gateway.host, gateway.port, gateway.ca_file)
    with place.log_in(person.name, person.password, target) as client:
        client.send(parse("SELECT 1"), bind(), execute(), parse("SHOW pgbastion.grants"), bind(), execute(), SYNC)
        assert shape(client.until()) == "12DC12DCZ"
        client.send(parse("SHOW pgbastion.session", "s"), SYNC)
        assert shape(client.until()) == "1Z"
        client.send(query("SELECT 1"), bind("s"), execute(), SYNC, query("SHOW pgbastion.session"), query("SELECT 2"))
        assert shape([*client.until(), *client.until()]) == "TDCZ2DCZ"
        assert shape([*client.until(), *client.until()]) == "TDCZTDCZ"
        client.send(query("EXECUTE s"))  # by SQL nobody is asked
        answer = client.until()
        assert shape(answer) == "EZ"
        assert answer[0].sqlstate == "42704"


def test_when_the_person_is_gone_nobody_is_asked_for_them(gateway: RunningGateway, person: Person, target: str) -> None:
    with gateway.client(person, target) as client:
        gateway.admin.change(users.disable_user(gateway.admin.store, name=person.name, **WHY))
        with pytest.raises(psycopg.OperationalError):
            eventually(lambda: client.execute("SELECT pgbastion.request('rw')").fetchone(), None)


def test_who_waits_for_the_gateway_waits_not_for_good_and_holds_up_nobody(
    gateway: RunningGateway, person: Person, target: str
) -> None:
    with gateway.client(person, target) as asking, gateway.client(person, target) as other:
        gateway.process.send_signal(signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(1) as pool:
                answer = pool.submit(refused, asking, "SELECT pgbastion.request('read_write')")
                while not answer.done():
                    assert other.execute("SELECT 1").fetchone() == (1,)
                    time.sleep(0.05)
            assert (answer.result().sqlstate, asking.execute("SHOW pgbastion.session").rowcount) == ("57P03", 1)
            assert "asks for nothing twice" in str(answer.result().diag.message_hint)
        finally:
            gateway.process.send_signal(signal.SIGCONT)
