"""Passwords of upstream logins are changed under live sessions and steady logins: how many of these fail, and how long it takes.

    python -m tests.bench.rotation --rotations 200 --sessions 50 --logins 4
    python -m tests.bench.rotation --rotations 50 --open-ahead 4

The sessions take turns with a statement each; each of `--logins` people logs in, asks something and leaves, over and over. Both go
on until all rotations are done. A failure is whatever a client sees but an answer. Every old password is tried at the end of its
rotation, and has to be refused.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg

from gateway.services import targets
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.upstream import Database, fresh_database, make_logins, running_upstream

ROOT: Final = Path(__file__).parents[2]


@dataclass
class Clients:
    """What clients of one target saw. Times in seconds."""

    gateway: RunningGateway
    person: Person
    target: str
    logins: list[float] = field(default_factory=list)
    answers: int = 0
    failures: list[str] = field(default_factory=list)
    _enough: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, sessions: int, logins: int) -> None:
        held = [self.gateway.client(self.person, self.target) for _ in range(sessions)]
        work = [threading.Thread(target=self._ask, args=(held,))]
        work += [threading.Thread(target=self._log_in) for _ in range(logins)]
        self._threads = work
        for thread in work:
            thread.start()

    def stop(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, held: Sequence["psycopg.Connection[object]"]) -> None:
        while not self._enough.is_set():
            for connection in held:
                try:
                    connection.execute("SELECT 1")
                    self.answers += 1
                except psycopg.Error as error:
                    self.failures.append(f"session: {error}")
            self._enough.wait(0.02)

    def _log_in(self) -> None:
        parameters = self.gateway.parameters(self.person, self.target)
        while not self._enough.is_set():
            began = time.perf_counter()
            try:
                with psycopg.connect(**parameters) as connection:
                    connection.execute("SELECT 1")
            except psycopg.Error as error:
                self.failures.append(f"login: {error}")
            self.logins.append(time.perf_counter() - began)


@dataclass(frozen=True)
class Figures:
    rotations: list[float]
    not_done: int
    old_refused: int
    clients: Clients

    def __str__(self) -> str:
        clients, ms = self.clients, [1000 * each for each in sorted(self.clients.logins)]
        return "\n".join(
            [
                f"rotations: {len(self.rotations)}, not done: {self.not_done}, old password refused: {self.old_refused}",
                f"  each took {statistics.median(self.rotations):.2f} s (median), {max(self.rotations):.2f} s at most",
                f"logins meanwhile: {len(ms)}, failed: {sum(each.startswith('login') for each in clients.failures)}",
                f"  {statistics.median(ms):.1f} ms (median), {ms[int(len(ms) * 0.99)]:.1f} ms (99 %), {ms[-1]:.1f} ms at most",
                f"answers of live sessions: {clients.answers}, failed: {sum(e.startswith('session') for e in clients.failures)}",
                *(f"  {failure}" for failure in clients.failures[:5]),
            ]
        )


def trial(gateway: RunningGateway, person: Person, target: str, *, rotations: int, sessions: int, logins: int) -> Figures:
    """One rotation after the other, of the login of read-only sessions."""
    clients = Clients(gateway, person, target)
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "tests.support.rotations", str(gateway.config), target, str(rotations)]
    clients.start(sessions, logins)
    try:
        said = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True, check=True
        )
    finally:
        clients.stop()
    found = [json.loads(line) for line in said.stdout.splitlines()]
    not_done = sum(each["end"] != "done" for each in found)
    refused = sum(each["old_refused"] == "28P01" for each in found)
    return Figures([each["seconds"] for each in found], not_done, refused, clients)


def prepared(gateway: RunningGateway, database: Database, open_ahead: int) -> tuple[Person, str]:
    person, target = gateway.analyst(database)
    if open_ahead:
        admin = gateway.admin
        admin.change(targets.set_open_ahead(admin.store, name=target, open_ahead=open_ahead, **WHY))
    return person, target


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rotation", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rotations", type=int, default=50)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--logins", type=int, default=4, help="people who log in, over and over")
    parser.add_argument("--open-ahead", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(argv)
    listen = {"host": "127.0.0.1", "port": 0, "workers": given.workers, "drain_seconds": 1.0}
    wide_open = {"free_failures": 1_000_000, "user_delay_seconds": 0.0}
    with (
        tempfile.TemporaryDirectory(prefix="pgbastion-rotation-") as made,
        running_upstream(Path(made)) as upstream,
        fresh_database(upstream, make_logins(upstream)) as database,
        running_gateway(listen=listen, throttle=wide_open) as gateway,
    ):
        person, target = prepared(gateway, database, given.open_ahead)
        figures = trial(gateway, person, target, rotations=given.rotations, sessions=given.sessions, logins=given.logins)
        print(figures)
    return 1 if figures.clients.failures or figures.not_done else 0


if __name__ == "__main__":
    sys.exit(main())
