"""A way in for client programs: the same person and target in the words of libpq's environment, URLs and keyword arguments.

Also what a test may assume of the machine: a program that is not installed skips its tests, and fails them under CI=true, where
.ci/run installs everything.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import pytest

from gateway.access_mode import AccessMode
from tests.support.gateway import Person, RunningGateway
from tests.support.upstream import Database

#: Runs until somebody cancels it, or for minutes; sleeping is refused in read-only sessions.
ENDLESS = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b"
LARGE_ROWS = 40_000
#: Some 8 MB: well above every buffer on the way.
LARGE = f"SELECT g, repeat('x', 200) FROM generate_series(1, {LARGE_ROWS}) g"
_PROGRAM_SECONDS = 90


@dataclass(frozen=True)
class Door:
    """`dbname` is what a client names as its database."""

    gateway: RunningGateway = field(repr=False)
    database: Database = field(repr=False)
    person: Person
    target: str
    mode: AccessMode

    @property
    def dbname(self) -> str:
        return self.target + (":rw" if self.mode is AccessMode.READ_WRITE else "")

    @property
    def place(self) -> dict[str, Any]:
        """Keyword arguments that every Python driver understands, without TLS."""
        return {
            "host": self.gateway.host,
            "port": self.gateway.port,
            "user": self.person.name,
            "password": self.person.password,
        }

    def libpq(self, **more: Any) -> dict[str, Any]:
        return self.gateway.parameters(self.person, self.dbname, **more)

    def url(self, scheme: str = "postgresql", **options: str) -> str:
        """The colon of ":rw" stays as it is: node-postgres does not decode %3A."""
        login = f"{self.person.name}:{quote(self.person.password, safe='')}"
        query = f"?{urlencode(options)}" if options else ""
        return f"{scheme}://{login}@{self.gateway.host}:{self.gateway.port}/{quote(self.dbname, safe=':')}{query}"

    def environment(self, **more: str) -> dict[str, str]:
        """For libpq programs; nothing of the caller's own PG... variables."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        ours = {
            "PGHOST": self.gateway.host,
            "PGPORT": str(self.gateway.port),
            "PGUSER": self.person.name,
            "PGPASSWORD": self.person.password,
            "PGDATABASE": self.dbname,
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": str(self.gateway.ca_file),
        }
        return {**clean, **ours, **more}

    def scratch(self, client: str) -> list[tuple[int, str | None]]:
        """What a client left in the table for that, as the database itself tells it."""
        with self.database.upstream.connect(self.database.name) as connection:
            rows = connection.execute("SELECT id, note FROM scratch WHERE client = %s ORDER BY id", [client]).fetchall()
        return [(row[0], row[1]) for row in rows]

    def wait_until_running(self, application: str) -> None:
        """Until upstream runs a statement of this person's session with that application_name."""
        deadline = time.monotonic() + 10
        running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name LIKE %s"
        with self.database.upstream.connect() as connection:
            while connection.execute(running, [f"{self.person.name}/% {application}"]).fetchone() != (1,):
                assert time.monotonic() < deadline, "the query did not start"
                time.sleep(0.02)

    def denials(self, application: str) -> list[str]:
        """The rules that refused statements of this person's sessions with that application_name, in order."""
        return [record["rule"] for record in self.gateway.events(application=application, verdict="denied")]


def direct_environment(door: Door) -> dict[str, str]:
    """The same role straight to PostgreSQL: the oracle for what a program shows."""
    upstream, login = door.database.upstream, door.database.app_ro
    assert door.mode is AccessMode.READ_ONLY
    return door.environment(
        PGHOST=upstream.host,
        PGPORT=str(upstream.port),
        PGUSER=login.name,
        PGPASSWORD=login.password.reveal(),
        PGDATABASE=door.database.name,
        PGSSLMODE="prefer",
        PGSSLROOTCERT=str(upstream.ca_file),
    )


def missing(what: str, package: str) -> NoReturn:
    """Skip; under CI=true fail."""
    text = f"{what} is not installed (Debian: apt-get install {package})"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(text)
    pytest.skip(text)


def program(name: str, package: str) -> str:
    """The path of an installed program."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        missing(name, package)
    return found


def run(
    command: Sequence[str | Path], environment: dict[str, str], text: str | None = None
) -> "subprocess.CompletedProcess[str]":
    """To its end, with `text` on its standard input."""
    return subprocess.run(
        command, env=environment, input=text, capture_output=True, text=True, timeout=_PROGRAM_SECONDS, check=False
    )
