"""`pgbastion request` with a real gateway: what was approved is used at once with what was printed, and given back it is gone."""

import os
import re
import secrets
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import WIDE_OPEN
from tests.support.commands import quick_program
from tests.support.free_port import free_port
from tests.support.gateway import Person, RunningGateway, running_gateway
from tests.support.upstream import Database

SECONDS = 60


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    listen = {"host": "127.0.0.1", "port": free_port(), "drain_seconds": 1.0}
    with running_gateway(throttle=WIDE_OPEN, listen=listen, admin_api={"port": free_port()}) as running:
        yield running


@dataclass(frozen=True)
class Somebody:
    """A person, and the environment of commands that speak for them."""

    person: Person
    environment: dict[str, str]

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command = [quick_program(), *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)

    def run(self, *words: str) -> str:
        done = subprocess.run([quick_program(), *words], capture_output=True, text=True, env=self.environment, timeout=SECONDS)
        assert done.returncode == 0, done
        return done.stdout


@dataclass(frozen=True)
class Case:
    ana: Somebody
    ben: Somebody
    target: str


@pytest.fixture
def case(site: RunningGateway, shared_database: Database, tmp_path: Path) -> Case:
    """ana has no right to the target; ben decides about it."""
    people = [site.person(), site.person()]
    target = site.target(shared_database)
    where = f"e_{secrets.token_hex(4)}"
    here(site, "environments", "create", where)
    here(site, "targets", "move", target, "--environment", where)
    modes = ["--mode", "ro", "--mode", "rw"]
    here(site, "approvals", "create", where, "--environment", where, *modes, "--step", f"user:{people[1].name}")
    ana, ben = (somebody(site, person, tmp_path) for person in people)
    return Case(ana, ben, target)


def here(site: RunningGateway, *words: str) -> str:
    environment = {**os.environ, "PGBASTION_CONFIG": str(site.config)}
    done = subprocess.run([quick_program(), *words], capture_output=True, text=True, env=environment, timeout=SECONDS)
    assert done.returncode == 0, done
    return done.stdout


def somebody(site: RunningGateway, person: Person, folder: Path) -> Somebody:
    token = here(site, "tokens", "create", f"t-{secrets.token_hex(4)}", "--user", person.name, "--expires", "1h").strip()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    url = f"http://127.0.0.1:{site.admin.settings.admin_api.port}"
    caches = {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_CONFIG_HOME": str(folder / "config")}
    return Somebody(person, {**clean, **caches, "PGBASTION_URL": url, "PGBASTION_TOKEN": token})


def approved(case: Case, *words: str) -> tuple[str, str]:
    """The number of a request of ana's that ben approved while she waited, and what she was told."""
    with case.ana.start("request", "create", *words, "--reason", "a test", "--wait", "--timeout", "1m") as waiting:
        assert waiting.stdout is not None
        number = re.match(r"Request (\d+):", waiting.stdout.readline())[1]  # type: ignore[index]
        case.ben.run("request", "approve", number, "--yes")
        out, err = waiting.communicate(timeout=SECONDS)
    assert (waiting.returncode, err) == (0, "")
    return number, out


def end_of(session: "psycopg.Connection[Any]") -> str:
    """What the session reads when it ends: a FATAL 57P01, within seconds."""
    with pytest.raises(psycopg.errors.AdminShutdown) as ended:
        session.execute("SELECT pg_sleep(10)")
    return str(ended.value)


def test_what_was_printed_connects_and_what_was_given_back_ends_the_session(site: RunningGateway, case: Case) -> None:
    number, told = approved(case, f"{case.target}:rw", "--duration", "10m")
    words = next(line for line in told.splitlines() if "psql host=" in line.replace("'", "")).split("psql", 1)[1]
    (connection_string,) = shlex.split(words.split("  ", 1)[-1])[-1:]
    with psycopg.connect(connection_string, password=case.ana.person.password, autocommit=True) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)
        assert case.ana.run("request", "relinquish", number) == f"Request {number} is relinquished.\n"
        assert f"request {number} was given back" in end_of(session)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(connection_string, password=case.ana.person.password)


def test_who_takes_it_away_is_said_to_the_session(site: RunningGateway, case: Case) -> None:
    number, _ = approved(case, case.target)
    session = site.client(case.ana.person, case.target)
    here(site, "request", "revoke", number, "--reason", "the audit is over")
    ended = end_of(session)
    assert f"request {number} was revoked" in ended
    assert "the audit is over" in ended
