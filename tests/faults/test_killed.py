"""F18: all is killed at once, at full rate: nothing that was answered is missing in the audit, and nothing is there twice."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.cli.local import operator
from gateway.services import allowlist
from tests.support.faults import Measured, Worker, family
from tests.support.gateway import WHY, RunningGateway, start_serve, wait_until_ready, write_config
from tests.support.upstream import Database

LIVES = 4
PGBASTION = (sys.executable, "-c", "from gateway.cli.main import run; run()")
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


class AdminAtWork(threading.Thread):
    """Adds users in a process of its own; `told` are those that it was told are committed."""

    def __init__(self, config: Path, prefix: str) -> None:
        super().__init__(daemon=True)
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", "tests.support.admin_writer", str(config), prefix]
        environment = {**os.environ, "PYTHONPATH": paths}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        self.told: list[str] = []

    def run(self) -> None:
        assert self.process.stdout is not None
        self.told.extend(line.strip() for line in self.process.stdout if line.endswith("\n"))


def kill(processes: list[psutil.Process]) -> None:
    """The one that would start others anew is the first."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=10)


def audit(config: Path) -> list[dict[str, Any]]:
    command = [*PGBASTION, "audit", "search", "--json", "--config", str(config)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in shown.splitlines()]


@pytest.mark.parametrize("durability", ["write", "fsync"])
def test_f18_sigkill_of_everything_at_full_rate(database: Database, durability: str, measured: Measured) -> None:
    with tempfile.TemporaryDirectory(prefix="pgbastion-") as made:
        listen = {"host": "127.0.0.1", "port": 0, "workers": 2, "drain_seconds": 1.0}
        config = write_config(Path(made), listen=listen, admin_api={"port": 0}, audit={"durability": durability})
        admin = operator(config)
        entry = allowlist.create_entry(admin.store, level=allowlist.Everybody(), network="127.0.0.1/32", label="", **WHY)
        admin.change(entry)
        began = time.monotonic()
        process, log = start_serve(config)
        started = [process]
        try:
            gateway = RunningGateway(Path(made), config, "127.0.0.1", admin, process, wait_until_ready(process, log), log)
            first_start = time.monotonic() - began
            measured(f"{durability}: first start, ready after", first_start)
            person, target = gateway.analyst(database)
            answered: list[int] = []
            told: list[str] = []
            up: list[float] = []
            for life in range(LIVES):
                first = (life + 1) * 10_000_000
                workers = [Worker(gateway, person, target, pause_seconds=0, first=first + n * 1_000_000) for n in range(4)]
                admin_at_work = AdminAtWork(config, f"life{life}")
                for thread in (*workers, admin_at_work):
                    thread.start()
                time.sleep(2.0 + 0.13 * life)
                patience = time.monotonic() + 20
                while not admin_at_work.told and time.monotonic() < patience:  # on a busy machine it takes longer to start
                    time.sleep(0.1)
                alive = [*family(gateway.process.pid), psutil.Process(admin_at_work.process.pid)]
                kill(alive)
                gateway.process.wait(10)
                admin_at_work.process.wait(10)
                for thread in (*workers, admin_at_work):
                    thread.join(10)
                    assert not thread.is_alive()
                answered += [number for worker in workers for number in worker.answered]
                told += admin_at_work.told
                began = time.monotonic()
                gateway.process, gateway.log = start_serve(config)
                started.append(gateway.process)
                gateway.port = wait_until_ready(gateway.process, gateway.log)
                measured(f"{durability}: started again, ready after", time.monotonic() - began)
                used = sum(sum(each.cpu_times()[:2]) for each in family(gateway.process.pid))
                measured(f"{durability}: started again, CPU time of all processes", used)
                gateway.client(person, target).execute("SELECT 1")
                up.append(time.monotonic() - began)
            gateway.close_clients()
            gateway.process.terminate()
            assert gateway.process.wait(10) == 0
        finally:
            kill([each for root in started for each in family(root.pid)])

        measured(f"{durability}: up again and a statement answered after, at most", max(up))
        measured(f"{durability}: statements answered in {LIVES} lives", len(answered), "")
        measured(f"{durability}: changes acknowledged in {LIVES} lives", len(told), "")
        # Promised: 5, on a machine that is not busy with other tests. A crash leaves little to do for the next start.
        assert max(up) < max(5, 5 * first_start)
        assert len(answered) > 400
        assert len(told) >= LIVES
        records = audit(config)
        asked = Counter(int(r["sql"].split()[1]) for r in records if r["event"] == "statement" and r["user"] == person.name)
        asked = Counter({number: count for number, count in asked.items() if number >= 10_000_000})
        assert set(answered) <= set(asked)
        assert set(asked.values()) == {1}
        measured(f"{durability}: statements in the audit", len(asked), "")
        # Sessions: each that began has ended, once; those that the crash took say so.
        began_sessions = {r["session"] for r in records if r["event"] == "session_start"}
        ended = Counter(r["session"] for r in records if r["event"] == "session_end")
        assert set(ended) == began_sessions
        assert set(ended.values()) == {1}
        crashed = [r for r in records if r["event"] == "session_end" and r["reason"] == "crash"]
        assert len(crashed) >= 4 * LIVES
        assert {r["user"] for r in crashed} == {person.name}
        # Changes: what was acknowledged is written down, what is written down was done, and each once: also in the files,
        # where they were shipped to while everything was killed again and again.
        created = Counter(name for record in records if (name := name_of(record)))
        assert set(told) <= set(created)
        assert set(created.values()) == {1}
        assert shipped(config) == created
        snapshot = admin.read()
        assert {name for name in snapshot.users if name.startswith("life")} == set(created)


def name_of(record: dict[str, Any]) -> str:
    """Of the user that was added, as this record of an admin's change says; "" of any other record."""
    added = record["event"] == "admin" and record["action"] == "user.created" and record["object"].startswith("life")
    return str(record["object"]) if added else ""


def shipped(config: Path) -> "Counter[str]":
    lines = [line for path in (config.parent / "state" / "audit").glob("*.jsonl") for line in path.read_text().splitlines()]
    return Counter(name for line in lines if '"event":"admin"' in line and (name := name_of(json.loads(line))))
