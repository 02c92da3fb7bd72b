"""Database tunnels, acted out with psql on both sides: from the admin's password that everybody knows to its death."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from psycopg import sql

from tests.support.commands import quick_program
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.upstream import Database

PSQL = "psql"


def query_by_psql(query: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([PSQL, "-XAtqc", query], env=environment, capture_output=True, text=True, timeout=30)


@dataclass
class Shared:
    """The credential that forty laptops know."""

    login: str
    password: str
    database: Database
    _open: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def url(self) -> str:
        upstream = self.database.upstream
        mode = "verify-full" if upstream.has_tls else "disable"
        where = f"127.0.0.1:{upstream.port}/{self.database.name}"
        return f"postgresql://{self.login}:{quote(self.password, safe='')}@{where}?sslmode={mode}"

    def psql(self, query: str, application: str = "psql") -> "subprocess.CompletedProcess[str]":
        return query_by_psql(query, self._environment(application))

    def stay(self, application: str) -> "subprocess.Popen[str]":
        """A session that somebody left open."""
        session = subprocess.Popen(
            [PSQL, "-XAtq"],
            env=self._environment(application),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write("SELECT 'here';\n")
        session.stdin.flush()
        assert session.stdout.readline() == "here\n"
        self._open.append(session)
        return session

    def leave(self) -> None:
        while self._open:
            session = self._open.pop()
            session.communicate("\\q\n", timeout=10)

    def _environment(self, application: str) -> dict[str, str]:
        upstream = self.database.upstream
        return {
            **os.environ,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(upstream.port),
            "PGUSER": self.login,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database.name,
            "PGSSLMODE": "verify-full" if upstream.has_tls else "disable",
            "PGSSLROOTCERT": str(upstream.ca_file),
            "PGAPPNAME": application,
        }


@pytest.fixture
def shared(database: Database) -> Iterator[Shared]:
    login, password = f"tunnel_{secrets.token_hex(4)}", secrets.token_urlsafe(18)
    with database.upstream.connect() as admin:
        text = sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}")
        admin.execute(text.format(sql.Identifier(login), sql.Literal(password)))
    made = Shared(login, password, database)
    yield made
    made.leave()
    with database.upstream.connect(database.name) as admin:
        listed = "SELECT rolname FROM pg_roles WHERE rolname IN ('shop_ro', 'shop_rw', %s)"
        for (role,) in admin.execute(listed, [login]).fetchall():
            for command in ("REASSIGN OWNED BY {} TO CURRENT_USER", "DROP OWNED BY {}", "DROP ROLE {}"):
                admin.execute(sql.SQL(command).format(sql.Identifier(role)))


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    with running_gateway(admin_api={"enabled": True, "port": 0}) as running:
        yield running


class Ops:
    """Whoever administers, at the gateway's machine."""

    def __init__(self, gateway: RunningGateway, never: list[str]) -> None:
        self._gateway = gateway
        self._never = never

    def run(self, *words: str, given: str = "", status: int = 0) -> str:
        """What was said on both outputs; none of it may hold a secret."""
        done = self._done(*words, given=given)
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def json(self, *words: str, status: int = 0) -> dict[str, Any]:
        done = self._done(*words, "--json")
        assert done.returncode == status, (words, done.stdout, done.stderr)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _done(self, *words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        command = [quick_program(), *words]
        environment = {**os.environ, "PGBASTION_CONFIG": str(self._gateway.config), "COLUMNS": "200"}
        done = subprocess.run(command, env=environment, input=given, text=True, capture_output=True, timeout=120)
        for secret in self._never:
            assert secret not in done.stdout + done.stderr, words
        return done


def as_person(gateway: RunningGateway, name: str, password: str, query: str) -> "subprocess.CompletedProcess[str]":
    """psql from a laptop, through the gateway."""
    environment = {
        **os.environ,
        "PGHOST": "localhost",
        "PGPORT": str(gateway.port),
        "PGUSER": name,
        "PGPASSWORD": password,
        "PGDATABASE": "shop",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(gateway.ca_file),
    }
    return query_by_psql(query, environment)


@contextmanager
def through_the_gateway(gateway: RunningGateway, name: str, password: str) -> Iterator[None]:
    """A session that lives meanwhile."""
    with gateway.client(type("P", (), {"name": name, "password": password})(), "shop") as connection:
        connection.execute("SELECT 1")
        yield
        connection.execute("SELECT 1")


def test_from_the_shared_password_to_its_death(gateway: RunningGateway, shared: Shared) -> None:
    ops = Ops(gateway, [shared.password])
    ca = ["--ca-file", str(shared.database.upstream.ca_file)] if shared.database.upstream.has_tls else []
    assert shared.psql("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").stdout == "t\n"

    # 1. Adopt: shown first, then done; the URL comes by standard input.
    plan = ops.run("targets", "adopt", "shop", "--dry-run", *ca, given=shared.url)
    assert 'CREATE ROLE "shop_ro"' in plan
    assert shared.psql("SELECT count(*) FROM pg_roles WHERE rolname = 'shop_ro'").stdout == "0\n"
    done = ops.run("targets", "adopt", "shop", "--yes", *ca, given=shared.url)
    assert "which nobody has ever seen" in done
    assert "nothing was to be done" in ops.run("targets", "adopt", "shop")

    # 2. People get logins of their own, and what they may do is enforced.
    password = secrets.token_urlsafe(24)
    ops.run("users", "create", "anna_a", "--password-stdin", given=password)
    ops.run("grants", "create", "--user", "anna_a", "--target", "shop", "--mode", "ro")
    read = until(lambda: as_person(gateway, "anna_a", password, "SELECT current_user"), lambda got: got.returncode == 0)
    assert read.stdout == "anna_a\n" or read.stdout == "shop_ro\n"
    refused = as_person(gateway, "anna_a", password, "CREATE TABLE hers ()")
    assert refused.returncode != 0

    # 3. Who still uses it: exactly those who come without the gateway, whatever they call themselves.
    shared.stay("psql of bert")
    shared.stay("anna_a/3d5e6f70-0000-4000-8000-000000000000 psql")
    with through_the_gateway(gateway, "anna_a", password):
        found = ops.json("targets", "who-still-uses", "shop", status=1)
        by = {(each["role"], each["application"]) for each in found["sessions"]}
        assert by == {(shared.login, "psql of bert"), (shared.login, "anna_a/3d5e6f70-0000-4000-8000-000000000000 psql")}
        assert found["ours"] == 1
        assert found["gateway_known"]
        said = ops.run("targets", "who-still-uses", "shop", status=1)
        assert "Ready to rotate? no: 2 sessions" in said

    # 4. Over time, by itself.
    ops.run("targets", "observe", "shop", "--every", "10s")
    seen = until(lambda: ops.json("targets", "who-still-uses", "shop", status=1), lambda got: got["looks"] >= 2, seconds=30)
    assert seen["observation"] == {"every_seconds": 10, "keep_days": 30}
    shared.leave()
    gone = ops.run("targets", "who-still-uses", "shop", status=1)
    assert "Ready to rotate? not yet" in gone
    assert "psql of bert" in gone

    # 5. The password dies, and nobody at the gateway notices.
    with through_the_gateway(gateway, "anna_a", password):
        rotated = ops.run("targets", "rotate-credential", "shop", "--role", "admin")
        assert "no longer logs in" in rotated
    dead = shared.psql("SELECT 1")
    assert dead.returncode != 0
    assert "password authentication failed" in dead.stderr
    assert as_person(gateway, "anna_a", password, "SELECT 1").stdout == "1\n"
    assert "nobody else knows its password since" in ops.run("targets", "adoption", "shop")
    assert ops.json("targets", "who-still-uses", "shop")["ready"]
    ops.run("targets", "observe", "shop", "--off")

    # 6. Nothing that was written anywhere holds it.
    for file in gateway.directory.rglob("*"):
        if file.is_file() and not file.is_socket():
            assert shared.password.encode() not in file.read_bytes(), file
    assert shared.password not in "".join(gateway.log)


def until(look: Any, good: Any, seconds: float = 15.0) -> Any:
    deadline = time.monotonic() + seconds
    while not good(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found
