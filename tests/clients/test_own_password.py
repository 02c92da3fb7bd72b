"""People change their own password where they log in: psql's \\password, `pgbastion passwd`. The database sees nothing of it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from gateway.access.user_rules import UserRules, read_password_rules
from gateway.access_mode import AccessMode
from gateway.services import users
from tests.support.doors import Door, program
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.psql_terminal import at_terminal
from tests.support.upstream import Database

NEW = "a new password, typed twice"
PASSWD = [str(Path(sys.executable).with_name("pgbastion")), "passwd"]
PLAIN = "sent-as-plain-text-7f3a"


@pytest.fixture(params=list(AccessMode))
def door(request: pytest.FixtureRequest, gateway: RunningGateway, clients_database: Database) -> Door:
    person, target = gateway.analyst(clients_database, request.param)
    return Door(gateway, clients_database, person, target, request.param)


def verifiers(door: Door) -> list[tuple[object, ...]]:
    """What the database itself knows its roles by."""
    with door.database.upstream.connect() as connection:
        return connection.execute("SELECT rolname, rolpassword FROM pg_authid ORDER BY rolname").fetchall()


def ends(session: "psycopg.Connection[object]", why: str = "the password of user") -> float:
    """How long it took until the session was over."""
    began = time.monotonic()

    def go_on() -> None:
        while time.monotonic() < began + 2:
            session.execute("SELECT 1")
            time.sleep(0.01)

    with pytest.raises(psycopg.OperationalError, match=why):
        go_on()
    return time.monotonic() - began


def log_in(door: Door, password: str) -> "psycopg.Connection[object]":
    return psycopg.connect(**door.libpq(password=password), autocommit=True)


def test_psql_changes_the_gateways_verifier(door: Door) -> None:
    before = verifiers(door)
    other = log_in(door, door.person.password)
    with at_terminal(program("psql", "postgresql-client"), door.environment()) as terminal:
        terminal.type("\\password\n")
        for question in ("Enter new password[^:]*: ", "Enter it again: "):
            terminal.read_until(question)
            terminal.type(f"{NEW}\n")
        terminal.read_until("ready> ")
        assert ends(other) < 1.0
        terminal.type("SELECT 'still ' || 'here';\n")
        terminal.read_until("still here")
        terminal.type("\\password " + door.person.name + "\n")  # by name, as often as wanted
        for question in ("Enter new password[^:]*: ", "Enter it again: "):
            terminal.read_until(question)
            terminal.type(f"{NEW} once more\n")
        terminal.read_until("ready> ")
        terminal.type("SELECT 'and ' || 'again';\n")
        terminal.read_until("and again")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(door, door.person.password)
    log_in(door, f"{NEW} once more").close()
    assert verifiers(door) == before
    events = [each for each in door.gateway.admin.change(door.gateway.admin.store.read_events()) if
              each.event.object_name == door.person.name]  # fmt: skip
    assert [(each.event.actor, each.event.action) for each in events[-2:]] == [
        (f"user:{door.person.name}", "user.password_changed")
    ] * 2
    for path in (door.gateway.state_dir / "audit").iterdir():
        assert b"SCRAM-SHA-256$" not in path.read_bytes()


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        (f"ALTER USER CURRENT_USER PASSWORD '{PLAIN}'", "own-password-in-clear"),
        (f"ALTER USER postgres PASSWORD '{PLAIN}'", ""),
    ],
)
def test_what_is_refused_is_not_written_down_and_changes_nothing(door: Door, sql: str, rule: str) -> None:
    before = verifiers(door)
    with log_in(door, door.person.password) as session:
        with pytest.raises(psycopg.Error) as caught:
            session.execute(sql)
        assert rule in str(caught.value)
        session.execute("SELECT 1")
    assert verifiers(door) == before
    for path in (door.gateway.state_dir / "audit").iterdir():
        assert PLAIN.encode() not in path.read_bytes()


def test_who_is_protected_reads_why_and_goes_on(door: Door) -> None:
    admin, name = door.gateway.admin, door.person.name
    with log_in(door, door.person.password) as session:
        admin.change(users.update_user(admin.store, name=name, protected=True, **WHY))
        verifier = session.pgconn.encrypt_password(NEW.encode(), b"x", b"scram-sha-256").decode()
        with pytest.raises(psycopg.Error, match=f'User "{name}" is protected'):
            session.execute(f"ALTER USER CURRENT_USER PASSWORD '{verifier}'")
        session.execute("SELECT 1")


def test_the_command(door: Door, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.write_text("a new password from a file\n")
    command = PASSWD
    other = log_in(door, door.person.password)
    environment = door.environment(PATH=os.environ["PATH"])
    done = subprocess.run([*command, "--password-file", str(new)], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("Your password was changed.\n", 0), done
    assert ends(other) < 1.0
    log_in(door, "a new password from a file").close()
    again = subprocess.run([*command, "--generate"], env=environment, capture_output=True, text=True, timeout=60)
    assert again.returncode == 1
    assert "password authentication failed" in again.stderr
    uri = door.url().replace(door.person.password, "a%20new%20password%20from%20a%20file")
    made = subprocess.run([*command, uri, "--generate"], env=environment, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made
    log_in(door, made.stdout.split('"')[1]).close()


def test_the_command_keeps_the_gateways_rules(clients_database: Database, tmp_path: Path) -> None:
    rules = {"password_min": 70, "password_max": 90, "password_forbidden": "#~", "generated_length": 80}
    with running_gateway(users=rules) as gateway:
        person, target = gateway.analyst(clients_database)
        with gateway.client(person, target, application_name="pgbastion passwd") as session:
            told = session.pgconn.parameter_status(b"pgbastion.password_rules")
        with gateway.client(person, target) as session:
            assert session.pgconn.parameter_status(b"pgbastion.password_rules") is None
        assert told is not None
        assert read_password_rules(told.decode()) == UserRules(**rules)
        door = Door(gateway, clients_database, person, target, AccessMode.READ_ONLY)
        new = tmp_path / "new"
        for text, wrong in (
            ("x" * 64, "Password must contain between 70 and 90 characters"),
            ("x" * 75 + "#", "Password must not contain # or ~"),
        ):
            new.write_text(text)
            done = subprocess.run(
                [*PASSWD, "--password-file", str(new)],
                env=door.environment(PATH=os.environ["PATH"]),
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (done.returncode, wrong in done.stderr, text in done.stderr) == (1, True, False), done
        made = subprocess.run(
            [*PASSWD, "--generate"],
            env=door.environment(PATH=os.environ["PATH"]),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert made.returncode == 0, made
        password = made.stdout.split('"')[1]
        assert (len(password), UserRules(**rules).wrong_password(password)) == (80, None)
        log_in(door, password).close()


def test_the_last_login_is_kept_without_a_new_revision(door: Door) -> None:
    admin = door.gateway.admin
    snapshot = admin.read()
    user = snapshot.users[door.person.name]
    deadline = time.monotonic() + 10
    while user.id not in admin.change(admin.store.last_logins()):  # settling logged in
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert admin.read().revision == snapshot.revision


def test_an_administrators_new_password_ends_it(door: Door) -> None:
    session = log_in(door, door.person.password)
    admin = door.gateway.admin
    admin.change(users.set_password(admin.store, name=door.person.name, **WHY))
    assert ends(session) < 1.0


def test_a_user_who_may_only_read_from_now_on_stops_writing(gateway: RunningGateway, clients_database: Database) -> None:
    person, target = gateway.analyst(clients_database, AccessMode.READ_WRITE)
    reads, writes = (gateway.client(Person(person.name, person.password), name) for name in (target, f"{target}:rw"))
    gateway.admin.change(users.update_user(gateway.admin.store, name=person.name, read_only=True, **WHY))
    assert ends(writes, "may only read") < 1.0
    reads.execute("SELECT 1")
