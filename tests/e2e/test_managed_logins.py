"""A database role for each person: their own name on the server, as long as their right lasts, and nothing left behind."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from gateway.access.managed import ManagedLogin, ManagedMode, ManagedState
from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services import grants, targets, users
from gateway.services.managed_logins import set_managed
from gateway.services.target_admins import keep_admin
from tests.support.gateway import WHY, Person, RunningGateway
from tests.support.upstream import Database, Login

RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
OPTIONS_MAJOR = 16


@dataclass(frozen=True)
class Stage:
    """A target where each person has a database role of their own, made by an admin with CREATEROLE and no more."""

    gateway: RunningGateway
    database: Database
    target: str
    admin: Login

    def person(self, mode: AccessMode = RO, **terms: Any) -> Person:
        person = self.gateway.person()
        self.gateway.grant(person, self.target, mode, **terms)
        self.gateway.settle(person, self.target)
        return person

    def client(self, person: Person, mode: AccessMode = RO) -> "psycopg.Connection[Any]":
        return self.gateway.client(person, self.target if mode is RO else f"{self.target}:rw")

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.database.upstream.connect(self.database.name) as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def roles(self, person: Person) -> set[str]:
        found = self.ask("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", f"pgb\\_{person.name}\\_%")
        return {name for (name,) in found}

    def logins(self, person: Person) -> list[ManagedLogin]:
        return [login for login in self.gateway.admin.read().managed_logins if login.user_name == person.name]

    def manage(self, mode: ManagedMode) -> None:
        admin = self.gateway.admin
        admin.change(set_managed(admin.store, admin.vault, name=self.target, mode=mode, **WHY))


@pytest.fixture
def stage(gateway: RunningGateway, database: Database) -> Iterator[Stage]:
    target, name = gateway.target(database), f"adm_{database.name}"
    admin = Login(name, Secret("the admin's own password"))
    identifier = sql.Identifier(name)
    with database.upstream.connect() as root:
        root.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(identifier, admin.password.reveal()))
        root.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database.name), identifier))
        if database.upstream.major >= OPTIONS_MAJOR:
            root.execute(sql.SQL("GRANT app_ro, app_rw TO {} WITH ADMIN OPTION").format(identifier))
    operator = gateway.admin
    operator.change(keep_admin(operator.store, operator.vault, name=target, login=name, password=admin.password, **WHY))
    if operator.read().targets[target].open_ahead:  # a run of all tests with sessions opened ahead
        operator.change(targets.set_open_ahead(operator.store, name=target, open_ahead=0, **WHY))
    stage = Stage(gateway, database, target, admin)
    stage.manage(ManagedMode.PER_USER)
    yield stage
    gateway.close_clients()
    if operator.read().targets[target].managed is not ManagedMode.OFF:
        stage.manage(ManagedMode.OFF)
    until(
        lambda: (
            not [each for each in operator.read().managed_logins if each.key.target_id == operator.read().targets[target].id]
        )
    )
    with database.upstream.connect() as root:
        root.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(identifier))


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.05)


def who(session: "psycopg.Connection[Any]") -> str:
    row = session.execute("SELECT current_user, session_user").fetchone()
    assert row is not None
    assert row[0] == row[1]
    return str(row[0])


def ask_on(session: "psycopg.Connection[Any]") -> None:
    for _ in range(200):
        session.execute("SELECT 1")
        time.sleep(0.02)


def test_each_reads_their_own_rows_under_their_own_name(stage: Stage) -> None:
    """A row-level policy on current_user, and usename in pg_stat_activity: by the database role alone they would be one."""
    ann, ben = stage.person(), stage.person()
    names = [who(stage.client(person)) for person in (ann, ben)]
    assert names[0].startswith(f"pgb_{ann.name}_")
    assert names[1].startswith(f"pgb_{ben.name}_")
    stage.ask("CREATE TABLE notes (owner name, text text); GRANT SELECT ON notes TO app_ro")
    stage.ask("ALTER TABLE notes ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON notes USING (owner = current_user)")
    stage.ask("INSERT INTO notes VALUES (%s, 'for ann'), (%s, 'for ben'), ('app_ro', 'for nobody')", *names)
    until(lambda: stage.client(ann).execute("SELECT text FROM notes").fetchall() == [("for ann",)])
    assert stage.client(ben).execute("SELECT text FROM notes").fetchall() == [("for ben",)]
    session = stage.client(ann)
    activity = "SELECT usename FROM pg_stat_activity WHERE application_name LIKE %s"
    assert set(stage.ask(activity, f"{ann.name}/%")) == {(names[0],)}
    with pytest.raises(psycopg.errors.Error):
        session.execute("SET ROLE app_ro")
    session.rollback()
    assert stage.gateway.wait_for_event(event="session_start", user=ann.name)["database_role"] == names[0]


def test_later_sessions_use_what_is_there(stage: Stage) -> None:
    person = stage.person()
    password = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
    first = who(stage.client(person))
    before, revision = stage.ask(password, first), stage.gateway.admin.read().revision
    assert {who(stage.client(person)) for _ in range(5)} == {first}
    assert stage.ask(password, first) == before
    assert stage.gateway.admin.read().revision == revision


def test_when_the_right_ends_nobody_gets_in_and_the_role_goes(stage: Stage) -> None:
    person = stage.person()
    session = stage.client(person)
    name = who(session)
    began = time.monotonic()
    stage.gateway.revoke(person, stage.target)
    with pytest.raises(psycopg.errors.AdminShutdown):
        ask_on(session)
    assert time.monotonic() - began < 1.0
    until(lambda: not stage.roles(person))
    until(lambda: name not in {login.login for login in stage.gateway.admin.read().managed_logins})
    actions = [event.event.action for event in stage.gateway.admin.change(stage.gateway.admin.store.read_events())]
    assert [each for each in actions if each.startswith("managed_login.")][-2:] == [
        "managed_login.ending",
        "managed_login.dropped",
    ]


def test_its_end_follows_the_right(stage: Stage) -> None:
    person = stage.person(valid_until=datetime.now(UTC) + timedelta(hours=1))
    name = who(stage.client(person))
    ends = "SELECT rolvaliduntil FROM pg_roles WHERE rolname = %s"
    for hours in (5, 2):
        until_then = datetime.now(UTC) + timedelta(hours=hours)
        stage.gateway.grant(person, stage.target, RO, valid_until=until_then)
        until(lambda then=until_then: stage.ask(ends, name) == [(then,)])
    short = datetime.now(UTC) + timedelta(seconds=1.5)
    stage.gateway.grant(person, stage.target, RO, valid_until=short)
    until(lambda: not stage.roles(person))
    assert datetime.now(UTC) >= short


def test_what_they_made_is_the_database_roles(stage: Stage) -> None:
    stage.ask("CREATE SCHEMA work; GRANT ALL ON SCHEMA work TO app_rw")
    person = stage.person(RW)
    session = stage.client(person, RW)
    name = who(session)
    session.execute("CREATE TABLE work.made (id int); INSERT INTO work.made VALUES (1)")
    session.commit()
    assert stage.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'made'") == [(name,)]
    stage.gateway.revoke(person, stage.target)
    until(lambda: not stage.roles(person))
    assert stage.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'made'") == [("app_rw",)]
    assert stage.ask("SELECT id FROM work.made") == [(1,)]


def test_whoever_drops_or_alters_it_by_hand_only_has_it_made_again(stage: Stage) -> None:
    person = stage.person()
    name = who(stage.client(person))
    stage.gateway.close_clients()
    until(lambda: not stage.ask("SELECT 1 FROM pg_stat_activity WHERE usename = %s", name))
    stage.ask(f"DROP ROLE {name}")
    assert who(stage.client(person)) == name


def test_their_own_password_is_the_gateways(stage: Stage) -> None:
    """What psql's password command sends names the role that the server calls them by: their own, here."""
    person = stage.person()
    session = stage.client(person)
    name = who(session)
    before = stage.ask("SELECT rolpassword FROM pg_authid WHERE rolname = %s", name)
    made = stage.gateway.admin.change(users.create_user(stage.gateway.admin.store, name=f"{person.name}x", **WHY))
    session.execute(sql.SQL("ALTER USER {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(made.user.verifier)))
    session.close()
    assert stage.ask("SELECT rolpassword FROM pg_authid WHERE rolname = %s", name) == before
    changed = stage.gateway.admin.read().users[person.name]
    assert changed.verifier == made.user.verifier


def test_a_role_for_each_grant(stage: Stage) -> None:
    stage.manage(ManagedMode.PER_GRANT)
    person = stage.person()
    session = stage.client(person)
    (first,) = stage.logins(person)
    assert who(session) == first.login
    assert first.key.grant_id is not None
    stage.gateway.grant(person, stage.target, RO, valid_until=datetime.now(UTC) + timedelta(hours=1))  # in its place
    with pytest.raises(psycopg.errors.AdminShutdown):
        ask_on(session)
    second = who(stage.client(person))
    assert second != first.login
    until(lambda: stage.roles(person) == {second})


def test_switched_off_nothing_is_left(stage: Stage) -> None:
    people = [stage.person(), stage.person()]
    names = {who(stage.client(person)) for person in people}
    assert all(login.state is ManagedState.ACTIVE for person in people for login in stage.logins(person))
    stage.manage(ManagedMode.OFF)
    until(lambda: not any(stage.roles(person) for person in people))
    until(lambda: who(stage.client(people[0])) == "app_ro")
    until(lambda: not names & {login.login for login in stage.gateway.admin.read().managed_logins})


def test_who_is_gone_takes_their_role_along(stage: Stage) -> None:
    person = stage.person()
    who(stage.client(person))
    stage.gateway.admin.change(users.delete_user(stage.gateway.admin.store, name=person.name, **WHY))
    until(lambda: not stage.roles(person))


def test_without_an_admin_login_nobody_gets_in(stage: Stage) -> None:
    person = stage.gateway.person()
    stage.ask(f"ALTER ROLE {stage.admin.name} NOCREATEROLE")
    stage.gateway.grant(person, stage.target)
    until(lambda: "own database role" in _refusal(stage, person))
    (login,) = stage.logins(person)
    assert login.state is ManagedState.CREATING
    assert "CREATEROLE" in login.finding
    stage.ask(f"ALTER ROLE {stage.admin.name} CREATEROLE")
    assert who(stage.client(person)) == login.login
    stage.gateway.admin.change(
        grants.revoke_grants(stage.gateway.admin.store, holder=grants.UserHolder(person.name), target_name=stage.target, **WHY)
    )


def _refusal(stage: Stage, person: Person) -> str:
    with pytest.raises(psycopg.OperationalError) as refused:
        stage.client(person)
    return str(refused.value)
