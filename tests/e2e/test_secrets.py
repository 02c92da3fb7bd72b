"""K: upstream's credentials and its words about them reach nobody; nor do people's passwords."""

import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from gateway.access.model import TlsMode
from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services import targets
from tests.support import wire
from tests.support.gateway import WHY, Person, RunningGateway, running_gateway
from tests.support.hostile import error, hostile, victim_of
from tests.support.oracle import Twins
from tests.support.upstream import Database, Login, Upstream, fresh_database
from tests.support.wire import SYNC, Closed, Place, Refused, parse, query


@dataclass
class Guarded:
    """A gateway whose every secret is a canary, and everything that clients of it were sent."""

    gateway: RunningGateway
    database: Database
    person: Person
    target: str
    canaries: list[str]
    said: bytearray

    @property
    def place(self) -> Place:
        return Place(self.gateway.host, self.gateway.port, self.gateway.ca_file)

    def listen(self, *data: bytes, user: str = "", password: str = "", database: str = "", **more: str) -> None:
        """One client's life; whatever it reads is kept."""
        client = self.place.tls()
        try:
            client.send(wire.startup(user or self.person.name, database or self.target, **more))
            wire.answer_scram(client, password or self.person.password)
            wire.welcome(client)
            client.send(*data)
            client.quiet(0.3)
        except (Refused, Closed, OSError):
            pass
        finally:
            self.said += b"".join(message.body for message in client.transcript)
            client.close()


@pytest.fixture(scope="module")
def guarded(postgres: Upstream, upstream_logins: tuple[Login, Login]) -> Iterator[Guarded]:
    with fresh_database(postgres, upstream_logins) as database, running_gateway() as gateway:
        admin = database.superuser()
        canary = f"canary-{secrets.token_hex(12)}"
        role = f"canary_{secrets.token_hex(4)}"
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(canary)))
        admin.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(sql.Identifier(role)))
        person, target = gateway.person(), gateway.target(database)
        gateway.login(target, AccessMode.READ_ONLY, role, Secret(canary))
        gateway.grant(person, target)
        gateway.settle(person, target)
        verifier_keys = [
            part for line in _verifiers(gateway) for part in line.partition("$")[2].replace(":", "$").split("$")[2:]
        ]
        yield Guarded(gateway, database, person, target, [canary, person.password, *verifier_keys], bytearray())
        gateway.close_clients()
        admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _verifiers(gateway: RunningGateway) -> list[str]:
    import asyncio

    return [user.verifier for user in asyncio.run(gateway.admin.store.read()).users.values()]


def _everything_written(gateway: RunningGateway) -> dict[str, bytes]:
    """All that the gateway's processes show or left on disk; the store keeps verifiers, and the key file is the key."""
    found = {"log": "".join(gateway.log).encode()}
    for path in gateway.directory.rglob("*"):
        if path.is_file() and path.suffix not in (".key", ".sock") and "store" not in path.name:
            found[path.name] = path.read_bytes()
    for pid in [gateway.process.pid, *gateway.worker_pids()]:
        for name in ("cmdline", "environ"):
            found[f"{pid} {name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
    return found


def test_k01_no_secret_is_ever_shown(guarded: Guarded) -> None:
    """Right and wrong logins, answers, denials, errors, catalogues, broken messages, a lost upstream: no canary in any of it."""
    guarded.listen(query("SELECT 1"), query("SELECT * FROM pg_stat_activity"), query("SHOW ALL"))
    guarded.listen(query("SELECT * FROM pg_shadow"), query("SELECT * FROM pg_authid"), query("SELECT * FROM pg_hba_file_rules"))
    guarded.listen(query("SELECT * FROM pg_user_mappings"), query("SELECT current_user, session_user"), query("TABLE pg_roles"))
    guarded.listen(query("DELETE FROM accounts"), parse("SELEC"), SYNC, query("SELECT 1/0"), wire.packet("F", b"x"))
    guarded.listen(wire.packet("?", b"x"))
    guarded.listen(password="wrong")
    guarded.listen(user="nobody")
    guarded.listen(database="no_such_target")
    guarded.listen(role="x")
    guarded.listen(query(f"SELECT '{'x' * 100_000}'"))
    admin = guarded.database.superuser()
    client = guarded.place.log_in(guarded.person.name, guarded.person.password, guarded.target)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s"
    admin.execute(end, [f"{guarded.person.name}/%"])
    guarded.said += b"".join(message.body for message in [*client.transcript, *client.until_eof(3)])
    time.sleep(0.2)
    assert len(guarded.said) > 10_000
    written = _everything_written(guarded.gateway)
    assert any(name.endswith(".jsonl") and content for name, content in written.items())
    for canary in guarded.canaries:
        assert canary.encode() not in guarded.said
        for name, content in written.items():
            assert canary.encode() not in content, name


def test_k09_the_store_holds_no_secret_in_the_clear(guarded: Guarded) -> None:
    """Upstream's password is sealed, a person's password is not kept, in the database's pages and its log."""
    stores = [path for path in guarded.gateway.state_dir.rglob("store*") if path.is_file()]
    assert stores
    for path in stores:
        content = path.read_bytes()
        assert guarded.canaries[0].encode() not in content
        assert guarded.person.password.encode() not in content


def test_k13_upstream_learns_no_password_of_people(guarded: Guarded) -> None:
    log = guarded.database.upstream.log_file
    if log is not None:
        assert guarded.person.password not in log.read_text()


def refused(guarded: Guarded, place: targets.Place, role: str, password: str) -> wire.Message:
    """What a person reads whose target is like this; names nothing of upstream."""
    gateway = guarded.gateway
    name = f"t_{secrets.token_hex(4)}"
    gateway.admin.change(targets.create_target(gateway.admin.store, name=name, place=place, **WHY))
    gateway.login(name, AccessMode.READ_ONLY, role, Secret(password))
    gateway.grant(guarded.person, name)
    time.sleep(0.3)
    with pytest.raises(Refused) as caught:
        guarded.place.log_in(guarded.person.name, guarded.person.password, name)
    text = caught.value.error.body.decode()
    for secret in (role, password, place.host, str(place.port), place.dbname, "pg_hba", "certificate", "password"):
        assert secret not in text, text
    record = gateway.wait_for_event(event="upstream_refused", target=name)
    assert record["session"] in text or caught.value.sqlstate == "53300"
    assert record["detail"]
    return caught.value.error


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("wrong password", "08001"),
        ("no such role", "08001"),
        ("no such database", "08001"),
        ("nobody listens", "08001"),
        ("no such host", "08001"),
        ("another CA", "08001"),
        ("no connection left", "53300"),
    ],
)
def test_k06_what_goes_wrong_upstream_is_told_in_our_words(guarded: Guarded, case: str, code: str, tmp_path: Path) -> None:
    upstream, database = guarded.database.upstream, guarded.database
    login = database.app_ro
    role, password = login.name, login.password.reveal()
    tls = (TlsMode.VERIFY_FULL, upstream.ca_file.read_text()) if upstream.has_tls else (TlsMode.DISABLE, None)
    place = targets.Place(upstream.host, upstream.port, database.name, *tls)
    match case:
        case "wrong password":
            password = "not-the-right-word"
        case "no such role":
            role = "role_that_is_not"
        case "no such database":
            place = targets.Place(upstream.host, upstream.port, "database_that_is_not", *tls)
        case "nobody listens":
            with socket.create_server(("127.0.0.1", 0)) as once:
                place = targets.Place("127.0.0.1", once.getsockname()[1], database.name, *tls)
        case "no such host":
            place = targets.Place("host.that.is.invalid", upstream.port, database.name, *tls)
        case "another CA":
            other = guarded.gateway.ca_file.read_text()
            place = targets.Place(upstream.host, upstream.port, database.name, TlsMode.VERIFY_FULL, other)
        case _:
            role, password = f"full_{secrets.token_hex(4)}", "full-up-password"
            admin = database.superuser()
            admin.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0 PASSWORD '{password}'")
    assert refused(guarded, place, role, password).sqlstate == code
    if case == "no connection left":
        database.superuser().execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("sqlstate", "told"),
    [("28P01", "08001"), ("28000", "08001"), ("3D000", "08001"), ("53300", "53300"), ("57P03", "57P03"), ("XX000", "08001")],
)
def test_k06_upstream_s_own_words_are_never_shown(gateway: RunningGateway, sqlstate: str, told: str) -> None:
    """Whatever it says before it lets us in: the code is mapped, the text is ours."""
    words = "no pg_hba.conf entry for host 10.9.8.7, user canary_role"
    with hostile(lambda guest: (guest.first_packet(), guest.send(error(sqlstate, words)))[0]) as server:  # type: ignore[arg-type,func-returns-value,return-value]
        victim = victim_of(gateway, server.port)
        with pytest.raises(Refused) as caught:
            victim.log_in()
    assert caught.value.sqlstate == told
    assert "canary_role" not in str(caught.value.answer)
    assert "10.9.8.7" not in str(caught.value.answer)
    assert gateway.wait_for_event(event="upstream_refused", target=victim.target)["detail"] == words


def test_k06_nothing_of_it_before_the_proof(guarded: Guarded) -> None:
    """A wrong password for a broken target reads the same as for any other."""
    gateway = guarded.gateway
    name = f"t_{secrets.token_hex(4)}"
    place = targets.Place("127.0.0.1", 1, "x", TlsMode.DISABLE, None)
    gateway.admin.change(targets.create_target(gateway.admin.store, name=name, place=place, **WHY))
    gateway.grant(guarded.person, name)
    time.sleep(0.3)
    answers = []
    for database in (name, guarded.target):
        with pytest.raises(Refused) as caught:
            guarded.place.log_in(guarded.person.name, "wrong", database)
        answers.append(caught.value.error.body)
    assert answers[0] == answers[1]


def test_k04_who_we_are_upstream_is_not_told_as_who_you_are(reader: Twins) -> None:
    """ParameterStatus names the person; is_superuser is off."""
    with reader.through() as client:
        told = dict(message.setting for message in client.transcript if message.kind == "S")
    assert told["session_authorization"] == reader.person.name
    assert told["is_superuser"] == "off"


def test_psycopg_sees_the_mapped_text(guarded: Guarded) -> None:
    """A driver shows what we wrote, hint included."""
    with pytest.raises(psycopg.OperationalError, match="does not exist, or you have no grant"):
        guarded.gateway.client(guarded.person, "nothing_here")


def test_upstream_passwords_are_used_as_they_are_now(gateway: RunningGateway, database: Database) -> None:
    """What one came to is remembered (a millisecond's work), but never stands for another: not with the same salt either."""
    admin, role = database.superuser(), f"changing_{secrets.token_hex(4)}"
    person, target = gateway.analyst(database, AccessMode.READ_WRITE)

    def upstream_takes(password: str) -> None:
        admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))

    def gateway_sends(password: str) -> None:
        gateway.login(target, AccessMode.READ_WRITE, role, Secret(password))
        time.sleep(0.3)  # until each worker knows

    def lets_in() -> bool:
        try:
            gateway.client(person, f"{target}:rw").close()
        except psycopg.OperationalError:
            return False
        return True

    admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    try:
        upstream_takes("first")
        gateway_sends("first")
        assert [lets_in() for _ in range(3)] == [True] * 3
        gateway_sends("wrong")  # upstream asks with the same salt as before
        assert [lets_in() for _ in range(3)] == [False] * 3
        gateway_sends("first")
        assert lets_in()
        upstream_takes("second")  # under a salt of its own
        assert [lets_in() for _ in range(3)] == [False] * 3
        gateway_sends("second")
        assert [lets_in() for _ in range(3)] == [True] * 3
    finally:
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
