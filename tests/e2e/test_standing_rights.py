"""Tunnel: a standing right to read each database of an environment, as long as the admin role is held. With real drivers."""

import time
from typing import Any

import psycopg
import pytest

from gateway.access.model import Permission
from gateway.services import admin_roles, environments
from tests.support.gateway import WHY, Person, RunningGateway
from tests.support.upstream import Database


class Place:
    """An environment with a target, a role, and somebody who holds it."""

    def __init__(self, gateway: RunningGateway, database: Database, *permissions: Permission) -> None:
        self.gateway, self.person, self.target = gateway, gateway.person(), gateway.target(database)
        self.name = f"env_{self.target}"
        store = gateway.admin.store
        gateway.admin.change(environments.create_environment(store, name=self.name, **WHY))
        gateway.admin.change(environments.move_to_environment(store, name=self.target, environment=self.name, **WHY))
        gateway.admin.change(admin_roles.create_admin_role(store, name=self.name, members=(self.person.name,), **WHY))
        held = frozenset(permissions)
        gateway.admin.change(
            admin_roles.grant_permissions(store, name=self.name, environment=self.name, permissions=held, **WHY)
        )

    def take(self, *permissions: Permission) -> None:
        store, taken = self.gateway.admin.store, frozenset(permissions)
        self.gateway.admin.change(
            admin_roles.revoke_permissions(store, name=self.name, environment=self.name, permissions=taken, **WHY)
        )

    def client(self, person: Person | None = None, suffix: str = "") -> "psycopg.Connection[Any]":
        return self.gateway.client(person or self.person, f"{self.target}{suffix}")


def ends(session: "psycopg.Connection[Any]") -> float:
    began = time.monotonic()
    with pytest.raises(psycopg.errors.AdminShutdown):
        _use(session, began + 5)
    return time.monotonic() - began


def _use(session: "psycopg.Connection[Any]", deadline: float) -> None:
    while time.monotonic() < deadline:
        session.execute("SELECT 1")
        time.sleep(0.02)


@pytest.mark.parametrize("permission", [Permission.TUNNEL, Permission.ADMIN])
def test_it_reads_and_nothing_else(gateway: RunningGateway, shared_database: Database, permission: Permission) -> None:
    place = Place(gateway, shared_database, permission)
    gateway.settle(place.person, place.target)
    session = place.client()
    assert session.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        session.execute("CREATE TABLE t ()")
    with pytest.raises(psycopg.OperationalError, match=r"28000|not|grant"):
        place.client(suffix=":rw")
    started = gateway.wait_for_event(event="session_start", user=place.person.name, target=place.target)
    assert started["grant"].startswith("role:")
    place.take(permission)
    assert ends(session) < 1.5
    with pytest.raises(psycopg.OperationalError):
        place.client()


@pytest.mark.parametrize("permission", [each for each in Permission if each not in (Permission.TUNNEL, Permission.ADMIN)])
def test_no_other_permission_connects(gateway: RunningGateway, shared_database: Database, permission: Permission) -> None:
    place = Place(gateway, shared_database, permission)
    other, target = gateway.analyst(shared_database)  # when this one is let in, the gateway knows of the role, too
    gateway.client(other, target).close()
    with pytest.raises(psycopg.OperationalError):
        place.client()


def test_it_ends_with_the_role_and_when_the_database_is_elsewhere(gateway: RunningGateway, shared_database: Database) -> None:
    store = gateway.admin.store
    first, second = (Place(gateway, shared_database, Permission.TUNNEL) for _ in range(2))
    for place in (first, second):
        gateway.settle(place.person, place.target)
    sessions = [place.client() for place in (first, second)]
    gateway.admin.change(admin_roles.change_members(store, name=first.name, remove=(first.person.name,), **WHY))
    assert ends(sessions[0]) < 1.5
    gateway.admin.change(environments.move_to_environment(store, name=second.target, environment=first.name, **WHY))
    assert ends(sessions[1]) < 1.5
