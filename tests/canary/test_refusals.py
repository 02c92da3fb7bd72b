"""Whatever goes wrong upstream: all hear that it did, nobody hears a password, and least of all a server that asks."""

import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.access.model import TlsMode
from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.services import targets
from tests.canary.scanner import Figures
from tests.canary.talkative import upstream_database
from tests.canary.world import World, made_world
from tests.support import wire
from tests.support.gateway import WHY
from tests.support.hostile import AUTHENTICATED, Guest, error, hostile, ready
from tests.support.upstream import Upstream
from tests.support.wire import Refused, packet

SLOT = "upstream password"


class Someone:
    name = "ana_a"
    password = ""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, talkative: Upstream, figures: Figures) -> Iterator[World]:
    with made_world(tmp_path_factory.mktemp("refusals"), talkative, figures) as world:
        Someone.password = world.canaries.make("a person's")
        world.command("users", "create", Someone.name, "--password-stdin", given=f"{Someone.password}\n")
        upstream_database(talkative, "refusing", refused_ro=world.canaries.make(SLOT))
        yield world


def attempt(world: World, place: targets.Place, role: str, password: str) -> Refused:
    """A person comes, then an operator looks why it did not work; all that both read is looked at."""
    gateway, name = world.gateway, f"t_{secrets.token_hex(4)}"
    gateway.admin.change(targets.create_target(gateway.admin.store, name=name, place=place, **WHY))
    gateway.login(name, AccessMode.READ_ONLY, role, Secret(password))
    world.command("grants", "create", "--user", Someone.name, "--target", name, "--mode", "ro")
    door = wire.Place(gateway.host, gateway.port, gateway.ca_file)
    deadline = time.monotonic() + 10
    while True:
        with pytest.raises(Refused) as caught:
            door.log_in(Someone.name, Someone.password, name).close()
        world.look("client bytes", f"login to {name}", b"".join(message.body for message in caught.value.answer))
        if caught.value.sqlstate not in ("3D000", "42501") or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    for words in (("targets", "test", name, "--mode", "ro"), ("targets", "audit", name, "--mode", "ro")):
        world.command(*words, status=None)
        world.command(*words, "--json", status=None)
    world.ask("POST", f"/v1/targets/{name}/check?mode=read_only")
    gateway.wait_for_event(event="upstream_refused", target=name)
    return caught.value


CASES = (
    "wrong password",
    "no role",
    "no database",
    "refused by hba",
    "nobody listens",
    "no such host",
    "another CA",
    "no room",
    "expired",
)


@pytest.mark.parametrize("case", CASES)
def test_what_a_real_server_refuses(world: World, case: str) -> None:
    upstream = world.upstream
    role, password = "refused_ro", world.canaries.slots[SLOT][0].decode()
    tls = (TlsMode.VERIFY_FULL, upstream.ca_file.read_text()) if upstream.has_tls else (TlsMode.DISABLE, None)
    place = targets.Place(upstream.host, upstream.port, "refusing", *tls)
    with upstream.connect() as admin:
        match case:
            case "wrong password":
                password = world.canaries.make(SLOT)
            case "no role":
                role = "role_that_is_not"
            case "no database":
                place = targets.Place(upstream.host, upstream.port, "database_that_is_not", *tls)
            case "refused by hba":
                refuse_by_hba(world, "refused_ro")
            case "nobody listens":
                with socket.create_server(("127.0.0.1", 0)) as once:
                    place = targets.Place("127.0.0.1", once.getsockname()[1], "refusing", *tls)
            case "no such host":
                place = targets.Place("host.that.is.invalid", upstream.port, "refusing", *tls)
            case "another CA":
                other = world.gateway.ca_file.read_text()
                place = targets.Place(upstream.host, upstream.port, "refusing", TlsMode.VERIFY_FULL, other)
            case "no room":
                admin.execute("ALTER ROLE refused_ro CONNECTION LIMIT 0")
            case _:
                admin.execute("ALTER ROLE refused_ro CONNECTION LIMIT -1 VALID UNTIL '2001-01-01'")
        try:
            attempt(world, place, role, password)
        finally:
            admin.execute("ALTER ROLE refused_ro CONNECTION LIMIT -1 VALID UNTIL 'infinity'")
            if case == "refused by hba":
                refuse_by_hba(world, None)


def refuse_by_hba(world: World, role: str | None) -> None:
    with world.upstream.connect() as admin:
        row = admin.execute("SHOW hba_file").fetchone()
        assert row is not None
        file = Path(row[0])
        lines = [line for line in file.read_text().splitlines() if " reject" not in line]
        if role is not None:
            lines.insert(0, f"host all {role} all reject")
        file.write_text("\n".join(lines) + "\n")
        admin.execute("SELECT pg_reload_conf()")
    time.sleep(0.2)


def scram_then(*data: bytes) -> Callable[[Guest], None]:
    def script(guest: Guest) -> None:
        guest.first_packet()
        guest.scram()
        guest.send(*data)
        guest.until_gone()

    return script


def asks(code: int, more: bytes = b"") -> Callable[[Guest], None]:
    def script(guest: Guest) -> None:
        guest.first_packet()
        guest.send(packet("R", struct.pack(">I", code) + more))
        guest.until_gone()

    return script


def breaks_off(guest: Guest) -> None:
    guest.first_packet()
    guest.sock.close()


HOSTILE: dict[str, Callable[[Guest], None]] = {
    "asks for the password in clear text": asks(3),
    "asks for an md5 of it": asks(5, b"salt"),
    "asks by GSS": asks(7),
    "lets anybody in": asks(0),
    "does not prove itself": scram_then(AUTHENTICATED, ready()),
    "refuses": scram_then(error("28P01", "password authentication failed")),
    "breaks off": breaks_off,
    "talks nonsense": lambda guest: guest.send(b"\x00\xff" * 1000),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_a_hostile_server_gets(world: World, case: str) -> None:
    """Whatever it asks for: not the password, in no form."""
    password = world.canaries.make(SLOT)
    with hostile(HOSTILE[case]) as server:
        attempt(world, targets.Place("127.0.0.1", server.port, "any", TlsMode.DISABLE, None), "hostile_ro", password)
        assert server.guests
        for guest in server.guests:
            world.look("bytes to upstream", case, guest.received)


def test_nothing_stays_behind(world: World) -> None:
    world.look_at_processes()
    leaks = world.look_everywhere()
    assert not leaks, leaks
