"""F18, Z01, Z03: what a client was told is in the audit, whatever happened to the gateway; what cannot be audited does not run."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.cli.local import operator
from gateway.services import allowlist
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway, start_serve, wait_until_ready, write_config
from tests.support.upstream import Database

PGBASTION = (sys.executable, "-c", "from gateway.cli.main import run; run()")
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and prlimit")


class Mortal:
    """A gateway that is killed and started again, with the same state."""

    def __init__(self, directory: Path, durability: str) -> None:
        self._directory = directory
        self._config = write_config(directory, listen={"port": 0, "workers": 2}, audit={"durability": durability})
        self._admin = operator(self._config)
        entry = allowlist.create_entry(
            self._admin.store, level=allowlist.Everybody(), network="127.0.0.1/32", label="tests", **WHY
        )
        self._admin.change(entry)
        began = time.monotonic()
        self.gateway = self.start()
        self.first_start_seconds = time.monotonic() - began

    def start(self) -> RunningGateway:
        process, log = start_serve(self._config)
        port = wait_until_ready(process, log)
        self.gateway = RunningGateway(self._directory, self._config, "127.0.0.1", self._admin, process, port, log)
        return self.gateway

    def kill(self) -> None:
        """All of it, at once, as a crash of the machine's power would."""
        for pid in [*self.gateway.worker_pids(), self.gateway.process.pid]:
            os.kill(pid, signal.SIGKILL)
        self.gateway.process.wait()

    def stop(self) -> int:
        self.gateway.process.terminate()
        return self.gateway.process.wait(10)

    def audit(self, *arguments: str) -> list[dict[str, Any]]:
        command = [*PGBASTION, "audit", "search", "--json", *arguments, "--config", str(self._config)]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [json.loads(line) for line in shown.splitlines()]


@contextlib.contextmanager
def mortal_gateway(durability: str) -> Iterator[Mortal]:
    with tempfile.TemporaryDirectory(prefix="pgbastion-") as made:
        mortal = Mortal(Path(made), durability)
        try:
            yield mortal
        finally:
            if mortal.gateway.process.poll() is None:
                mortal.stop()


class Asker(threading.Thread):
    """Asks one numbered question after the other until the connection breaks; remembers those that were answered."""

    def __init__(self, gateway: RunningGateway, person: Person, target: str, first: int) -> None:
        super().__init__(daemon=True)
        self._connection = gateway.client(person, target)
        self._number = first
        self.answered: list[int] = []

    def run(self) -> None:
        with contextlib.suppress(psycopg.Error):
            while True:
                answer = self._connection.execute(f"SELECT {self._number}").fetchone()
                assert answer == (self._number,)
                self.answered.append(self._number)
                self._number += 1


@linux_only
@pytest.mark.parametrize("durability", ["write", "fsync"])
def test_a_sigkill_at_full_rate_loses_nothing_that_was_answered(database: Database, durability: str) -> None:
    with mortal_gateway(durability) as mortal:
        person, target = mortal.gateway.analyst(database)
        answered: list[int] = []
        for life in range(3):
            askers = [Asker(mortal.gateway, person, target, (life * 10 + n + 1) * 1_000_000) for n in range(4)]
            for asker in askers:
                asker.start()
            time.sleep(0.5 + 0.1 * life)
            mortal.kill()
            for asker in askers:
                asker.join(10)
                answered += asker.answered
            at = time.monotonic()
            mortal.start()
            # Promised: 5 s. Tests beside this one slow it down as much as they slowed down the first start.
            assert time.monotonic() - at < 5 + 3 * mortal.first_start_seconds
        assert mortal.stop() == 0
        assert len(answered) > 100
        records = mortal.audit()
        asked = Counter(
            int(record["sql"].split()[1])
            for record in records
            if record["event"] == "statement" and record["user"] == person.name
        )
        assert set(answered) <= set(asked)
        assert set(asked.values()) == {1}
        # An operator's change has no worker.
        numbers = [(record.get("worker"), record["seq"]) for record in records if "seq" in record]
        assert len(numbers) == len(set(numbers))
        started = {record["session"] for record in records if record["event"] == "session_start"}
        ended = Counter(record["session"] for record in records if record["event"] == "session_end")
        assert set(ended) == started
        assert set(ended.values()) == {1}
        crashed = [record for record in records if record["event"] == "session_end" and record["reason"] == "crash"]
        assert len(crashed) >= 12
        assert {record["user"] for record in crashed} == {person.name}


def test_a_statement_waits_for_a_slow_disk(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\nreal = getattr(os, 'fdatasync', os.fsync)\nos.fdatasync = lambda fd: (time.sleep(0.2), real(fd))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with running_gateway(audit={"durability": "fsync"}) as gateway:
        connection = gateway.client(*gateway.analyst(database))
        for _ in range(3):
            sent = time.time()
            (ran,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone() or (0.0,)
            assert ran - sent >= 0.2


def ask_until_refused(connection: psycopg.Connection[Any]) -> tuple[int, str | None]:
    """How many questions were answered, and the SQLSTATE of the refusal."""
    ran, until = 0, time.monotonic() + 1
    try:
        while time.monotonic() < until:
            connection.execute(f"SELECT 'unheard of', {ran}")
            ran += 1
    except psycopg.Error as refused:
        return ran, refused.sqlstate
    raise AssertionError("nothing was refused")


@linux_only
@pytest.mark.parametrize("durability", ["write", "fsync"])
def test_what_cannot_be_audited_does_not_run_and_it_recovers(database: Database, durability: str) -> None:
    """With durability "write" the journal takes records until its next drain fails; what ran by then is there, too."""
    with running_gateway(audit={"durability": durability}) as gateway:
        person, target = gateway.analyst(database)
        connection = gateway.client(person, target)
        (worker,) = gateway.worker_pids()
        before = resource.prlimit(worker, resource.RLIMIT_FSIZE)
        size = (gateway.state_dir / "audit" / "audit-0.jsonl").stat().st_size
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (size + 10, before[1]))
        ran, sqlstate = ask_until_refused(connection)
        assert sqlstate == "58030"
        assert ran == 0 or durability == "write"
        with pytest.raises(psycopg.OperationalError):
            gateway.client(person, target)
        assert len((gateway.state_dir / "audit" / "audit-0.jsonl").read_bytes()) <= size + 10
        resource.prlimit(worker, resource.RLIMIT_FSIZE, before)
        gateway.wait_for_event(event="trail_recovered")
        gateway.settle(person, target)
        assert gateway.client(person, target).execute("SELECT 1").fetchone() == (1,)
        for number in range(ran + 1):
            for record in gateway.events(event="statement", sql=f"SELECT 'unheard of', {number}"):
                ended = gateway.events(event="statement_end", session=record["session"], statement=record["statement"])
                assert any(end["outcome"] == "ok" for end in ended) == (number < ran)
        heard = Counter(record["sql"] for record in gateway.events(event="statement"))
        assert all(heard[f"SELECT 'unheard of', {number}"] == 1 for number in range(ran))
