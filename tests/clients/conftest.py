"""One gateway and one database for all clients: nobody writes but to `scratch`, each client under its own name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from tests.support.doors import Door
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.upstream import Database, Login, Upstream, fresh_database


@pytest.fixture(scope="session")
def gateway() -> Iterator[RunningGateway]:
    with running_gateway() as running:
        yield running


@pytest.fixture(scope="session")
def clients_database(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Database]:
    with fresh_database(postgres, upstream_logins) as fresh:
        with postgres.connect(fresh.name) as connection:
            connection.execute(Path(__file__).with_name("tables.sql").read_text())
        yield fresh


@pytest.fixture(scope="session")
def reader(gateway: RunningGateway, clients_database: Database) -> Door:
    """Read-only."""
    person, target = gateway.analyst(clients_database)
    return Door(gateway, clients_database, person, target, AccessMode.READ_ONLY)


@pytest.fixture(scope="session")
def writer(gateway: RunningGateway, clients_database: Database) -> Door:
    person, target = gateway.analyst(clients_database, AccessMode.READ_WRITE)
    return Door(gateway, clients_database, person, target, AccessMode.READ_WRITE)
