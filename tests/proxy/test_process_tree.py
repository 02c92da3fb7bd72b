"""The processes of one gateway before a real server: crashes, drains, reloads, rolling restarts, and limits over all workers."""

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.bus.gateway import BusGateway
from gateway.ports import SessionFacts
from gateway.services import targets
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway, start_serve, wait_until_ready
from tests.support.upstream import Database

WIDE_OPEN = {"free_failures": 1_000_000, "user_delay_seconds": 0.0, "cancels_per_second": 1_000_000}
SLOW = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b"


@contextlib.contextmanager
def gateway_with(workers: int = 2, **sections: dict[str, Any]) -> Iterator[RunningGateway]:
    listen = {"host": "127.0.0.1", "port": 0, "drain_seconds": 2.0, "workers": workers, **sections.pop("listen", {})}
    settings = {"throttle": WIDE_OPEN, "admin_api": {"enabled": False}, **sections}
    with running_gateway(listen=listen, **settings) as running:
        yield running


def eventually(true: Callable[[], object], seconds: float) -> float:
    """How long it took."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < seconds, "did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - start


def sessions_of(gateway: RunningGateway) -> list[SessionFacts]:
    return asyncio.run(BusGateway(gateway.state_dir / "bus.sock").sessions())


def upstream_sessions(database: Database) -> int:
    with database.superuser() as admin:
        row = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgbastion%%'"
            " OR datname = current_database() AND usename LIKE 'app%%'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def refusal(gateway: RunningGateway, person: Person, target: str) -> psycopg.OperationalError:
    with pytest.raises(psycopg.OperationalError) as raised:
        gateway.client(person, target).close()
    return raised.value


def run_into_an_error(client: "psycopg.Connection[Any]") -> None:
    with pytest.raises(psycopg.OperationalError):
        client.execute(SLOW)


# --- crashes


def test_a_killed_worker_is_replaced_and_its_upstream_sessions_go(database: Database) -> None:
    """F17."""
    with gateway_with(workers=1) as gateway:
        person, target = gateway.analyst(database)
        time.sleep(13)  # there is a spare by now
        idle = gateway.client(person, target)
        active = gateway.client(person, target)
        running = threading.Thread(target=run_into_an_error, args=(active,))
        running.start()
        eventually(lambda: any(facts.state == "active" for facts in sessions_of(gateway)), 5)
        assert upstream_sessions(database) == 2
        time.sleep(0.2)  # within 45 ms the supervisor knows where they are (ADR 12)
        [worker] = gateway.worker_pids()
        os.kill(worker, signal.SIGKILL)
        killed_at = time.monotonic()
        # The port stays open all the while: who comes now waits for the successor.
        gateway.client(person, target).close()
        replaced = time.monotonic() - killed_at
        gone = eventually(lambda: upstream_sessions(database) == 0, 10)
        running.join(5)
        print(f"replaced, with a login through it: {replaced:.2f} s; upstream sessions gone after {replaced + gone:.2f} s")
        assert replaced < 3  # 1 s on a calm machine
        assert replaced + gone < 5
        with pytest.raises(psycopg.OperationalError):
            idle.execute("SELECT 1")


# --- rolling restart


def test_rolling_restarts_fail_no_login(database: Database) -> None:
    with gateway_with(workers=2) as gateway:
        person, target = gateway.analyst(database)
        first = set(gateway.worker_pids())
        logins, failures = 0, []
        done = threading.Event()

        def log_in() -> None:
            nonlocal logins
            while not done.is_set() or logins < 200:
                try:
                    with psycopg.connect(**gateway.parameters(person, target), autocommit=True) as client:
                        client.execute("SELECT 1")
                    logins += 1
                except psycopg.Error as error:
                    failures.append(error)
                    return

        threads = [threading.Thread(target=log_in) for _ in range(3)]
        for thread in threads:
            thread.start()
        former = first
        for _ in range(2):
            start = time.monotonic()
            gateway.process.send_signal(signal.SIGUSR2)
            eventually(lambda former=former: len(now := set(gateway.worker_pids())) == 2 and not now & former, 40)
            print(f"rolling restart of 2 workers: {time.monotonic() - start:.2f} s")
            former = set(gateway.worker_pids())
        done.set()
        for thread in threads:
            thread.join(60)
        print(f"{logins} logins")
        assert not failures, failures
        assert logins >= 200


def test_a_session_goes_on_through_a_rolling_restart_while_it_works(database: Database) -> None:
    with gateway_with(workers=1, listen={"drain_seconds": 10.0}) as gateway:
        person, target = gateway.analyst(database)
        busy, idle = gateway.client(person, target), gateway.client(person, target)
        [former] = gateway.worker_pids()
        assert asyncio.run(BusGateway(gateway.state_dir / "bus.sock").roll()) == 1
        deadline = time.monotonic() + 30
        while len(gateway.worker_pids()) < 2:
            busy.execute("SELECT 1")
            assert time.monotonic() < deadline
        while len(sessions_of(gateway)) > 1:  # the idle one is ended some seconds after the successor is at work
            busy.execute("SELECT 1")
            time.sleep(0.1)
            assert time.monotonic() < deadline
        with pytest.raises(psycopg.OperationalError, match="being restarted"):
            idle.execute("SELECT 1")
        assert {facts.worker for facts in sessions_of(gateway)} == {0}
        later = gateway.client(person, target)
        assert {facts.worker for facts in sessions_of(gateway)} == {0, 1}
        busy.close()
        eventually(lambda: former not in gateway.worker_pids(), 5)
        later.execute("SELECT 1")


def test_a_query_in_an_outgoing_worker_can_still_be_cancelled(database: Database) -> None:
    with gateway_with(workers=1, listen={"drain_seconds": 10.0}) as gateway:
        person, target = gateway.analyst(database)
        client = gateway.client(person, target)
        errors: list[BaseException] = []

        def run() -> None:
            try:
                client.execute(SLOW)
            except psycopg.Error as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        eventually(lambda: any(facts.state == "active" for facts in sessions_of(gateway)), 5)
        gateway.process.send_signal(signal.SIGUSR2)
        gateway.wait_for_event(seconds=20, event="gateway_start", worker=1)
        client.cancel_safe(timeout=5)
        thread.join(10)
        assert isinstance(errors[0], psycopg.errors.QueryCanceled)


# --- the end


def test_sigterm_drains(database: Database) -> None:
    """F15: idle ones end at once, active ones are given their time, nobody new comes in, and the exit is clean."""
    with gateway_with(workers=2, listen={"drain_seconds": 3.0}) as gateway:
        person, target = gateway.analyst(database)
        idle = gateway.client(person, target)
        working, endless = gateway.client(person, target), gateway.client(person, target)
        in_transaction = gateway.client(person, target, autocommit=False)
        in_transaction.execute("SELECT 1")
        outcome: dict[str, object] = {}

        def run(name: str, client: "psycopg.Connection[Any]", sql: str) -> None:
            try:
                outcome[name] = client.execute(sql).fetchone()
            except psycopg.Error as error:
                outcome[name] = error

        count = "SELECT count(*) FROM generate_series(1, 2000) a, generate_series(1, 2000) b"  # a part of a second
        threads = [
            threading.Thread(target=run, args=("working", working, count)),
            threading.Thread(target=run, args=("endless", endless, SLOW)),
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: sum(facts.state == "active" for facts in sessions_of(gateway)) == 2, 5)
        gateway.process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        time.sleep(0.1)
        refused = refusal(gateway, person, target)
        assert "Connection refused" in str(refused) or "not ready" in str(refused)
        with pytest.raises(psycopg.errors.AdminShutdown):
            idle.execute("SELECT 1")
        assert time.monotonic() - start < 1.5
        assert gateway.process.wait(10) == 0
        took = time.monotonic() - start
        for thread in threads:
            thread.join(5)
        print(f"drain of 3 s: exit after {took:.2f} s")
        assert 2.9 < took < 3 + 1 + 1  # a second for a machine that is busy with other things
        assert outcome["working"] == (4_000_000,)
        assert isinstance(outcome["endless"], psycopg.errors.AdminShutdown)
        with pytest.raises(psycopg.OperationalError):
            in_transaction.execute("SELECT 1")
        assert upstream_sessions(database) == 0


def test_who_is_in_the_queue_when_the_gateway_stops_is_told(database: Database) -> None:
    """A worker that is stopped (SIGSTOP) accepts nobody: so connections are in its queue when SIGTERM comes."""
    with gateway_with(workers=1) as gateway:
        person, target = gateway.analyst(database)
        [worker] = gateway.worker_pids()
        os.kill(worker, signal.SIGSTOP)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(refusal, gateway, person, target) for _ in range(8)]
            time.sleep(0.3)
            gateway.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            os.kill(worker, signal.SIGCONT)
            for each in waiting:
                assert "not ready to accept connections" in str(each.result(10))
        assert gateway.process.wait(10) == 0


def test_without_sessions_the_end_is_quick() -> None:
    with gateway_with(workers=2, listen={"drain_seconds": 30.0}) as gateway:
        start = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(10) == 0
        print(f"end without sessions: {time.monotonic() - start:.2f} s")
        assert time.monotonic() - start < 4


# --- reload


def rewrite(gateway: RunningGateway, old: str, new: str) -> None:
    text = gateway.config.read_text()
    assert old in text
    gateway.config.write_text(text.replace(old, new))


def logged(gateway: RunningGateway, text: str) -> list[str]:
    return [line for line in gateway.log if text in line]


def test_sighup_changes_what_can_change_and_refuses_a_bad_file(database: Database) -> None:
    with gateway_with(limits={"max_sessions_per_user": 1}) as gateway:
        person, target = gateway.analyst(database)
        one = gateway.client(person, target)
        assert refusal(gateway, person, target).sqlstate in (None, "53300")

        rewrite(gateway, "max_sessions_per_user = 1", "max_sessions_per_user = 0")
        gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: logged(gateway, "settings not reloaded"), 5)
        [line] = logged(gateway, "settings not reloaded")
        assert str(gateway.config) in line
        assert "limits.max_sessions_per_user: should be greater than or equal to 1" in line
        refusal(gateway, person, target)

        rewrite(gateway, "max_sessions_per_user = 0", "max_sessions_per_user = 2")
        rewrite(gateway, "workers = 2", "workers = 3")
        gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: logged(gateway, "settings reloaded"), 5)
        [line] = logged(gateway, "settings reloaded")
        assert "limits.max_sessions_per_user" in line
        assert "listen.workers" in line.split("need_restart")[1]
        two = gateway.client(person, target)
        refusal(gateway, person, target)
        assert len(gateway.worker_pids()) == 2
        one.execute("SELECT 1")
        two.close()

        with pytest.raises(psycopg.OperationalError, match="requires TLS"):
            gateway.client(person, target, sslmode="disable")
        gateway.config.write_text(gateway.config.read_text() + '[tls]\nmode = "allow"\n')
        gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: "tls.mode" in "".join(logged(gateway, "settings reloaded")), 5)
        time.sleep(0.3)
        gateway.client(person, target, sslmode="disable").execute("SELECT 1")


def test_a_worker_that_is_replaced_after_a_bad_edit_has_the_settings_in_force(database: Database) -> None:
    with gateway_with(workers=1) as gateway:
        person, target = gateway.analyst(database)
        gateway.config.write_text("nonsense")
        os.kill(gateway.worker_pids()[0], signal.SIGKILL)
        gateway.client(person, target).close()


# --- limits


def test_session_limits_hold_over_all_workers(database: Database) -> None:
    """Exactly as many as the limit get in, however many knock at once."""
    with gateway_with(workers=2, limits={"max_sessions": 7, "max_sessions_per_user": 5}) as gateway:
        (ana, target), (bob, other) = gateway.analyst(database), gateway.analyst(database)
        workers: set[int] = set()
        for _ in range(10):  # the kernel picks a worker for each connection: once in 64 times the same for all seven
            eventually(lambda: not sessions_of(gateway), 5)
            assert _admitted(gateway, ana, target, 12) == 5
            assert "limits.max_sessions_per_user" in str(refusal(gateway, ana, target))
            assert _admitted(gateway, bob, other, 8) == 2
            said = str(refusal(gateway, bob, other))
            assert "too many sessions: the gateway admits 7 at a time" in said
            assert "limits.max_sessions" in said
            eventually(lambda: upstream_sessions(database) == 7, 5)
            workers = {facts.worker for facts in sessions_of(gateway)}
            gateway.close_clients()
            if len(workers) == 2:
                break
        assert len(workers) == 2, "all sessions on one worker prove nothing"
        eventually(lambda: not sessions_of(gateway), 5)
        assert _admitted(gateway, ana, target, 12) == 5


def test_a_target_has_a_limit_of_its_own(database: Database) -> None:
    with gateway_with(workers=2) as gateway:
        person, target = gateway.analyst(database)
        gateway.admin.change(targets.set_max_sessions(gateway.admin.store, name=target, max_sessions=3, **WHY))
        time.sleep(0.5)
        assert _admitted(gateway, person, target, 10) == 3
        assert f'too many sessions on target "{target}": 3 at a time' in str(refusal(gateway, person, target))
        gateway.admin.change(targets.set_max_sessions(gateway.admin.store, name=target, max_sessions=4, **WHY))
        time.sleep(0.5)
        gateway.client(person, target)
        refusal(gateway, person, target)


def test_a_dead_workers_sessions_count_no_more(database: Database) -> None:
    with gateway_with(workers=1, limits={"max_sessions": 2}) as gateway:
        person, target = gateway.analyst(database)
        assert _admitted(gateway, person, target, 4) == 2
        os.kill(gateway.worker_pids()[0], signal.SIGKILL)
        assert _admitted(gateway, person, target, 4) == 2


def test_a_supervisor_that_does_not_answer_lets_nobody_in(database: Database) -> None:
    with gateway_with(workers=1) as gateway:
        person, target = gateway.analyst(database)
        live = gateway.client(person, target)
        time.sleep(0.3)  # a place that was left goes to the next session of the same person without a question, for a moment
        gateway.process.send_signal(signal.SIGSTOP)
        try:
            start = time.monotonic()
            assert "cannot check its session limits" in str(refusal(gateway, person, target))
            assert time.monotonic() - start < 3
            live.execute("SELECT 1")
        finally:
            gateway.process.send_signal(signal.SIGCONT)
        gateway.client(person, target)


def test_pending_connections_count_over_all_workers() -> None:
    with gateway_with(workers=2, limits={"max_pending": 10, "max_pending_per_address": 6}) as gateway:
        with contextlib.ExitStack() as held:
            stayed = 0
            for _ in range(20):
                client = held.enter_context(socket.create_connection((gateway.host, gateway.port), 2))
                time.sleep(0.06)  # what one worker counts, the other knows within 50 ms
                stayed += _still_open(client)
            assert stayed == 6
        eventually(lambda: _knock(gateway), 5)


def _knock(gateway: RunningGateway) -> bool:
    with socket.create_connection((gateway.host, gateway.port), 2) as client:
        return _still_open(client)


def _still_open(client: socket.socket) -> bool:
    client.settimeout(0.1)
    try:
        return client.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def _admitted(gateway: RunningGateway, person: Person, target: str, attempts: int) -> int:
    """How many of so many at once get in (and stay)."""

    def attempt(_: int) -> bool:
        try:
            gateway.client(person, target)
        except psycopg.OperationalError as error:
            if "too many sessions" not in str(error):
                raise
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(attempts) as pool:
        return sum(pool.map(attempt, range(attempts)))


# --- systemd


def test_the_service_manager_is_told(tmp_path: Path) -> None:
    with gateway_with(workers=1) as gateway, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait(10)
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        os.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        try:
            process, log = start_serve(gateway.config)
        finally:
            del os.environ["NOTIFY_SOCKET"]
        wait_until_ready(process, log)
        assert manager.recv(1000) == b"READY=1"
        process.send_signal(signal.SIGHUP)
        told = [manager.recv(1000) for _ in range(3)]
        assert any(each.startswith(b"RELOADING=1\nMONOTONIC_USEC=") for each in told)
        assert told[-1] == b"READY=1"
        process.send_signal(signal.SIGTERM)
        told = [manager.recv(1000)]
        while told[-1] != b"STOPPING=1":
            told.append(manager.recv(1000))
        assert process.wait(10) == 0
