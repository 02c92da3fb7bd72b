"""Short-lived credentials at a running gateway: who comes in with one, as whom, how often, and until when."""

import asyncio
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import psycopg
import pytest

from gateway.access_mode import AccessMode
from gateway.bus.gateway import BusGateway
from gateway.services import credentials, users
from gateway.services.credentials import Issued
from gateway.settings import Credentials as Rules
from gateway.store.sql_store import SqlStore
from tests.support.gateway import WHY, Person, RunningGateway
from tests.support.upstream import Database

SECOND = 1.0


@pytest.fixture
def analyst(gateway: RunningGateway, shared_database: Database) -> tuple[Person, str]:
    return gateway.analyst(shared_database, AccessMode.READ_WRITE)


def issue(gateway: RunningGateway, person: Person, target: str, **facts: Any) -> Issued:
    wanted = {"target": target, "user": person.name, "rules": Rules(), **WHY, **facts}
    issued = gateway.admin.change(credentials.issue_credential(gateway.admin.store, **wanted))
    wait_until_known(gateway, issued)
    return issued


def wait_until_known(gateway: RunningGateway, issued: Issued) -> None:
    bus, deadline = BusGateway(gateway.admin.settings.bus_socket), time.monotonic() + 5
    while asyncio.run(bus.revision()) < issued.credential.version:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def client(gateway: RunningGateway, issued: Issued, database: str, **more: Any) -> "psycopg.Connection[Any]":
    return gateway.client(Person(issued.login, issued.password.reveal()), database, **more)


def refused(gateway: RunningGateway, issued: Issued, database: str, **more: Any) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        client(gateway, issued, database, **more)
    return str(caught.value)


def end_of(session: "psycopg.Connection[Any]") -> str:
    """How its end reads, within the second that it may take (and what a busy machine adds)."""
    began = time.monotonic()
    while True:
        try:
            session.execute("SELECT 1")
        except psycopg.Error as error:
            return f"{error.sqlstate}: {error}"
        assert time.monotonic() - began < SECOND + 2
        time.sleep(0.02)


def test_a_session_by_credential_is_its_persons(gateway: RunningGateway, analyst: tuple[Person, str]) -> None:
    person, target = analyst
    issued = issue(gateway, person, target)
    with client(gateway, issued, target) as session:
        assert session.info.parameter_status("session_authorization") == person.name
        gateway.wait_for_event(event="session_start", user=person.name, target=target, credential=issued.credential.id)
        live = asyncio.run(BusGateway(gateway.admin.settings.bus_socket).sessions())
        assert [each.proof for each in live if each.user == person.name] == [f"credential {issued.credential.id}"]
    with client(gateway, issued, issued.login) as session:  # what libpq names when no database is
        assert session.execute("SELECT 1").fetchone() == (1,)
    with gateway.client(person, target) as session:  # their own password goes on as it was
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_other_drivers_take_the_login_as_it_is(gateway: RunningGateway, analyst: tuple[Person, str]) -> None:
    person, target = analyst
    issued = issue(gateway, person, target)
    trust = ssl.create_default_context(cafile=gateway.ca_file)
    trust.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    url = f"postgresql://{issued.login}:{issued.password.reveal()}@{gateway.host}:{gateway.port}/{target}"

    async def ask() -> str:
        session = await asyncpg.connect(url, ssl=trust)
        try:
            return str(session.get_settings().session_authorization)
        finally:
            await session.close()

    assert asyncio.run(ask()) == person.name


def test_it_opens_one_target_in_its_mode_from_its_network(gateway: RunningGateway, analyst: tuple[Person, str]) -> None:
    person, target = analyst
    reading = issue(gateway, person, target)
    assert "credential-for-other-target" in refused(gateway, reading, "elsewhere")
    assert "credential-mode" in refused(gateway, reading, f"{target}:rw")
    assert "password authentication failed" in refused(gateway, reading, target, password="wrong")
    far = issue(gateway, person, target, network="192.0.2.0/24")
    assert "address-not-admitted-for-credential" in refused(gateway, far, target)
    writing = issue(gateway, person, target, mode=AccessMode.READ_WRITE)
    with client(gateway, writing, f"{target}:rw") as session:
        assert session.execute("SHOW transaction_read_only").fetchone() == ("off",)


def test_its_sessions_are_counted(gateway: RunningGateway, analyst: tuple[Person, str]) -> None:
    person, target = analyst
    issued = issue(gateway, person, target, max_sessions=2)
    with client(gateway, issued, target), client(gateway, issued, target):
        assert "too-many-sessions-credential" in refused(gateway, issued, target)
        with gateway.client(person, target) as own:
            assert own.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("way", ["revoke", "password"])
def test_what_ends_it_ends_its_sessions(gateway: RunningGateway, analyst: tuple[Person, str], way: str) -> None:
    person, target = analyst
    issued = issue(gateway, person, target)
    session = client(gateway, issued, target)
    store = gateway.admin.store
    if way == "revoke":
        gateway.admin.change(credentials.revoke_credential(store, credential=issued.login, **WHY))
    else:
        gateway.admin.change(users.set_password(store, name=person.name, **WHY))
    assert end_of(session).startswith("57P01: terminating connection")
    assert refused(gateway, issued, target)


def test_it_expires_and_its_sessions_with_it(gateway: RunningGateway, analyst: tuple[Person, str]) -> None:
    person, target = analyst
    lived = timedelta(seconds=57)
    earlier = SqlStore(gateway.admin.settings, clock=lambda: datetime.now(UTC) - lived)
    issued = gateway.admin.change(
        credentials.issue_credential(earlier, target=target, user=person.name, seconds=60, rules=Rules(), **WHY)
    )
    wait_until_known(gateway, issued)
    session = client(gateway, issued, target)
    left = (issued.credential.valid_until - datetime.now(UTC)).total_seconds()
    assert left > 0
    time.sleep(left)
    assert "57P01: terminating connection: this short-lived credential has expired" in end_of(session)
    assert "credential-expired" in refused(gateway, issued, target)


def test_an_unknown_one_looks_like_any_unknown_user(gateway: RunningGateway, analyst: tuple[Person, str]) -> None:
    person, target = analyst
    issued = issue(gateway, person, target)
    for login in (f"{person.name}~00000000", f"nobody~{issued.credential.handle}", f"~{issued.credential.handle}"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            gateway.client(Person(login, issued.password.reveal()), target)


def test_a_credential_makes_no_lasting_password(gateway: RunningGateway, analyst: tuple[Person, str]) -> None:
    """psql's \\password in a session that a short-lived credential opened."""
    person, target = analyst
    issued = issue(gateway, person, target)
    with client(gateway, issued, target) as session:
        upstream_role = session.execute("SELECT current_user").fetchone()
        assert upstream_role is not None
        hashed = session.pgconn.encrypt_password(b"a-new-password-of-24-chars", person.name.encode(), b"scram-sha-256").decode()
        with pytest.raises(psycopg.Error, match="own-password"):
            session.execute(f"ALTER USER {upstream_role[0]} PASSWORD '{hashed}'")
    with gateway.client(person, target) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)
