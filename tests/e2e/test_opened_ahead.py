"""Upstream sessions opened ahead: used once, by one client, who finds in them what a session opened for it would hold."""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services import lockdown, targets
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.upstream import Database
from tests.support.wire import SYNC, Place, RawClient, bind, execute, extended, parse, query

WAITING = "pgbastion/% opened ahead"
BOTH = tuple(AccessMode)


@dataclass
class Ahead:
    """Somebody with a target of which some sessions wait."""

    gateway: RunningGateway
    database: Database
    person: Person
    target: str

    def client(self, mode: AccessMode = AccessMode.READ_ONLY, **more: Any) -> "psycopg.Connection[Any]":
        return self.gateway.client(self.person, self.target + (":rw" if mode is AccessMode.READ_WRITE else ""), **more)

    def raw(self, mode: AccessMode = AccessMode.READ_ONLY) -> RawClient:
        name = self.target + (":rw" if mode is AccessMode.READ_WRITE else "")
        place = Place(self.gateway.host, self.gateway.port, self.gateway.ca_file)
        return place.log_in(self.person.name, self.person.password, name)

    def raw_of_kind(self, mode: AccessMode, *, wanted: bool) -> tuple[RawClient, str]:
        """A login and its session's id. One that waits is passed over when it takes too long to answer: then once more."""
        for _ in range(5):
            client = self.raw(mode)
            event = self.gateway.events(event="session_start", user=self.person.name)[-1]
            if event.get("opened_ahead", False) is wanted:
                return client, event["session"]
            client.close()
            until(lambda: len(self.waiting()) == 2 if wanted else True)
        raise AssertionError("no session was of the wanted kind")

    def waiting(self) -> list[int]:
        """Process ids."""
        return self._pids("application_name LIKE %s", WAITING)

    def all_sessions(self) -> list[int]:
        return self._pids("usename IN (%s, %s)", self.database.app_ro.name, self.database.app_rw.name)

    def _pids(self, where: str, *values: str) -> list[int]:
        sql = f"SELECT pid FROM pg_stat_activity WHERE datname = %s AND {where} ORDER BY backend_start"
        with self.database.upstream.connect() as admin:
            return [row[0] for row in admin.execute(sql, [self.database.name, *values])]

    def name_of(self, pid: int) -> str:
        with self.database.upstream.connect() as admin:
            row = admin.execute("SELECT application_name FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
        return row[0] if row else ""

    def until_waiting(self, count: int, seconds: float = 5.0) -> list[int]:
        return until(lambda: [found] if len(found := self.waiting()) == count else None, seconds)[0]

    def set(self, count: int) -> None:
        gateway = self.gateway
        gateway.admin.change(targets.set_open_ahead(gateway.admin.store, name=self.target, open_ahead=count, **WHY))


def until(true: Callable[[], Any], seconds: float = 5.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def ahead_of(gateway: RunningGateway, database: Database, count: int, *modes: AccessMode) -> Iterator[Ahead]:
    """So many wait in each of these modes when this begins, and nobody else is there."""
    person, target = gateway.person(), gateway.target(database, modes=modes or (AccessMode.READ_ONLY,))
    gateway.grant(person, target, AccessMode.READ_WRITE)
    gateway.settle(person, target) if AccessMode.READ_ONLY in (modes or BOTH) else None
    found = Ahead(gateway, database, person, target)
    until(lambda: not found.all_sessions())
    found.set(count)
    found.until_waiting(count * len(modes or (AccessMode.READ_ONLY,)))
    yield found
    gateway.close_clients()
    gateway.admin.change(targets.delete_target(gateway.admin.store, name=target, **WHY))
    until(lambda: not found.all_sessions())


@pytest.fixture
def two(gateway: RunningGateway, database: Database) -> Iterator[Ahead]:
    with ahead_of(gateway, database, 2) as found:
        yield found


@pytest.fixture
def both(gateway: RunningGateway, database: Database) -> Iterator[Ahead]:
    """One waits in each mode."""
    with ahead_of(gateway, database, 1, *BOTH) as found:
        yield found


def pid_of(client: "psycopg.Connection[Any]") -> int:
    row = client.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


# -- one client each ---------------------------------------------------------------------------------------------------


def test_a_login_takes_one_and_its_name_is_the_persons(two: Ahead) -> None:
    before = two.waiting()
    client = two.client(application_name="report 7")
    pid = pid_of(client)
    assert pid in before
    started = two.gateway.wait_for_event(event="session_start", user=two.person.name, opened_ahead=True)
    assert two.name_of(pid) == f"{two.person.name}/{started['session']} report 7"
    assert client.info.parameter_status("application_name") == f"{two.person.name}/{started['session']} report 7"
    after = two.until_waiting(2)
    assert pid not in after
    client.close()
    until(lambda: pid not in two.all_sessions())


def test_none_is_given_twice(two: Ahead) -> None:
    seen: list[int] = []
    lock = threading.Lock()

    def come_and_go() -> None:
        for _ in range(12):
            with psycopg.connect(**two.gateway.parameters(two.person, two.target), autocommit=True) as client:
                row = client.execute("SELECT pg_backend_pid(), current_setting('application_name')").fetchone()
                assert row is not None
                assert row[1].startswith(f"{two.person.name}/")
                with lock:
                    seen.append(row[0])

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 48
    assert len(set(seen)) == 48
    ahead = [event for event in two.gateway.events(event="session_start", user=two.person.name) if event.get("opened_ahead")]
    assert ahead, "and some of them did not wait for their session"


def test_each_access_mode_has_its_own(both: Ahead) -> None:
    for mode, login in ((AccessMode.READ_ONLY, both.database.app_ro), (AccessMode.READ_WRITE, both.database.app_rw)):
        both.until_waiting(2)
        client = both.client(mode)
        row = client.execute("SELECT current_user, current_setting('default_transaction_read_only')").fetchone()
        assert row == (login.name, "on" if mode is AccessMode.READ_ONLY else "off")
    started = both.gateway.events(event="session_start", user=both.person.name, opened_ahead=True)
    assert [event["mode"] for event in started] == ["read_only", "read_write"]


# -- what a client finds -----------------------------------------------------------------------------------------------

STATE = {
    "settings": "SELECT name, setting, reset_val FROM pg_settings WHERE name <> 'application_name' ORDER BY name",
    "prepared": "SELECT name FROM pg_prepared_statements WHERE statement NOT LIKE '%pg_prepared_statements%'",
    "cursors": "SELECT name FROM pg_cursors WHERE statement NOT LIKE '%pg_cursors%'",
    "temporary": "SELECT pg_my_temp_schema()",
    "listening": "SELECT pg_listening_channels()",
    "locks": "SELECT locktype FROM pg_locks WHERE pid = pg_backend_pid() AND locktype NOT IN ('relation', 'virtualxid')",
    "who": "SELECT current_user, session_user, current_database(), current_schemas(true)",
}


@pytest.mark.parametrize("mode", BOTH)
def test_it_is_like_a_session_opened_for_the_client(both: Ahead, mode: AccessMode) -> None:
    taken = both.client(mode)
    both.set(0)
    both.until_waiting(0)
    fresh = both.client(mode)
    kinds = [event.get("opened_ahead", False) for event in both.gateway.events(event="session_start", user=both.person.name)]
    assert kinds[-2:] == [True, False]
    for what, sql in STATE.items():
        if what == "listening" and mode is AccessMode.READ_ONLY:
            continue
        assert taken.execute(sql).fetchall() == fresh.execute(sql).fetchall(), what
    reported = ("server_version", "TimeZone", "DateStyle", "client_encoding", "is_superuser", "session_authorization")
    assert [taken.info.parameter_status(name) for name in reported] == [fresh.info.parameter_status(name) for name in reported]


RESETS = (
    ["RESET ALL"],
    ["DISCARD ALL"],
    ["RESET application_name"],
    ["SET application_name TO DEFAULT"],
    ["SET application_name = 'other'", "RESET ALL"],
    ["SELECT 1; RESET ALL"],
    ["SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL"],
    ["BEGIN", "RESET ALL", "COMMIT"],
    ["BEGIN", "RESET ALL", "ROLLBACK"],
    ["BEGIN", "SAVEPOINT a", "SET application_name = 'x'", "RESET ALL", "ROLLBACK TO a", "COMMIT"],
    ["BEGIN", "SET LOCAL application_name TO DEFAULT", "COMMIT"],
    ["BEGIN", "RESET ALL", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT 1", "COMMIT"],
    ["SELECT set_config('application_name', NULL, false)"],
    ["DO $$ BEGIN EXECUTE 'RESET application_name'; END $$"],
)


def _outcome(client: RawClient, label: str, script: list[str], *, in_parts: bool) -> list[Any]:
    """Kinds and bodies of all messages, and the name after each step; `label` left out."""
    found: list[Any] = []
    for sql in [*script, "SHOW application_name", "SHOW default_transaction_read_only"]:
        replies = client.ask(extended(sql) + SYNC if in_parts else query(sql))
        found += [(m.kind, m.body) for m in replies if m.kind in "CDEZ" and not (m.kind == "E" and "stack" in m.said)]
    return [(kind, body.replace(label.encode(), b"LABEL")) for kind, body in found]


@pytest.mark.parametrize("script", RESETS, ids=lambda script: "; ".join(script)[:40])
@pytest.mark.parametrize("in_parts", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("mode", BOTH)
def test_a_reset_ends_as_in_a_session_opened_for_the_client(
    both: Ahead, script: list[str], mode: AccessMode, *, in_parts: bool
) -> None:
    """The name that RESET leaves is the person's and the session's, and every reply is the same."""
    taken, its_id = both.raw_of_kind(mode, wanted=True)
    both.set(0)
    both.until_waiting(0)
    fresh, id_of_fresh = both.raw_of_kind(mode, wanted=False)
    one = _outcome(taken, f"{both.person.name}/{its_id}", script, in_parts=in_parts)
    other = _outcome(fresh, f"{both.person.name}/{id_of_fresh}", script, in_parts=in_parts)
    assert one == other
    assert any(kind == "D" and b"LABEL" in body for kind, body in one)


def test_upstream_shows_the_session_at_any_time_and_the_person_again_at_once(both: Ahead) -> None:
    """Between a RESET and the end of what came with it, the name tells the session's id."""
    client = both.raw(AccessMode.READ_WRITE)
    session = both.gateway.wait_for_event(event="session_start", user=both.person.name, opened_ahead=True)["session"]
    pid = int(client.ask(query("SELECT pg_backend_pid()"))[1].body[6:])
    client.send(query("RESET ALL; SELECT count(*) FROM generate_series(1, 10000000000)"))
    until(lambda: both.name_of(pid) == f"pgbastion/{session} opened ahead")
    with both.database.upstream.connect() as admin:
        admin.execute("SELECT pg_cancel_backend(%s)", [pid])
    client.until("Z")
    until(lambda: both.name_of(pid).startswith(f"{both.person.name}/{session}"), 1.0)


def test_statements_of_the_client_outlive_the_putting_right(both: Ahead) -> None:
    """The unnamed statement, a named one, and a portal in a transaction."""
    client = both.raw(AccessMode.READ_WRITE)
    client.ask(parse("SELECT 41 + 1") + parse("RESET ALL", "r") + SYNC)
    client.ask(bind("r", "p") + execute("p") + SYNC)
    assert b"42" in b"".join(m.body for m in client.ask(bind() + execute() + SYNC) if m.kind == "D")
    client.ask(query("BEGIN"))
    client.ask(parse("SELECT generate_series(1, 3)", "s") + bind("s", "") + execute("", 1) + SYNC)
    client.ask(bind("r", "q") + execute("q") + SYNC)
    client.ask(bind("r", "q2") + execute("q2") + SYNC)
    assert [m.body[6:] for m in client.ask(execute("") + SYNC) if m.kind == "D"] == [b"2", b"3"]


def test_who_asks_for_settings_gets_a_session_with_them(two: Ahead) -> None:
    """What the startup packet sets is what RESET goes back to, which no SET afterwards would be."""
    client = two.client(options="-c datestyle=German")
    client.execute("SET datestyle = 'SQL'")
    client.execute("RESET datestyle")
    assert client.execute("SHOW datestyle").fetchone() == ("German, DMY",)
    started = two.gateway.events(event="session_start", user=two.person.name)[-1]
    assert "opened_ahead" not in started
    assert len(two.waiting()) == 2


@pytest.mark.parametrize("name", ["it's a \\ name", "x" * 100, "", "a\tb", "Größe"])
def test_any_application_name(two: Ahead, name: str) -> None:
    taken = two.client(application_name=name)
    two.set(0)
    two.until_waiting(0)
    fresh = two.client(application_name=name)
    shown = [client.execute("SELECT current_setting('application_name')").fetchone() for client in (taken, fresh)]
    events = two.gateway.events(event="session_start", user=two.person.name)[-2:]
    assert [row[0].replace(event["session"], "") for row, event in zip(shown, events, strict=True) if row] == [
        shown[1][0].replace(events[1]["session"], "")  # type: ignore[index]
    ] * 2


def test_a_query_is_cancelled(two: Ahead) -> None:
    client = two.client()
    threading.Timer(0.2, client.cancel).start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        client.execute("SELECT count(*) FROM generate_series(1, 1000000000)")
    assert client.execute("SELECT 1").fetchone() == (1,)


def test_read_only_holds(two: Ahead) -> None:
    client = two.client()
    with pytest.raises(psycopg.Error):
        client.execute("CREATE TABLE x (a int)")
    client.execute("RESET ALL")
    assert client.execute("SHOW transaction_read_only").fetchone() == ("on",)


# -- what makes them wrong ---------------------------------------------------------------------------------------------


def test_a_disabled_target_has_none_within_a_second(two: Ahead) -> None:
    two.gateway.admin.change(targets.disable_target(two.gateway.admin.store, name=two.target, **WHY))
    two.until_waiting(0, 1.0)
    two.gateway.admin.change(targets.enable_target(two.gateway.admin.store, name=two.target, **WHY))
    two.until_waiting(2)


def test_in_a_lockdown_there_are_none(database: Database) -> None:
    with running_gateway() as alone, ahead_of(alone, database, 2) as two:
        alone.admin.change(lockdown.lock_down(alone.admin.store, **WHY))
        two.until_waiting(0, 1.0)
        alone.admin.change(lockdown.lift_lockdown(alone.admin.store, **WHY))
        two.until_waiting(2)


def test_another_password_or_login_replaces_them(two: Ahead) -> None:
    before = two.waiting()
    password = Secret(secrets.token_urlsafe(16))
    with two.database.upstream.connect() as admin:
        role = f"r_{secrets.token_hex(4)}"
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password.reveal()}'")
        try:
            two.gateway.login(two.target, AccessMode.READ_ONLY, role, password)
            until(lambda: not set(before) & set(two.waiting()), 1.0)
            after = two.until_waiting(2)
            row = admin.execute("SELECT DISTINCT usename FROM pg_stat_activity WHERE pid = ANY(%s)", [after]).fetchall()
            assert row == [(role,)]
            client = two.client()
            assert client.execute("SELECT current_user").fetchone() == (role,)
            client.close()
            two.set(0)
            until(lambda: not two._pids("usename = %s", role))
        finally:
            admin.execute(f"DROP ROLE {role}")


def test_a_server_that_ends_them_is_asked_again_and_no_login_fails(two: Ahead) -> None:
    for _ in range(3):
        with two.database.upstream.connect() as admin:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY(%s)", [two.waiting()])
        two.client().close()
    two.until_waiting(2, 15.0)


def test_while_no_more_can_be_opened_logins_go_on(two: Ahead) -> None:
    """A role whose CONNECTION LIMIT is reached by those that wait: one is taken, none can be opened in its place."""
    role = two.database.app_ro.name
    with two.database.upstream.connect() as admin:
        count = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [role]).fetchone()
        assert count is not None
        admin.execute(f"ALTER ROLE {role} CONNECTION LIMIT {count[0]}")
        try:
            clients = [two.client(), two.client()]
            assert [client.execute("SELECT 1").fetchone() for client in clients] == [(1,), (1,)]
            time.sleep(0.5)
            assert two.waiting() == []
        finally:
            admin.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")
    clients[0].close()
    two.until_waiting(2, 15.0)


def test_they_do_not_grow_old(database: Database) -> None:
    with running_gateway(limits={"open_ahead_seconds": 1.0}) as gateway, ahead_of(gateway, database, 2) as two:
        before = set(two.waiting())
        until(lambda: not before & set(two.waiting()), 3.0)
        two.until_waiting(2)


# -- how many there are ------------------------------------------------------------------------------------------------


def test_a_client_has_the_place_of_one_that_waits(gateway: RunningGateway, database: Database) -> None:
    """The target's ceiling counts both, and what waits makes way."""
    with ahead_of(gateway, database, 2) as two:
        gateway.admin.change(targets.set_max_sessions(gateway.admin.store, name=two.target, max_sessions=2, **WHY))
        time.sleep(0.3)
        first = two.client(options="-c datestyle=German")  # it needs one of its own
        assert len(two.all_sessions()) <= 2
        second = two.client(options="-c datestyle=German")
        assert len(two.all_sessions()) == 2
        with pytest.raises(psycopg.OperationalError, match="too many sessions on target"):
            two.client()
        first.close()
        second.close()
        two.until_waiting(2, 10.0)
        taken = two.client()
        assert taken.execute("SELECT 1").fetchone() == (1,)
        time.sleep(0.3)
        assert len(two.all_sessions()) <= 2


def test_more_workers_open_no_more(database: Database) -> None:
    listen = {"host": "127.0.0.1", "port": 0, "workers": 2}
    with running_gateway(listen=listen) as gateway, ahead_of(gateway, database, 3) as three:
        most = 0
        for _ in range(20):
            three.client().close()
            most = max(most, len(three.waiting()))
        assert most <= 3
        three.until_waiting(3)


def test_none_is_left_when_the_gateway_ends(database: Database) -> None:
    with running_gateway() as gateway:
        person, target = gateway.analyst(database)
        found = Ahead(gateway, database, person, target)
        found.set(3)
        found.until_waiting(6)
    until(lambda: not found.all_sessions(), 2.0)
