"""A gateway, and a database with one of each kind of object on each kind of server that this machine has."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from gateway.access_mode import AccessMode
from gateway.demo.binaries import PostgresError, Preference, find_binaries, server_account
from gateway.demo.postgres import start_postgres
from tests.support.doors import Door
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.upstream import CHOICE_VARIABLE, Database, Upstream, fresh_database, make_certificates, make_logins

_HERE = Path(__file__).parent


def kinds_of_server() -> list[str]:
    chosen = os.environ.get(CHOICE_VARIABLE, "")
    if chosen in ("installed", "embedded"):
        return [chosen]
    found = []
    for prefer in ("installed", "embedded"):
        with contextlib.suppress(PostgresError):
            find_binaries(cast(Preference, prefer), server_account())
            found.append(prefer)
    return found


@pytest.fixture(scope="session")
def gateway() -> Iterator[RunningGateway]:
    with running_gateway() as running:
        yield running


@pytest.fixture(scope="session", params=kinds_of_server())
def looked_at(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The database, on a server of that kind."""
    ca_file, tls = make_certificates(tmp_path_factory.mktemp(f"captures-{request.param}"))
    settings = {"wal_level": "logical", "max_replication_slots": "4"}
    with start_postgres(Path(tempfile.gettempdir()), prefer=request.param, tls=tls, settings=settings) as server:
        upstream = Upstream(
            server.host,
            server.port,
            server.superuser,
            server.superuser_password,
            server.has_tls,
            server.major,
            ca_file,
            server.log_file,
        )
        with fresh_database(upstream, make_logins(upstream)) as fresh:
            with upstream.connect(fresh.name) as connection:
                connection.execute((_HERE / "objects.sql").read_text())
                connection.execute("ANALYZE")
            yield fresh
            with upstream.connect(fresh.name) as connection:  # a database with a subscription cannot be dropped
                connection.execute("DROP SUBSCRIPTION subscribed")


@pytest.fixture(scope="session")
def door(gateway: RunningGateway, looked_at: Database) -> Door:
    """Read-only, as an analyst has it: nothing listed."""
    person, target = gateway.analyst(looked_at)
    return Door(gateway, looked_at, person, target, AccessMode.READ_ONLY)
