"""targets health: what sessions met, asked of the running gateway."""

import json
import time

import psycopg
import pytest

from gateway.access_mode import AccessMode
from gateway.secret import Secret
from tests.support.commands import pgbastion
from tests.support.gateway import Person, RunningGateway
from tests.support.upstream import Database


def test_a_login_that_fails_shows_and_its_recovery_too(gateway: RunningGateway, database: Database) -> None:
    person, target = gateway.analyst(database)

    def state() -> tuple[str, str]:
        found = json.loads(pgbastion(gateway.config, "targets", "health", "--json"))
        mine = {each["mode"]: each for each in found if each["target"] == target}
        assert mine["read_write"]["state"] == "unknown"
        return mine["read_only"]["state"], mine["read_only"]["kind"]

    assert state() == ("ok", "")
    gateway.login(target, AccessMode.READ_ONLY, database.app_ro.name, Secret("not the password"))
    with pytest.raises(psycopg.OperationalError):
        _log_in_for_seconds(5, gateway, person, target)
    failing, kind = state()
    assert failing == "failing"
    assert kind
    gateway.login(target, AccessMode.READ_ONLY, database.app_ro.name, database.app_ro.password)
    gateway.settle(person, target)
    assert state()[0] == "ok"


def _log_in_for_seconds(seconds: float, gateway: RunningGateway, person: Person, target: str) -> None:
    """Until the worker has heard of the change."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        gateway.client(person, target).close()
