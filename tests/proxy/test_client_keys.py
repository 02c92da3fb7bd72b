"""What upstream's passwords come to: remembered under one password, salt and iteration count, and no longer than the password."""

from dataclasses import replace

import pytest

from gateway.access.model import DatabaseRole, Snapshot
from gateway.access_mode import AccessMode
from gateway.proxy.client_keys import ClientKeyMemory
from gateway.secret import Secret
from gateway.wire.scram import Challenge, ClientKeys
from tests.support.snapshots import SALES, world

ROLE = SALES.roles[AccessMode.READ_ONLY]
SECRET = Secret("password-canary")
ASKED = Challenge(b"salt", 4096)
KEYS = ClientKeys(b"client-canary", b"server-canary")


def holding(*roles: DatabaseRole) -> Snapshot:
    return replace(world(), targets={SALES.name: replace(SALES, roles=dict(zip(AccessMode, roles, strict=False)))})


@pytest.fixture
def memory() -> ClientKeyMemory:
    made = ClientKeyMemory()
    made.keep(ROLE, SECRET, ASKED, KEYS)
    assert made.find(ROLE, SECRET, ASKED) is KEYS
    return made


@pytest.mark.parametrize("other", [Challenge(b"tlas", 4096), Challenge(b"salt", 4097)])
def test_another_salt_or_count_is_another_question(memory: ClientKeyMemory, other: Challenge) -> None:
    assert memory.find(ROLE, SECRET, other) is None


@pytest.mark.parametrize("other", [replace(ROLE, id="r-rw"), replace(ROLE, sealed_secret=b"sealed anew")])
def test_another_role_or_password_finds_nothing(memory: ClientKeyMemory, other: DatabaseRole) -> None:
    assert memory.find(other, SECRET, ASKED) is None


def test_a_new_password_takes_the_old_ones_keys_with_it(memory: ClientKeyMemory) -> None:
    """Whoever asks with it first, and also when its own are kept before anybody asked."""
    new = replace(ROLE, sealed_secret=b"sealed anew")
    assert memory.find(new, SECRET, ASKED) is None
    assert len(memory) == 0
    memory.keep(ROLE, SECRET, ASKED, KEYS)
    memory.keep(new, SECRET, Challenge(b"other", 4096), ClientKeys(b"c", b"s"))
    assert memory.find(ROLE, SECRET, ASKED) is None


def test_keys_go_when_the_directory_has_another_password_or_the_role_no_more(memory: ClientKeyMemory) -> None:
    memory.keep_only(holding(ROLE))
    assert memory.find(ROLE, SECRET, ASKED) is KEYS
    memory.keep_only(holding(replace(ROLE, sealed_secret=b"sealed anew")))
    assert len(memory) == 0
    memory.keep(ROLE, SECRET, ASKED, KEYS)
    memory.keep_only(holding())
    assert len(memory) == 0


def test_it_does_not_grow(memory: ClientKeyMemory) -> None:
    """Neither under a server with a new salt for each login, nor with ever new roles."""
    for number in range(2000):
        memory.keep(ROLE, SECRET, Challenge(number.to_bytes(2, "big"), 4096), KEYS)
    assert len(memory) < 10
    for number in range(3000):
        memory.keep(DatabaseRole(f"r{number}", "login", b""), SECRET, ASKED, KEYS)
    assert len(memory) <= 1000


def test_another_secret_of_the_same_role_has_keys_of_its_own(memory: ClientKeyMemory) -> None:
    """One that is kept elsewhere changes without a change of the role; of two in use, one was tried on the other's salt."""
    other = Secret("another")
    assert memory.find(ROLE, other, ASKED) is None
    memory.keep(ROLE, other, ASKED, ClientKeys(b"c", b"s"))
    assert memory.find(ROLE, Secret("password-canary"), ASKED) is KEYS


def test_keys_are_not_shown(memory: ClientKeyMemory) -> None:
    assert "canary" not in f"{KEYS} {KEYS!r} {memory!r}"
