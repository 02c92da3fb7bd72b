"""No file may be opened any more: who is in stays in, who is out is told so, and rights end as ever."""

import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gateway.open_files import files_allowed_of
from gateway.services import users
from tests.support.faults import Measured, until
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.upstream import Database
from tests.support.wire import Closed, Place, RawClient, Refused

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prlimit(2) and /proc")

_MORE_FILES = 41  # twenty sessions, and half of one
_NOT_LET_IN = (Refused, Closed, OSError)


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    """Started under the soft limit that shells and engines begin with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    try:
        with running_gateway(listen={"host": "127.0.0.1", "port": 0, "drain_seconds": 1.0}, tls={"mode": "allow"}) as running:
            yield running
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def sessions(gateway: RunningGateway, person: Person, target: str, most: int) -> list[RawClient]:
    """So many, or as many as are let in."""
    place, let_in = Place(gateway.host, gateway.port), list[RawClient]()
    with contextlib.suppress(*_NOT_LET_IN):
        while len(let_in) < most:
            let_in.append(place.log_in(person.name, person.password, target))
    return let_in


def test_without_a_file_left_sessions_go_on_and_rights_end(
    gateway: RunningGateway, database: Database, measured: Measured
) -> None:
    person, target = gateway.analyst(database)
    (worker,) = gateway.worker_pids()
    limit = psutil.Process(worker).num_fds() + _MORE_FILES
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (limit, limit))
    inside = sessions(gateway, person, target, most=_MORE_FILES)
    assert 15 <= len(inside) < _MORE_FILES
    assert [client.value("SELECT 1") for client in inside] == ["1"] * len(inside)
    began = time.monotonic()
    gateway.admin.change(users.disable_user(gateway.admin.store, name=person.name, **WHY))
    for client in inside:
        assert client.until_eof(5)[-1].sqlstate == "57P01"
    measured("a user disabled, without a file left", time.monotonic() - began)
    gateway.admin.change(users.enable_user(gateway.admin.store, name=person.name, **WHY))
    until(lambda: len(sessions(gateway, person, target, most=1)) == 1, 10)


def doctor_with_few_files(config: Path, soft: int, hard: int) -> subprocess.CompletedProcess[str]:
    """`pgbastion doctor` under such limits, which is about the gateway that it would start."""
    program = [str(Path(sys.executable).with_name("pgbastion")), "doctor", "--config", str(config)]
    return subprocess.run(
        ["prlimit", f"--nofile={soft}:{hard}", *program], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_gateway_takes_as_many_files_as_it_may_have(gateway: RunningGateway) -> None:
    """Shells and engines begin with 1,024, which is five hundred sessions."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    expected = min(hard, 1 << 20)
    for pid in gateway.worker_pids():
        assert files_allowed_of(pid) == expected


def test_doctor_speaks_of_the_gateway_that_runs_not_of_itself(gateway: RunningGateway) -> None:
    few = doctor_with_few_files(gateway.config, 512, 1024)
    (line,) = [line for line in few.stdout.splitlines() if "open files" in line]
    (worker,) = gateway.worker_pids()
    assert str(files_allowed_of(worker)) in line
    assert "1024" not in line
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (900, 1024))
    said = doctor_with_few_files(gateway.config, 512, 1024).stdout
    assert "900 for each worker; limits.max_sessions needs 21100" in said
