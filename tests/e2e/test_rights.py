"""L and R, and X16: what a person may do ends when the right to it ends, wherever their session stands."""

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from gateway.access_mode import AccessMode
from gateway.services import allowlist, grants, sessions, targets, users
from tests.support import wire
from tests.support.gateway import WHY, ListMode, Person, RunningGateway, running_gateway
from tests.support.hostile import Guest, hostile, victim_of
from tests.support.oracle import Twins
from tests.support.upstream import Database
from tests.support.wire import COPY_DONE, SYNC, Closed, Message, Place, RawClient, Refused, bind, execute, parse, query

TRIALS = 24  # the catalogue has 1,000 (R01) and 10,000 (R02)
RACES = 40
SLOWEST_SECONDS = 1.0
ENDLESS = "SELECT count(*) FROM orders a, orders b, orders c, orders d, orders e"
STREAM = "SELECT a.id, b.id, c.id FROM orders a, orders b, orders c"


@dataclass
class Reading:
    """What a client reads in the background, and when the last byte came."""

    client: RawClient
    last_byte_at: float = 0.0
    closed_at: float = 0.0

    def run(self) -> None:
        try:
            while True:
                self.client.read(30)
                self.last_byte_at = time.monotonic()
                del self.client.transcript[:-5]
        except (Closed, TimeoutError):
            self.closed_at = time.monotonic()


def _idle(client: RawClient) -> None:
    """Nothing."""


def _active(client: RawClient) -> None:
    client.send(query(ENDLESS))


def _streaming(client: RawClient) -> None:
    client.send(query(STREAM))


def _in_transaction(client: RawClient) -> None:
    client.ask(query("BEGIN"))
    client.ask(query("SELECT 1"))


def _in_pipeline(client: RawClient) -> None:
    client.send(parse(ENDLESS), bind(), execute(), parse("SELECT 2"), bind(), execute())


def _copying(client: RawClient) -> None:
    client.send(query(f"COPY ({STREAM}) TO STDOUT"))


STATES: tuple[Callable[[RawClient], None], ...] = (_idle, _active, _streaming, _in_transaction, _in_pipeline, _copying)


def end_of(twins: Twins, state: Callable[[RawClient], None], act: Callable[[], None]) -> tuple[float, float, list[Message]]:
    """Seconds from the change's commit, and from before it, to the last relayed byte; and the last messages."""
    client = twins.through()
    state(client)
    reading = Reading(client)
    thread = threading.Thread(target=reading.run)
    thread.start()
    time.sleep(0.05)
    began = time.monotonic()
    act()
    committed = time.monotonic()
    thread.join(5)
    assert not thread.is_alive(), "the session lives"
    return reading.last_byte_at - committed, reading.last_byte_at - began, client.transcript


def backends(database: Database, person: Person) -> int:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s"
    with database.upstream.connect() as admin:
        row = admin.execute(sql, [f"{person.name}/%"]).fetchone()
    assert row is not None
    return int(row[0])


def gone_upstream(database: Database, person: Person, seconds: float = 1.0) -> None:
    deadline = time.monotonic() + seconds
    while backends(database, person):
        assert time.monotonic() < deadline, "upstream still has a session"
        time.sleep(0.02)


def test_r01_revoked_in_every_state(gateway: RunningGateway, shared_database: Database) -> None:
    """FATAL 57P01 within a second wherever the session stands, its query cancelled, its transaction gone."""
    person, target = gateway.analyst(shared_database)
    twins = Twins(gateway, shared_database, person, target, AccessMode.READ_ONLY)
    took, took_in_all = [], []
    for number in range(TRIALS):
        state = STATES[number % len(STATES)]
        after, whole, said = end_of(twins, state, lambda: gateway.revoke(person, target))
        took.append(max(after, 0))
        took_in_all.append(whole)
        if state is not _streaming and state is not _copying:  # those may stand inside a row
            assert (said[-1].severity, said[-1].sqlstate) == ("FATAL", "57P01"), state
        gone_upstream(shared_database, person)
        gateway.grant(person, target)
        gateway.settle(person, target)
    took.sort()
    took_in_all.sort()
    late = int(TRIALS * 0.99)
    print(
        f"revoke to last byte over {TRIALS}: p50 {statistics.median(took) * 1e3:.1f} ms, p99 {took[late] * 1e3:.1f} ms after the "
        f"commit; from before the change {statistics.median(took_in_all) * 1e3:.1f} and {took_in_all[late] * 1e3:.1f} ms"
    )
    assert took[-1] < SLOWEST_SECONDS
    reasons = {event["reason"] for event in gateway.events(event="session_end", user=person.name)}
    assert any("grant" in reason for reason in reasons) or "target-unknown" in reasons


@pytest.mark.parametrize("state", [_idle, _active], ids=["idle", "active"])
def test_l10_an_address_is_removed(
    gateway: RunningGateway, shared_database: Database, state: Callable[[RawClient], None]
) -> None:
    """FATAL 57P01 within a second, the query cancelled; and the person cannot come back from there."""
    store = gateway.admin.store
    person, target = gateway.analyst(shared_database)
    twins = Twins(gateway, shared_database, person, target, AccessMode.READ_ONLY)
    level = allowlist.OfUser(person.name)
    gateway.admin.change(allowlist.create_entry(store, level=level, network="127.0.0.1/32", label="here", **WHY))
    gateway.admin.change(allowlist.set_list_mode(store, level=level, mode=ListMode.RESTRICT, **WHY))
    time.sleep(0.3)
    after, _, said = end_of(
        twins, state, lambda: gateway.admin.change(allowlist.delete_network(store, level=level, network="127.0.0.1/32", **WHY))
    )
    assert after < SLOWEST_SECONDS
    assert (said[-1].severity, said[-1].sqlstate) == ("FATAL", "57P01")
    gone_upstream(shared_database, person)
    with pytest.raises(Refused) as caught:
        twins.through()
    assert caught.value.sqlstate == "28000"
    ended = gateway.wait_for_event(event="session_end", user=person.name)
    assert "address" in ended["reason"]


@pytest.mark.parametrize("change", ["disable", "delete", "password", "terminate", "target disabled"])
def test_r06_every_other_way_to_lose_a_right(gateway: RunningGateway, shared_database: Database, change: str) -> None:
    """One path for all: the session ends within a second."""
    store = gateway.admin.store
    person, target = gateway.analyst(shared_database)
    twins = Twins(gateway, shared_database, person, target, AccessMode.READ_ONLY)

    def act() -> None:
        match change:
            case "disable":
                gateway.admin.change(users.disable_user(store, name=person.name, **WHY))
            case "delete":
                gateway.admin.change(users.delete_user(store, name=person.name, **WHY))
            case "password":
                gateway.admin.change(users.set_password(store, name=person.name, **WHY))
            case "target disabled":
                gateway.admin.change(targets.disable_target(store, name=target, **WHY))
            case _:
                session = gateway.events(event="session_start", user=person.name)[-1]["session"]
                gateway.admin.change(
                    sessions.terminate_session(store, session_id=session, actor="os:test", reason="enough now")
                )

    after, _, said = end_of(twins, _active, act)
    assert after < SLOWEST_SECONDS
    assert (said[-1].severity, said[-1].sqlstate) == ("FATAL", "57P01")
    if change == "terminate":
        assert "enough now" in said[-1].said


def test_r02_revoked_while_connecting(gateway: RunningGateway, shared_database: Database) -> None:
    """Whatever comes first, a second after the commit nobody is in."""
    rng = Random(2)
    person, target = gateway.analyst(shared_database)
    twins = Twins(gateway, shared_database, person, target, AccessMode.READ_ONLY)
    admitted = 0
    for _ in range(RACES):
        ends: list[float] = []
        begin = threading.Barrier(2)

        def connect(delay: float, ends: list[float] = ends, begin: threading.Barrier = begin) -> None:
            begin.wait()
            time.sleep(delay)
            try:
                client = twins.through()
            except Refused:
                ends.append(0.0)
                return
            reading = Reading(client)
            reading.run()
            ends.append(reading.closed_at)

        thread = threading.Thread(target=connect, args=(rng.uniform(0, 0.03),))
        thread.start()
        begin.wait()
        time.sleep(rng.uniform(0, 0.03))
        gateway.revoke(person, target)
        committed = time.monotonic()
        thread.join(5)
        assert not thread.is_alive(), "somebody is still in"
        assert ends[0] - committed < SLOWEST_SECONDS
        admitted += bool(ends[0])
        gateway.grant(person, target)
        gateway.settle(person, target)
    print(f"of {RACES} logins that raced with a revocation, {admitted} were in for a moment")


def test_r03_revoked_while_upstream_is_dialled(gateway: RunningGateway) -> None:
    """The right is asked for again in the step that answers AuthenticationOk."""
    go_on = threading.Event()

    def script(guest: Guest) -> None:
        guest.first_packet()
        guest.scram()
        go_on.wait(5)
        guest.admit()
        guest.until_gone()

    with hostile(script) as server:
        victim = victim_of(gateway, server.port)
        client = victim.place.tls()
        client.send(wire.startup(victim.person.name, victim.target))
        wire.answer_scram(client, victim.person.password)
        server.wait_for_guest()
        gateway.revoke(victim.person, victim.target)
        time.sleep(0.3)
        go_on.set()
        with pytest.raises(Refused) as caught:
            wire.welcome(client)
        assert caught.value.error.severity == "FATAL"
        assert not any(m.kind == "R" and m.body == bytes(4) for m in caught.value.answer)
        assert server.guests[0].closed.wait(2)


# Only in the workers: certificates are made elsewhere, by a library that insists on the real thing.
_CLOCK = """
import datetime, os, sys
real, file = datetime.datetime, os.environ.get("PGBASTION_TEST_CLOCK", "")
class Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, real)
class shifted(real, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        try:
            with open(file) as given:
                return real.now(tz) + datetime.timedelta(seconds=float(given.read() or 0))
        except OSError:
            return real.now(tz)
if file and "gateway.app" in sys.orig_argv:
    datetime.datetime = shifted
"""


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[RunningGateway, Path]]:
    """A gateway whose wall clock is off by as many seconds as the file says."""
    (tmp_path / "sitecustomize.py").write_text(_CLOCK)
    offset = tmp_path / "offset"
    offset.write_text("0")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PGBASTION_TEST_CLOCK", str(offset))
    with running_gateway() as running:
        yield running, offset


@pytest.mark.parametrize("step", [-3600, -86400, 3600])
def test_r09_clock_steps(clock: tuple[RunningGateway, Path], shared_database: Database, step: int) -> None:
    """A grant's end is never put off by a clock that jumps back; one that jumps on may only bring it nearer."""
    gateway, offset = clock
    person, target = gateway.person(), gateway.target(shared_database)
    ends = datetime.now(UTC) + timedelta(seconds=3)
    gateway.admin.change(
        grants.create_grant(
            gateway.admin.store,
            holder=grants.UserHolder(person.name),
            target_name=target,
            mode=AccessMode.READ_ONLY,
            valid_until=ends,
            **WHY,
        )
    )
    gateway.settle(person, target)
    client = Twins(gateway, shared_database, person, target, AccessMode.READ_ONLY).through()
    assert client.value("SELECT 1") == "1"
    offset.write_text(str(step))
    said = client.until_eof(10)
    late = (datetime.now(UTC) - ends).total_seconds()
    assert (said[-1].severity, said[-1].sqlstate) == ("FATAL", "57P01")
    assert late < 1.0
    offset.write_text("0")


def test_l01_mapped_addresses(gateway: RunningGateway, reader: Twins) -> None:
    """::ffff:127.0.0.1 is 127.0.0.1, for those admitted and for those not."""

    def through_ipv6(running: RunningGateway) -> RawClient:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        sock.connect(("::ffff:127.0.0.1", running.port))
        return RawClient(sock)

    client = through_ipv6(gateway)
    client.send(wire.SSL_REQUEST)
    assert client.read_raw(1) == b"S"
    inside = reader.place.wrap(client)
    inside.send(wire.startup(reader.person.name, reader.target))
    wire.answer_scram(inside, reader.person.password)
    wire.welcome(inside)
    inside.close()
    started = gateway.wait_for_event(event="session_start", user=reader.person.name)
    assert started["address"] == "127.0.0.1"
    for networks in (("10.0.0.0/8", "::/0"), ()):
        with running_gateway(networks=networks) as closed:
            for open_ in (lambda: through_ipv6(closed), lambda: Place(closed.host, closed.port).tcp()):
                stranger = open_()
                stranger.quiet(0.2)
                assert stranger.received == 0
                assert stranger.eof
            assert closed.wait_for_event(event="connection_refused")["address"] == "127.0.0.1"


def test_x16_the_policy_tightens_between_parse_and_execute(gateway: RunningGateway, database: Database) -> None:
    """A function that is taken off the target's list is refused at Bind and Execute of what was prepared before, by 42501."""
    admin = database.superuser()
    admin.execute("CREATE FUNCTION public.harmless() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 7'")
    person, target = gateway.analyst(database)
    listed = {"name": target, "kind": targets.Permitted.FUNCTION, "item": "public.harmless", **WHY}
    gateway.admin.change(targets.permit(gateway.admin.store, **listed))
    time.sleep(0.3)
    twins = Twins(gateway, database, person, target, AccessMode.READ_ONLY)
    with twins.through() as client:
        assert wire.shape(client.ask(parse("SELECT harmless()", "a"), SYNC)) == "1Z"
        assert wire.shape(client.ask(parse("SELECT 5", "b"), SYNC)) == "1Z"
        assert wire.shape(client.ask(query("BEGIN"))) == "CZ"
        assert wire.shape(client.ask(query("PREPARE c AS SELECT harmless()"))) == "CZ"
        assert wire.shape(client.ask(bind("a", "p"), SYNC)) == "2Z"
        assert wire.shape(client.ask(execute("p"), SYNC)) == "DCZ"
        assert wire.shape(client.ask(bind("a", "q"), SYNC)) == "2Z"
        gateway.admin.change(targets.forbid(gateway.admin.store, **listed))
        time.sleep(0.3)
        answer = client.ask(execute("q"), SYNC)
        assert [m.sqlstate for m in answer] == ["42501", ""]
        assert answer[-1].body == b"E"
        client.ask(query("ROLLBACK"))
        for attempt in (bind("a") + execute(), query("EXECUTE c"), query("SELECT harmless()"), parse("SELECT harmless()")):
            answer = client.ask(attempt, SYNC) if attempt[:1] != b"Q" else client.ask(attempt)
            assert answer[0].sqlstate == "42501", attempt
        answer = client.ask(bind("b"), execute(), SYNC)
        assert wire.shape(answer) == "2DCZ"
        answer = client.ask(parse("SELECT 6"), bind(), execute(), bind("a"), execute(), COPY_DONE, SYNC)
        assert wire.shape(answer) == "12DCEZ"
    denied = gateway.events(event="statement", user=person.name, verdict="denied", phase="execute")
    assert denied
    assert {record["sql"] for record in denied} == {"SELECT harmless()"}


def test_x16_late_verdicts_under_a_new_policy(gateway: RunningGateway, database: Database) -> None:
    """A text that was on hold for the other process while the policy changed is judged by the new one."""
    admin = database.superuser()
    admin.execute("CREATE FUNCTION public.harmless() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 7'")
    person, target = gateway.analyst(database)
    listed = {"name": target, "kind": targets.Permitted.FUNCTION, "item": "public.harmless", **WHY}
    gateway.admin.change(targets.permit(gateway.admin.store, **listed))
    time.sleep(0.3)
    twins = Twins(gateway, database, person, target, AccessMode.READ_ONLY)
    with twins.through() as client:
        large = "SELECT harmless() WHERE 1 IN (" + ",".join("1" for _ in range(20000)) + ")"
        assert client.ask(query(large))[-1].kind == "Z"
        gateway.admin.change(targets.forbid(gateway.admin.store, **listed))
        time.sleep(0.3)
        assert client.ask(query(large))[0].sqlstate == "42501"
