"""Whoever rotates a password is killed between any two steps: people log in all the same, and the next run ends it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from gateway.custody.rotation import Step
from gateway.services.rotation import Choice, Means, rotate_credentials
from tests.support.gateway import WHY, RunningGateway, running_gateway
from tests.support.rotating import Role, fresh_role
from tests.support.upstream import Database

STEPS = [Step.TRY_CURRENT, Step.STAGE, Step.SET, Step.TRY_PENDING, Step.PROMOTE, Step.DONE]
PGBASTION = (sys.executable, "-c", "from gateway.cli.main import run; run()")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    with running_gateway(throttle={"free_failures": 1_000_000, "user_delay_seconds": 0.0}) as running:
        yield running


@pytest.fixture
def role(database: Database) -> Iterator[Role]:
    with fresh_role(database) as made:
        yield made


def run_command(gateway: RunningGateway, target: str) -> tuple[str, str]:
    """As whoever is at the machine would."""
    words = ["targets", "rotate-credential", target, "--role", "read_only", "--json", "--config", str(gateway.config)]
    shown = subprocess.run([*PGBASTION, *words], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    (login,) = json.loads(shown.stdout)["logins"]
    return login["state"], login["old_refused"]


@pytest.mark.parametrize("step", STEPS)
def test_killed_before_a_step(gateway: RunningGateway, database: Database, role: Role, step: Step) -> None:
    person, target = gateway.analyst(database)
    gateway.login(target, AccessMode.READ_ONLY, role.name, role.password)
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "tests.support.rotator", str(gateway.config), target, step.value]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    gateway.client(person, target).execute("SELECT 1")
    if step is Step.PROMOTE:
        assert run_command(gateway, target) == ("done", "28P01")
    else:
        admin = gateway.admin
        (done,) = asyncio.run(rotate_credentials(admin.store, Means(admin.vault), name=target, choice=Choice.READ_ONLY, **WHY))
        assert (done.end, done.old_refused) == (Step.DONE, "28P01")
    found = gateway.admin.read().targets[target].roles[AccessMode.READ_ONLY]
    assert found.pending_secret is None
    assert role.lets_in(gateway.admin.vault.open(found))
    assert not role.lets_in(role.password)
    gateway.client(person, target).execute("SELECT 1")
    gateway.close_clients()
