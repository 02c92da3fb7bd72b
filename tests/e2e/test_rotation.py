"""Upstream passwords are changed while people work: no session ends, no login fails, also where one was left half done."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.bus.gateway import BusGateway
from gateway.custody.rotation import Step
from gateway.secret import Secret
from gateway.services.rotation import Choice, Means, rotate_credentials, workers_of
from tests.bench.rotation import prepared, trial
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.rotating import Role, fresh_role
from tests.support.upstream import Database

RO = AccessMode.READ_ONLY


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    listen = {"host": "127.0.0.1", "port": 0, "workers": 2, "drain_seconds": 1.0}
    with running_gateway(listen=listen, throttle={"free_failures": 1_000_000, "user_delay_seconds": 0.0}) as running:
        yield running


@pytest.fixture
def role(database: Database) -> Iterator[Role]:
    with fresh_role(database) as made:
        yield made


def target_of(gateway: RunningGateway, database: Database, role: Role, open_ahead: int = 0) -> tuple[Person, str]:
    person, target = prepared(gateway, database, open_ahead)
    gateway.login(target, RO, role.name, role.password)
    gateway.settle(person, target)
    return person, target


def log_in_until(gateway: RunningGateway, person: Person, target: str, moment: float) -> None:
    while time.monotonic() < moment:
        gateway.client(person, target).close()


def pend(gateway: RunningGateway, target: str, current: Secret, pending: Secret) -> None:
    """As a rotation leaves it that was broken off."""

    async def change() -> None:
        async with gateway.admin.store.begin() as work:
            found = work.snapshot.targets[target]
            role = found.roles[RO]
            seal = gateway.admin.vault.seal
            role = replace(role, sealed_secret=seal(role.id, current), pending_secret=seal(role.id, pending))
            work.put(replace(found, roles={**found.roles, RO: role}))
            await work.commit(AdminEvent("os:test", "x.y", "id", target, ""))

    gateway.admin.change(change())


@pytest.mark.parametrize("open_ahead", [0, 2])
def test_fifty_sessions_and_steady_logins_see_nothing_of_it(
    gateway: RunningGateway, database: Database, role: Role, open_ahead: int
) -> None:
    person, target = target_of(gateway, database, role, open_ahead)
    figures = trial(gateway, person, target, rotations=4, sessions=50, logins=2)
    print(figures)
    assert figures.clients.failures == []
    assert figures.not_done == 0
    assert figures.old_refused == 4
    assert len(figures.clients.logins) > 10
    gateway.close_clients()


def test_left_half_done_logins_work_whichever_password_it_is(gateway: RunningGateway, database: Database, role: Role) -> None:
    person, target = target_of(gateway, database, role)
    other = Secret("another password of theirs")
    for current, pending in ((role.password, other), (other, role.password)):
        pend(gateway, target, current, pending)
        for _ in range(4):  # in either worker, and more than once
            gateway.client(person, target).close()
        refused = gateway.events(event="upstream_refused", target=target)
        assert refused == []
    means = Means(gateway.admin.vault, caught_up=workers_of(BusGateway(gateway.state_dir / "bus.sock")))
    (done,) = asyncio.run(rotate_credentials(gateway.admin.store, means, name=target, choice=Choice.READ_ONLY, **WHY))
    assert (done.end, done.finished_earlier) == (Step.DONE, True)
    gateway.client(person, target).close()


def test_a_wrong_password_is_still_a_refusal(gateway: RunningGateway, database: Database, role: Role) -> None:
    person, target = target_of(gateway, database, role)
    pend(gateway, target, Secret("wrong"), Secret("wrong, too"))
    until_heard = time.monotonic() + 5
    with pytest.raises(psycopg.OperationalError, match="did not let the gateway in"):
        log_in_until(gateway, person, target, until_heard)
    assert gateway.wait_for_event(event="upstream_refused", target=target)["sqlstate"] == "28P01"
