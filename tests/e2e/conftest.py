"""One gateway for all tests of a worker process. Throttles are wide open: what they do has tests of its own."""

from collections.abc import Iterator

import pytest

from gateway.access_mode import AccessMode
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.oracle import Twins
from tests.support.upstream import Database, Login, Upstream, fresh_database

WIDE_OPEN = {"free_failures": 1_000_000, "user_delay_seconds": 0.0, "cancels_per_second": 1_000_000}


@pytest.fixture(scope="session")
def gateway() -> Iterator[RunningGateway]:
    with running_gateway(throttle=WIDE_OPEN, limits={"max_pending_per_address": 500}) as running:
        yield running


@pytest.fixture(scope="session")
def shared_database(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Database]:
    """For tests that change nothing in it."""
    with fresh_database(postgres, upstream_logins) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def reader(gateway: RunningGateway, shared_database: Database) -> Twins:
    """An analyst, read-only."""
    return Twins(gateway, shared_database, *gateway.analyst(shared_database), AccessMode.READ_ONLY)


@pytest.fixture(scope="session")
def writer(gateway: RunningGateway, shared_database: Database) -> Twins:
    """Somebody who may write (to the tables of the shared database: each test cleans up after itself)."""
    person, target = gateway.analyst(shared_database, AccessMode.READ_WRITE)
    return Twins(gateway, shared_database, person, target, AccessMode.READ_WRITE)
