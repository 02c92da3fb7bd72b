"""Two gateways that share one store in PostgreSQL: what a person may read in a day is counted over both."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.store.conftest import database_on
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.upstream import Database, Upstream

#: How far a gateway may be behind the other: told, written, read, and asked again, each within a second.
SECONDS = 4.0
HALF = "SELECT repeat('x', 1000) FROM generate_series(1, 600)"


@pytest.fixture(scope="module")
def gateways(postgres: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningGateway, RunningGateway]]:
    folder = tmp_path_factory.mktemp("shared")
    with database_on(postgres, folder) as (url, password_file), ExitStack() as stack:
        store = {"url": url, "password_file": str(password_file)}
        one = stack.enter_context(running_gateway(store=store))

        def same_key(state: Path) -> None:
            state.mkdir(mode=0o700)
            shutil.copy(one.state_dir / "master.key", state)

        yield one, stack.enter_context(running_gateway(store=store, networks=(), before=same_key))


def refusal(session: "psycopg.Connection[Any]") -> str:
    try:
        session.execute("SELECT 1")
    except errors.ProgramLimitExceeded as error:
        return str(error)
    return ""


def test_the_bytes_of_a_day_are_counted_over_both(
    gateways: tuple[RunningGateway, RunningGateway], shared_database: Database
) -> None:
    one, two = gateways
    person, target = one.analyst(shared_database, max_bytes_per_day=1_000_000)
    two.settle(person, target)
    sessions = [gateway.client(person, target) for gateway in (one, two)]
    for session in sessions:  # neither has sent what is allowed, both together have
        session.execute(HALF)
        time.sleep(SECONDS)
    deadline = time.monotonic() + SECONDS
    for session in sessions:  # the first one was idle, and learns of it as it reads again
        while not (said := refusal(session)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "a day, which are used up" in said
        assert "00:00 UTC" in said
