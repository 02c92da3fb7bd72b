"""What a connection leaves behind in its worker: nothing. Its TLS does not wait for the collector of cycles, which may be long."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.support import wire
from tests.support.gateway import running_gateway
from tests.support.upstream import Database
from tests.support.wire import Place, startup

WARM_UP: Final = 100
COUNTED: Final = 300
LARGEST_LEFT: Final = 6000  # bytes; OpenSSL alone keeps 17 kB of a connection, and a session some 3
SETTLED_SECONDS: Final = 1.5

Visit = Callable[[Place, str, str, str], None]


def session(place: Place, user: str, password: str, target: str) -> None:
    with place.log_in(user, password, target) as client:
        client.ask(wire.query("SELECT 1"))


def cut_off(place: Place, user: str, password: str, target: str) -> None:
    """A session whose client is gone without a word."""
    client = place.log_in(user, password, target)
    client.send(wire.query("SELECT 1"))
    client.close()


def half_a_login(place: Place, user: str, _password: str, target: str) -> None:
    with place.tls() as client:
        client.send(startup(user, target))
        client.read()


def handshake(place: Place, _user: str, _password: str, _target: str) -> None:
    place.tls().close()


@pytest.mark.parametrize("visit", [session, cut_off, half_a_login, handshake])
def test_a_connection_in_tls_leaves_nothing_behind(visit: Visit, database: Database) -> None:
    with running_gateway(limits={"max_pending_per_address": 500}) as running:
        person, target = running.person(), running.target(database)
        running.grant(person, target)
        place = Place(running.host, running.port, running.ca_file)
        running.settle(person, target)
        [worker] = running.worker_pids()

        def after(visits: int) -> int:
            for _ in range(visits):
                visit(place, person.name, person.password, target)
            time.sleep(SETTLED_SECONDS)
            return private_bytes(worker)

        before = after(WARM_UP)
        assert (after(COUNTED) - before) / COUNTED < LARGEST_LEFT


def private_bytes(pid: int) -> int:
    """What only this process has in memory."""
    found = re.search(r"^Pss_Anon:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
