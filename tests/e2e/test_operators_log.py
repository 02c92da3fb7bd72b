"""The operators' log names sessions and says what went wrong; what people write, and every secret, stays out of it."""

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services import sessions
from tests.support import wire
from tests.support.gateway import Person, RunningGateway, running_gateway
from tests.support.upstream import Database
from tests.support.wire import SYNC, Place, parse, query


@pytest.fixture(scope="module")
def noisy() -> Iterator[RunningGateway]:
    with running_gateway(limits={"max_message_bytes": 100_000}) as gateway:
        yield gateway


def log_of(gateway: RunningGateway) -> list[dict[str, Any]]:
    """Without the greeting."""
    return [json.loads(line) for line in gateway.log if line.startswith("{")]


def until_logged(gateway: RunningGateway, **wanted: str) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for line in log_of(gateway):
            if all(line.get(key) == value for key, value in wanted.items()):
                return line
        time.sleep(0.05)
    raise AssertionError(f"nothing like {wanted} in {log_of(gateway)}")


def provoke(gateway: RunningGateway, person: Person, target: str, canary: str) -> None:
    """Everything that goes wrong in a session's life, with the canary in every text."""
    for statement in (
        f"SELECT '{canary}'",
        f"SELECT '{canary}' FROM {canary}",
        f"INSERT INTO {canary} VALUES ('{canary}')",
        f"SELEC '{canary}'",
        f"SELECT '{canary}', " + "+".join(["1"] * 20_000),
        f"SELECT '{canary}', " + "(" * 6000 + "1" + ")" * 6000,
        f"SET search_path = '{canary}'",
    ):
        connection = gateway.client(person, target)
        with contextlib.suppress(psycopg.Error):
            connection.execute(statement.encode())
        connection.close()
    place = Place(gateway.host, gateway.port, gateway.ca_file)
    for data in (
        query(f"SELECT '{canary}'") + b"\xff" + canary.encode(),
        parse(f"SELECT '{canary}' || $1", "s") + b"B\0\0\0\x09" + canary.encode()[:5] + SYNC,
        query(f"SELECT '{canary}'" + "x" * 200_000),
    ):
        client = place.tls()
        client.send(wire.startup(person.name, target, application_name=canary, options=f"-c work_mem={canary}"))
        with contextlib.suppress(wire.Refused, wire.Closed, OSError):
            wire.answer_scram(client, person.password)
            wire.welcome(client)
        client.close()
        client = place.tls()
        with contextlib.suppress(wire.Refused, wire.Closed, OSError):
            client.send(wire.startup(person.name, target, application_name=canary))
            wire.answer_scram(client, person.password)
            wire.welcome(client)
            client.send(data)
            client.quiet(0.3)
        client.close()
    for user, password, name in (
        (person.name, canary, target),
        (canary, canary, target),
        (person.name, person.password, canary),
    ):
        with pytest.raises(psycopg.OperationalError):
            gateway.client(Person(user, password), name)


def test_no_text_and_no_secret_is_in_the_log_of_a_noisy_run(noisy: RunningGateway, database: Database) -> None:
    canary = f"canary{secrets.token_hex(8)}"
    person, target = noisy.analyst(database)
    provoke(noisy, person, target, canary)
    shut = noisy.target(database, modes=())
    noisy.login(shut, AccessMode.READ_ONLY, "nobody_there", Secret(canary))
    noisy.grant(person, shut)
    connection = noisy.client(person, target)
    time.sleep(0.3)  # until the grant is known
    with pytest.raises(psycopg.OperationalError):
        noisy.client(person, shut)
    session = noisy.events(event="session_start")[-1]["session"]
    noisy.admin.change(sessions.terminate_session(noisy.admin.store, session_id=session, actor="os:test", reason="a reason"))
    ended = until_logged(noisy, event="session ended", session=session)
    assert ended["kind"] == "terminated"
    connection.close()
    refused = until_logged(noisy, event="upstream refused a session")
    assert refused["session"]
    log = json.dumps(log_of(noisy))
    assert canary not in log
    for secret in (person.password, database.app_ro.password.reveal(), database.app_rw.password.reveal()):
        assert secret not in log
    assert "SELECT" not in log
    assert "INSERT" not in log


def test_copies_on_stdout_are_the_records_of_the_files(database: Database) -> None:
    with running_gateway(audit={"also": ["stdout"]}) as gateway:
        person, target = gateway.analyst(database)
        compare_copies(gateway, person, target)


def compare_copies(gateway: RunningGateway, person: Person, target: str) -> None:
    connection = gateway.client(person, target)
    wanted = f"SELECT '{secrets.token_hex(8)}'"
    connection.execute(wanted.encode())
    record = gateway.wait_for_event(event="statement", sql=wanted)
    assert copies_with(gateway, wanted) == [record]
    created = gateway.wait_for_event(5, event="admin", action="user.created", object=person.name)
    assert copies_with(gateway, created["id"]) == [created]


def copies_with(gateway: RunningGateway, text: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 10
    while not any(text in line for line in gateway.log):
        assert time.monotonic() < deadline, "no copy"
        time.sleep(0.02)
    return [json.loads(line) for line in gateway.log if text in line]
