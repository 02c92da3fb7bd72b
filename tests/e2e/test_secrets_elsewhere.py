"""A gateway with upstream passwords that are kept elsewhere, and whose master key is replaced while people work."""

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import trustme
from psycopg import sql

from gateway.access.secret_reference import SecretReference
from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services.secret_references import refer_login
from gateway.store.key_ring import read_ring
from tests.support.commands import run_pgbastion
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.secret_keepers import FakeVault, answering
from tests.support.upstream import Database

READ = AccessMode.READ_ONLY


@dataclass
class Keeping:
    """A gateway that may fetch, and where from."""

    gateway: RunningGateway
    folder: Path
    vault: FakeVault

    def file(self, name: str, content: str) -> SecretReference:
        path = self.folder / name
        path.write_text(content)
        path.chmod(0o440)
        return SecretReference.parse(f"file:{path}")

    def refer(self, target: str, login: str, reference: SecretReference) -> None:
        admin = self.gateway.admin
        admin.change(refer_login(admin.store, name=target, mode=READ, login=login, reference=reference, **WHY))


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    folder = tmp_path_factory.mktemp("kept").resolve()
    authority, token = trustme.CA(), f"hvs.canary-{secrets.token_hex(8)}"
    authority.cert_pem.write_to_path(folder / "vault-ca.pem")
    (folder / "token").write_text(token)
    vault = FakeVault(tokens={token})
    allowed = {"allowed": [f"file:{folder}/", "vault:kv/"], "timeout_seconds": 1.0}
    with answering(vault, authority):
        reach = {"address": vault.url, "ca_file": str(folder / "vault-ca.pem"), "token_file": str(folder / "token")}
        with running_gateway(secrets=allowed, vault=reach, listen={"host": "127.0.0.1", "port": 0, "workers": 2}) as gateway:
            yield Keeping(gateway, folder, vault)


@pytest.fixture
def role(database: Database) -> Iterator[tuple[str, Secret]]:
    """A login of its own, with the rights of the database's reader."""
    name, password = f"kept_{secrets.token_hex(4)}", Secret(f"canary-{secrets.token_hex(12)}")
    with database.upstream.connect(database.name) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                sql.Identifier(name), sql.Literal(password.reveal()), sql.Identifier(database.app_ro.name)
            )
        )
    yield name, password
    with database.upstream.connect(database.name) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def change_password(database: Database, name: str, password: str) -> None:
    with database.upstream.connect(database.name) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)))


def who(connection: "psycopg.Connection[object]") -> object:
    return connection.execute("SELECT 1").fetchone()


def refused(keeping: Keeping, person: Person, target: str) -> psycopg.OperationalError:
    with pytest.raises(psycopg.OperationalError) as caught:
        keeping.gateway.client(person, target).close()
    return caught.value


def silent(keeping: Keeping, *canaries: str) -> None:
    """Neither the log nor the audit has any of them."""
    time.sleep(0.1)
    said = "".join(keeping.gateway.log) + json.dumps(keeping.gateway.events())
    assert not any(canary in said for canary in canaries)


def test_a_password_from_a_file_and_its_change(keeping: Keeping, database: Database, role: tuple[str, Secret]) -> None:
    name, password = role
    gateway = keeping.gateway
    person, target = gateway.analyst(database)
    reference = keeping.file("shop", password.reveal() + "\n")
    keeping.refer(target, name, reference)
    gateway.settle(person, target)
    connection = gateway.client(person, target)
    who(connection)
    assert gateway.events(event="session_start", user=person.name)

    new = f"canary-{secrets.token_hex(12)}"
    change_password(database, name, new)
    keeping.file("shop2", new)
    (keeping.folder / "shop2").replace(keeping.folder / "shop")
    time.sleep(1.1)  # so often a refusal leads to another fetch
    for _ in range(4):  # by both workers, at the first try of each: what they remembered is refused, and fetched again
        who(gateway.client(person, target))
    who(connection)
    silent(keeping, password.reveal(), new)


def test_a_secret_that_cannot_be_had_is_no_login(keeping: Keeping, database: Database, role: tuple[str, Secret]) -> None:
    """The client learns nothing of why; the audit and an admin do."""
    name, _ = role
    gateway = keeping.gateway
    person, target = gateway.analyst(database)
    keeping.refer(target, name, SecretReference.parse(f"file:{keeping.folder}/none"))
    deadline = time.monotonic() + 5
    while True:
        try:
            gateway.client(person, target).close()
        except psycopg.OperationalError as error:
            said = str(error)
            break
        assert time.monotonic() < deadline
    assert "its credential cannot be had" in said
    assert str(keeping.folder) not in said
    assert name not in said
    event = gateway.wait_for_event(event="upstream_refused", user=person.name)
    assert event["kind"] == "secret"
    assert "No such file" in event["detail"]
    done = run_pgbastion(gateway.config, "targets", "test", target, "--mode", "ro")
    assert done.returncode == 1
    assert "there is no password to log in with" in done.stdout + done.stderr


def test_a_password_from_vault_and_its_change(keeping: Keeping, database: Database, role: tuple[str, Secret]) -> None:
    name, password = role
    gateway, vault = keeping.gateway, keeping.vault
    person, target = gateway.analyst(database)
    vault.kv2["kv/app/shop"] = {"password": password.reveal()}
    keeping.refer(target, name, SecretReference.parse("vault:kv/app/shop"))
    gateway.settle(person, target)
    who(gateway.client(person, target))
    new = f"canary-{secrets.token_hex(12)}"
    vault.kv2["kv/app/shop"] = {"password": new}
    change_password(database, name, new)
    time.sleep(1.1)
    connections = [gateway.client(person, target) for _ in range(4)]
    vault.sealed = True
    try:
        for connection in connections:
            who(connection)
        who(gateway.client(person, target))  # remembered
    finally:
        vault.sealed = False
    silent(keeping, password.reveal(), new, *vault.tokens)


def test_a_vault_that_hangs_is_in_nobody_elses_way(keeping: Keeping, database: Database, role: tuple[str, Secret]) -> None:
    gateway, vault = keeping.gateway, keeping.vault
    person, target = gateway.analyst(database)
    other, there = gateway.analyst(database)
    vault.kv2["kv/app/slow"] = {"password": "canary"}
    vault.hold.set()
    try:
        keeping.refer(target, role[0], SecretReference.parse("vault:kv/app/slow"))
        failures: list[str] = []
        waiting = [threading.Thread(target=lambda: failures.append(str(refused(keeping, person, target)))) for _ in range(8)]
        time.sleep(0.5)
        for thread in waiting:
            thread.start()
        began = time.monotonic()
        for _ in range(10):
            who(gateway.client(other, there))
        took = time.monotonic() - began
        for thread in waiting:
            thread.join(10)
    finally:
        vault.hold.clear()
        vault.released.set()
    assert len(failures) == 8
    assert took < 5.0


def test_the_master_key_is_replaced_under_work(keeping: Keeping, database: Database) -> None:
    """Twenty sessions go on, logins come all the while, and nobody notices; then the old key is gone."""
    gateway = keeping.gateway
    person, target = gateway.analyst(database)
    sessions = [gateway.client(person, target) for _ in range(20)]
    before = read_ring(gateway.state_dir / "master.key").current.name
    failures: list[str] = []
    logins, stop = [0], threading.Event()

    def keep_coming() -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(**gateway.parameters(person, target)) as connection:
                    connection.execute("SELECT 1")
                logins[0] += 1
            except psycopg.Error as error:
                failures.append(str(error))

    coming = threading.Thread(target=keep_coming)
    coming.start()
    try:
        for _ in range(2):
            done = run_pgbastion(gateway.config, "secrets", "rotate-key", "--json")
            assert done.returncode == 0, done.stderr
            told = json.loads(done.stdout)
            assert told["finished"]
            for session in sessions:
                who(session)
    finally:
        stop.set()
        coming.join(30)
    assert not failures
    assert logins[0] > 5
    ring = read_ring(gateway.state_dir / "master.key")
    assert [key.name for key in ring.keys] == [told["key"]]
    assert before not in (gateway.state_dir / "master.key").read_text()
    for session in sessions:
        who(session)
    status = run_pgbastion(gateway.config, "secrets", "status", "--json")
    assert {each["key"] for each in json.loads(status.stdout)["sealed"]} == {told["key"]}
    with contextlib.closing(gateway.client(person, target)) as connection:
        who(connection)
