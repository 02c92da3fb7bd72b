"""F15: SIGTERM with everything going on at once: nobody new, the idle at once, the busy in their time, and then the end."""

import contextlib
import signal
import socket
import threading
import time
from collections import Counter
from typing import Any

import psycopg

from gateway.access_mode import AccessMode
from tests.support import wire
from tests.support.faults import Measured, log_in, until
from tests.support.gateway import Person, RunningGateway, running_gateway
from tests.support.upstream import Database
from tests.support.wire import Closed, Message, Place, RawClient

DRAIN = 3.0
SLACK = 1.0  # promised: exit within the drain and one second
BUSY_MACHINE = 4.0  # others test here, too
BIG = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 200000)) TO STDOUT"


class Guest:
    """A session of the same person, over a raw connection. What it reads at the end, and when, counted from SIGTERM."""

    def __init__(self, gateway: RunningGateway, person: Person, target: str) -> None:
        place = Place(gateway.host, gateway.port, gateway.ca_file)
        self.client: RawClient = place.log_in(person.name, person.password, target)
        self.farewell: list[Message] = []
        self.ended_at = 0.0
        self._reader: threading.Thread | None = None

    def listen(self) -> None:
        """Read to the end, in the background."""

        def read() -> None:
            with contextlib.suppress(Closed, TimeoutError, OSError):
                while True:
                    self.farewell.append(self.client.read(30))
            self.ended_at = time.monotonic()

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()

    def after(self, began: float) -> float:
        assert self._reader is not None
        self._reader.join(15)
        assert self.ended_at, "not closed"
        return self.ended_at - began

    @property
    def last_error(self) -> tuple[str, str]:
        errors = [message for message in self.farewell if message.kind == "E"]
        return (errors[-1].severity, errors[-1].sqlstate) if errors else ("", "")


def blocked_question(database: Database, table: str) -> "psycopg.Connection[Any]":
    """Whoever reads this table waits for as long as this connection holds its lock."""
    holder = database.superuser()
    holder.execute(f"CREATE TABLE {table} (id int); GRANT SELECT, INSERT ON {table} TO app_ro, app_rw")
    holder.execute("BEGIN")
    holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    return holder


def test_f15_sigterm(database: Database, measured: Measured) -> None:
    release = blocked_question(database, "soon")
    never = blocked_question(database, "later")
    listen = {"host": "127.0.0.1", "port": 0, "workers": 2, "drain_seconds": DRAIN}
    with running_gateway(listen=listen) as gateway:
        person, target = gateway.analyst(database, AccessMode.READ_WRITE)
        writing = f"{target}:rw"

        def guest(name: str = target) -> Guest:
            return Guest(gateway, person, name)

        idle, soon, later, out, copying, inside = guest(), guest(), guest(), guest(), guest(writing), guest(writing)
        soon.client.send(wire.query("SELECT count(*) FROM soon"))
        later.client.send(wire.query("SELECT count(*) FROM later"))
        inside.client.ask(wire.query("BEGIN; INSERT INTO audit (what) VALUES ('never committed')"))
        out.client.send(wire.query(BIG))  # nobody reads it
        copying.client.send(wire.query("COPY audit (what) FROM STDIN"))
        copying.client.until("G")
        copying.client.send(wire.copy_data(b"half of a copy\n"))
        with database.upstream.connect(database.name) as watcher:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            until(lambda: watcher.execute(waiting).fetchone() == (2,), 5)
        for each in (idle, soon, later, copying, inside):
            each.listen()
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: log_in(gateway, person, target).sqlstate, 2, 0.01)
        refused_after = time.monotonic() - began
        refusal = log_in(gateway, person, target)
        idle_after = idle.after(began)
        time.sleep(max(0.0, 1.0 - (time.monotonic() - began)))
        release.execute("COMMIT")  # a third of the drain has passed
        soon_after = soon.after(began)
        status = gateway.process.wait(DRAIN + 10)
        exit_after = time.monotonic() - began
        ends = {"later": later.after(began), "copying": copying.after(began), "inside": inside.after(began)}
        never.execute("COMMIT")

        measured("logins refused after", refused_after)
        measured("idle session ended after", idle_after)
        measured(f"exit, with a drain of {DRAIN:.0f} s, after", exit_after)
        for name, seconds in ends.items():
            measured(f"the session {name} ended after", seconds)
        assert status == 0
        assert exit_after < DRAIN + SLACK + BUSY_MACHINE
        assert refused_after < 0.1 + BUSY_MACHINE
        assert refusal.sqlstate in ("57P03", "unreachable"), refusal
        # The idle one is told so at once; the one whose question was answered in time got its whole answer first.
        assert idle.last_error == ("FATAL", "57P01")
        assert idle_after < 0.3 + BUSY_MACHINE
        assert wire.shape(soon.farewell) == "TDCZE"
        assert soon.last_error == ("FATAL", "57P01")
        assert 1.0 <= soon_after < DRAIN
        # Who is still busy at the end of the drain is told so then, and nothing of theirs stays.
        for each in (later, copying, inside):
            assert each.last_error == ("FATAL", "57P01")
        for seconds in ends.values():
            assert DRAIN - 0.2 <= seconds < DRAIN + SLACK + BUSY_MACHINE
        with contextlib.suppress(Closed, OSError):
            out.client.until_eof(10)
        assert out.client.eof
        with database.upstream.connect(database.name) as watcher:
            until(lambda: watcher.execute(OURS).fetchone() == (0,), 5)
            assert watcher.execute("SELECT count(*) FROM audit").fetchone() == (0,)
        assert_all_ended_once(gateway, person)


OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename IN ('app_ro', 'app_rw')"


def assert_all_ended_once(gateway: RunningGateway, person: Person) -> None:
    started = {record["session"] for record in gateway.events(event="session_start", user=person.name)}
    ended = Counter(record["session"] for record in gateway.events(event="session_end", user=person.name))
    assert set(ended) == started
    assert set(ended.values()) == {1}
    reasons = Counter(record["reason"] for record in gateway.events(event="session_end", user=person.name))
    assert reasons["shutdown"] == 6, reasons
    questions = {record["statement"]: record["session"] for record in gateway.events(event="statement", user=person.name)}
    assert questions
    assert len(gateway.events(event="gateway_stop")) == 2


def test_f15_the_port_is_free_for_the_next(database: Database, measured: Measured) -> None:
    """Nothing of the gateway is left: it can be started again at once."""
    with running_gateway() as gateway:
        gateway.client(*gateway.analyst(database))
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(10) == 0
        measured("exit with one idle session after", time.monotonic() - began)
        with socket.socket() as next_one:
            next_one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            next_one.bind(("127.0.0.1", gateway.port))
            next_one.listen()
        assert not (gateway.state_dir / "bus.sock").exists()
