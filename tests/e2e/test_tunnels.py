"""`pgbastion connect` and `pgbastion tunnel`, from the gateway's machine and with a person's own token, with real clients."""

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.access.model import TokenScope
from gateway.audit.admin_event import AdminEvent
from gateway.services import tokens
from gateway.services.tokens import NewToken
from tests.e2e.conftest import WIDE_OPEN
from tests.services.world import in_days
from tests.support.doors import program
from tests.support.free_port import free_port
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.upstream import Database

PROGRAM = str(Path(sys.executable).with_name("pgbastion"))
SECONDS = 60


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Its ports are known beforehand, as those of a gateway that people connect to are."""
    listen = {"host": "127.0.0.1", "port": free_port(), "drain_seconds": 1.0}
    with running_gateway(throttle=WIDE_OPEN, listen=listen, admin_api={"port": free_port()}) as running:
        yield running


@dataclass(frozen=True)
class Analyst:
    """With the options and the environment of a command that speaks for this person."""

    person: Person
    target: str
    options: tuple[str, ...]
    environment: dict[str, str]


@pytest.fixture(params=["here", "far"])
def analyst(request: pytest.FixtureRequest, site: RunningGateway, shared_database: Database, tmp_path: Path) -> Analyst:
    person, target = site.analyst(shared_database)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment = {**clean, "XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    if request.param == "here":
        return Analyst(person, target, ("--user", person.name), {**environment, "PGBASTION_CONFIG": str(site.config)})
    url = f"http://127.0.0.1:{site.admin.settings.admin_api.port}"
    token = site.admin.change(token_of(site, person))
    return Analyst(person, target, (), {**environment, "PGBASTION_URL": url, "PGBASTION_TOKEN": token})


async def token_of(site: RunningGateway, person: Person) -> str:
    """As a sign-in leaves it."""
    store, name = site.admin.store, f"t-{secrets.token_hex(4)}"
    made: NewToken = await tokens.create_token(store, name=name, scope=TokenScope.ADMIN, valid_until=in_days(1), **WHY)
    async with store.begin() as work:
        work.put(replace(made.token, user_id=work.snapshot.users[person.name].id))
        await work.commit(AdminEvent("os:test", "token.changed", made.token.id, name, "", {}))
    return made.secret.reveal()


class Tunnel:
    """A running one, and what it printed."""

    def __init__(self, analyst: Analyst, *options: str) -> None:
        command = [PROGRAM, "tunnel", analyst.target, *analyst.options, *options]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=analyst.environment
        )
        self._lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        deadline = time.monotonic() + SECONDS
        while "Ctrl-C to close." not in self.text:
            assert self._process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.02)

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(self._process.stdout)

    @property
    def text(self) -> str:
        return "".join(self._lines)

    def found(self, pattern: str) -> str:
        match = re.search(pattern, self.text, re.MULTILINE)
        assert match, self.text
        return match[1]

    def close(self, how: signal.Signals = signal.SIGINT) -> int:
        self._process.send_signal(how)
        return self._process.wait(SECONDS)


@pytest.fixture
def tunnel(analyst: Analyst) -> Iterator[Tunnel]:
    opened = Tunnel(analyst)
    try:
        yield opened
    finally:
        with contextlib.suppress(ProcessLookupError):
            opened.close(signal.SIGTERM)


def through(tunnel: Tunnel, **more: Any) -> "psycopg.Connection[Any]":
    """By the URI that it prints, as it is."""
    return psycopg.connect(tunnel.found(r"^  (postgresql://\S+)$"), autocommit=True, **more)


def run(analyst: Analyst, command: Sequence[str], **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, env={**analyst.environment, **more}, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_connect_runs_psql(site: RunningGateway, analyst: Analyst) -> None:
    program("psql", "postgresql-client")
    words = ["--", "-XAt", "-c", "\\echo :USER", "-c", "SELECT 6 * 7"]
    done = run(analyst, [PROGRAM, "connect", analyst.target, *analyst.options, *words])
    assert done.returncode == 0, done.stderr
    login, answer = done.stdout.splitlines()
    assert re.fullmatch(rf"{analyst.person.name}~[0-9a-f]{{8}}", login)
    assert answer == "42"
    assert f"Connecting to {analyst.target} as {login}" in done.stderr
    site.wait_for_event(event="session_start", user=analyst.person.name, target=analyst.target)
    failed = run(analyst, [PROGRAM, "connect", "nowhere", *analyst.options])
    assert failed.returncode == 1
    assert 'target "nowhere" does not exist, or you have no grant for it' in failed.stderr


def test_a_tunnel_serves_clients_until_ctrl_c(site: RunningGateway, analyst: Analyst, tunnel: Tunnel) -> None:
    with through(tunnel) as session, through(tunnel, sslmode="prefer") as other:
        rows = session.execute("SELECT g, repeat('x', 200) FROM generate_series(1, 20000) g").fetchall()
        assert [row[0] for row in rows] == list(range(1, 20001))
        assert other.execute("SELECT length(%s)", ["x" * 500_000]).fetchone() == (500_000,)
        cancelled = threading.Timer(0.3, session.cancel_safe)
        cancelled.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            session.execute("SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b")
    line = tunnel.found(r"^  (127\.0\.0\.1:\d+:.*)$")
    psql = run(analyst, ["sh", "-c", tunnel.found(r"^  (psql .*)$") + " -XwAtc 'SELECT 1'"], PGPASSWORD=line.split(":")[-1])
    assert (psql.stdout, psql.returncode) == ("1\n", 0), psql.stderr
    started = site.wait_for_event(event="session_start", user=analyst.person.name, target=analyst.target)
    staying = through(tunnel)
    assert tunnel.close() == 0
    assert "Tunnel closed." in tunnel.text
    with pytest.raises(psycopg.OperationalError):
        staying.execute("SELECT 1")
    assert started["credential"] not in {each.id for each in site.admin.read().credentials.values()}
    with pytest.raises(psycopg.OperationalError):
        through(tunnel)


def test_the_login_is_of_no_use_without_its_password(tunnel: Tunnel) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        through(tunnel, password="wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        through(tunnel, user="somebody")


@pytest.mark.parametrize("analyst", ["here"], indirect=True)
def test_a_port_in_use(site: RunningGateway, analyst: Analyst) -> None:
    """Nothing stays behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(analyst, [PROGRAM, "tunnel", analyst.target, *analyst.options, "--port", str(port)])
    assert done.returncode == 1
    assert f"port {port} of this machine cannot be used" in done.stderr
    user = site.admin.read().users[analyst.person.name]
    assert not [each for each in site.admin.read().credentials.values() if each.user_id == user.id]


@pytest.mark.parametrize("analyst", ["far"], indirect=True)
def test_issue_prints_strings_that_work(analyst: Analyst) -> None:
    done = run(analyst, [PROGRAM, "credentials", "issue", analyst.target, *analyst.options, "--for", "5m", "--json"])
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["password"] not in made["connection_strings"]["URI"]
    with psycopg.connect(made["connection_strings"]["URI"], password=made["password"]) as session:
        assert session.info.parameter_status("session_authorization") == analyst.person.name
        assert session.execute("SELECT 1").fetchone() == (1,)
    listed = run(analyst, [PROGRAM, "credentials", "list", "--json"])
    assert made["login"] in {each["login"] for each in json.loads(listed.stdout)}
    assert run(analyst, [PROGRAM, "credentials", "revoke", made["login"]]).returncode == 0
