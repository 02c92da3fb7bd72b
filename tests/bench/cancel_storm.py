"""What a flood of cancel requests costs the gateway, and those who work meanwhile: one command.

    python -m tests.bench.cancel_storm [--per-second 100 1000] [--seconds 5]

One worker, PostgreSQL behind it in TLS. A process opens a connection for each cancel request, as clients do; another one asks a
query each 5 ms, and its waiting is what others have of the storm. Four kinds of cancels: with wrong keys; with those of
eight sessions that run a query, which ask it again as soon as it was cancelled; with those of eight that rest; and all from one
address that may send only what `throttle.cancels_per_second` admits by default. CPU is that of all the gateway's processes
above what it is without cancels, for each request. Nothing here asserts a time.
"""

import argparse
import multiprocessing
import secrets
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from tests.bench.proxies.processes import snapshot
from tests.bench.samples import percentile
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.upstream import Database, fresh_database, make_logins, running_upstream
from tests.support.wire import Place, RawClient, cancel_request, query

_SESSIONS: Final = 8
_AT_ONCE: Final = 24  # on their way; `limits.max_pending_per_address` is 32
_EACH_SECONDS: Final = 0.005
_LONG: Final = query("SELECT count(*) FROM accounts")  # which is locked
_ALL: Final = 1_000_000
_WRONG, _RUNNING, _RESTING, _OVER = "a wrong key", "of a query that runs", "of one who rests", "more than are admitted"
_ADMITTED: Final = (_WRONG, _RUNNING, _RESTING)
_SETTLE_SECONDS: Final = 1.0
_SPARE_SECONDS: Final = 14.0  # its spare worker is begun ten seconds after it is ready
_forking: Final = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Outcome:
    """`waits` in us. `cancelled`: queries that ended by it."""

    sent: int
    cancelled: int
    cpu_seconds: float
    waits: Sequence[float]


def _send_cancels(place: Place, requests: Sequence[bytes], per_second: float, seconds: float, told: Connection) -> None:
    """Of `requests` in turn, none sooner than is its time. One is done when the gateway closes its connection."""
    waiting = selectors.DefaultSelector()
    began, sent = time.monotonic(), 0
    while (now := time.monotonic()) < began + seconds:
        if len(waiting.get_map()) < _AT_ONCE and sent < (now - began) * per_second:
            sock = socket.socket()
            sock.connect((place.host, place.port))
            sock.sendall(requests[sent % len(requests)])
            sock.setblocking(False)
            waiting.register(sock, selectors.EVENT_READ)
            sent += 1
        for key, _ in waiting.select(0.0 if sent < (now - began) * per_second else 0.0005):
            assert isinstance(key.fileobj, socket.socket)
            waiting.unregister(key.fileobj)
            with key.fileobj as over:
                assert over.recv(1) == b""
    told.send(sent)


def _ask_each(client: RawClient, seconds: float, told: Connection) -> None:
    waits, began = [], time.monotonic()
    due = began
    while due < began + seconds:
        time.sleep(max(due - time.monotonic(), 0.0))
        asked = time.monotonic()
        client.ask(query(f"SELECT {len(waits)}"))
        waits.append((time.monotonic() - asked) * 1e6)
        due = max(due + _EACH_SECONDS, time.monotonic())
    told.send(waits)


class _Running:
    """Sessions that run a query all the time, each in a thread."""

    def __init__(self, clients: Sequence[RawClient]) -> None:
        self.cancelled = 0
        self._over = False
        self._clients = clients
        self._threads = [threading.Thread(target=self._run, args=(client,)) for client in clients]
        for thread in self._threads:
            thread.start()

    def _run(self, client: RawClient) -> None:
        while not self._over:
            was_cancelled = any(message.kind == "E" and message.sqlstate == "57014" for message in client.ask(_LONG))
            self.cancelled += was_cancelled  # not before it has waited: the others count meanwhile

    def end(self, place: Place) -> None:
        """They cancel what they run; a gateway that lets through only so many a second gets them all in the end."""
        self._over = True
        while any(thread.is_alive() for thread in self._threads):
            for client in self._clients:
                with place.tcp() as last:
                    last.send(cancel_request(client.process_id, client.key))
            time.sleep(0.1)
        for thread in self._threads:
            thread.join()


def _measure(gateway: RunningGateway, clients: Sequence[RawClient], kind: str, pace: float, seconds: float) -> Outcome:
    """The first of `clients` asks a query each 5 ms. `kind`: of which cancels; `pace`: requests per second, 0.0 for none."""
    place, others = Place(gateway.host, gateway.port), clients[1:]
    requests = [cancel_request(client.process_id, client.key) for client in others]
    if kind not in (_RUNNING, _RESTING):
        requests = [cancel_request(client.process_id, secrets.token_bytes(4)) for client in others]
    heard, told = zip(_forking.Pipe(False), _forking.Pipe(False), strict=True)
    processes = [_forking.Process(target=_ask_each, args=(clients[0], seconds, told[0]))]
    if pace:
        processes.append(_forking.Process(target=_send_cancels, args=(place, requests, pace, seconds, told[1])))
    before = snapshot([gateway.process.pid])
    for process in processes:
        process.start()
    running = _Running(others if kind == _RUNNING else [])
    waits, sent = heard[0].recv(), heard[1].recv() if pace else 0
    cpu = snapshot([gateway.process.pid]).seconds_since(before)
    cancelled = running.cancelled
    for process in processes:
        process.join()
    running.end(place)
    time.sleep(_SETTLE_SECONDS)
    return Outcome(sent, cancelled, cpu, waits)


@contextmanager
def _stage(database: Database, *, admits_all: bool) -> Iterator[tuple[RunningGateway, list[RawClient]]]:
    """A gateway, the client that asks, and those whose queries are cancelled."""
    throttle = {"throttle": {"cancels_per_second": _ALL}} if admits_all else {}
    with ExitStack() as stack:
        gateway = stack.enter_context(
            running_gateway(
                listen={"host": "127.0.0.1", "port": 0, "workers": 1, "drain_seconds": 1.0}, tls={"mode": "allow"}, **throttle
            )
        )
        person, target = gateway.analyst(database)
        place = Place(gateway.host, gateway.port)
        yield (
            gateway,
            [stack.enter_context(place.log_in(person.name, person.password, target, minor=0)) for _ in range(1 + _SESSIONS)],
        )


def _row(name: str, seconds: float, calm: Outcome, found: Outcome) -> str:
    p50, p99, most = (f"{percentile(found.waits, share):,.0f}" for share in (0.5, 0.99, 1.0))
    each = f"{(found.cpu_seconds - calm.cpu_seconds) / found.sent * 1e6:,.0f}" if found.sent else ""
    sent, cancelled = f"{found.sent / seconds:,.0f}", f"{found.cancelled / seconds:,.0f}"
    return f"| {name} | {sent} | {cancelled} | {each} | {p50} | {p99} | {most} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-second", type=float, nargs="*", default=[100, 1000])
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    print("| cancels | sent per second | queries cancelled | CPU each, us | another one's query, p50 | p99 | most, us |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made, running_upstream(Path(made)) as upstream:
        logins = make_logins(upstream)
        with fresh_database(upstream, logins) as database:
            for kinds in (_ADMITTED, (_OVER,)):
                with (
                    _stage(database, admits_all=kinds is _ADMITTED) as (gateway, clients),
                    upstream.connect(database.name) as locking,
                ):
                    locking.execute("BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")  # now: catalogs are read before
                    time.sleep(_SPARE_SECONDS)
                    calm = _measure(gateway, clients, "", 0.0, given.seconds)
                    print(_row("none", given.seconds, calm, calm), flush=True)
                    for kind in kinds:
                        for pace in given.per_second:
                            found = _measure(gateway, clients, kind, pace, given.seconds)
                            print(_row(kind, given.seconds, calm, found), flush=True)


if __name__ == "__main__":
    main()
