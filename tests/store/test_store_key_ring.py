"""The key file with several keys: which seals, which open, what is derived, and that it is changed whole or not at all."""

import os
import stat

import pytest

from gateway.access.model import DatabaseRole
from gateway.ports import SealedUse
from gateway.secret import Secret
from gateway.store.errors import VaultError
from gateway.store.key_ring import KeyRing, MasterKey, changing, ensure_key, read_ring, replace_ring
from gateway.store.key_rotation import stage_key
from gateway.store.vault import SealedVault, key_of


@pytest.fixture
def path(tmp_path):
    ensure_key(tmp_path / "master.key")
    return tmp_path / "master.key"


def opens(vault: SealedVault, sealed: bytes) -> bool:
    return vault.open(DatabaseRole("row", "app_ro", sealed)).reveal() == "canary-1b7d"


def test_a_ring_reads_as_it_was_written(path):
    ring = read_ring(path).staged().advanced().staged()
    replace_ring(path, ring)
    assert read_ring(path) == ring
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["master.key"]
    for keep in (True, False):
        replace_ring(path, ring.settled(keep=keep))
        assert read_ring(path) == ring.settled(keep=keep)


def test_a_process_finds_the_new_key_when_it_needs_it(path):
    """Opening: when it meets it; sealing: at once."""
    running = SealedVault.load(path)
    old = running.seal("row", Secret("canary-1b7d"))
    replace_ring(path, read_ring(path).advanced())
    new = SealedVault.load(path).seal("row", Secret("canary-1b7d"))
    assert key_of(new) != key_of(old)
    assert opens(running, new)
    assert opens(running, old)
    assert key_of(running.seal("row", Secret("x"))) == key_of(new)


def test_what_a_process_sealed_opens_as_long_as_it_runs(path):
    """A sign-in that was begun before the rotation can be ended after it."""
    running = SealedVault.load(path)
    flow = running.seal_for(SealedUse.ENROLMENT, "ana", Secret("begun"))
    replace_ring(path, read_ring(path).advanced().settled(keep=False))
    running.seal("row", Secret("x"))
    assert running.open_for(SealedUse.ENROLMENT, "ana", flow).reveal() == "begun"
    with pytest.raises(VaultError, match=key_of(flow)):
        SealedVault.load(path).open_for(SealedUse.ENROLMENT, "ana", flow)


def test_what_is_derived_outlives_every_key(path):
    first = SealedVault.load(path).derive("mock-scram")
    for _ in range(3):
        replace_ring(path, read_ring(path).staged())
        replace_ring(path, read_ring(path).advanced())
        assert SealedVault.load(path).derive("mock-scram") == first
        replace_ring(path, read_ring(path).settled(keep=False))
        assert SealedVault.load(path).derive("mock-scram") == first
    assert len(read_ring(path).keys) == 1


def test_what_derivation_starts_from_tells_nothing_of_a_key(path):
    """The line for it stays in the file when the key that it came from has gone."""
    former = read_ring(path).current
    replace_ring(path, read_ring(path).advanced().settled(keep=False))
    text = path.read_text()
    assert former.name not in text
    assert former.key not in path.read_bytes()
    assert SealedVault(read_ring(path)).derive("seal upstream secrets") != SealedVault(KeyRing(former)).derive("other")
    root = read_ring(path).root
    assert root is not None
    forged = SealedVault(KeyRing(MasterKey(former.key_id, root)))
    sealed = SealedVault(KeyRing(former)).seal("row", Secret("canary-1b7d"))
    with pytest.raises(VaultError, match="altered"):
        forged.open(DatabaseRole("row", "app_ro", sealed))


def test_the_line_of_an_old_key_file_may_be_added_by_hand(path, tmp_path):
    other = tmp_path / "old" / "master.key"
    ensure_key(other)
    sealed = SealedVault.load(other).seal("row", Secret("canary-1b7d"))
    before = SealedVault.load(path)
    with path.open("ab") as file:
        file.write(other.read_bytes())
    assert opens(SealedVault.load(path), sealed)
    assert opens(before, sealed)
    assert before.key_ids == [before.key_id, key_of(sealed)]


def test_the_next_key_opens_before_it_seals(path):
    """So that every node can have it before one of them uses it."""
    before = SealedVault.load(path).key_id
    staged = stage_key(path)
    assert stage_key(path) == staged
    vault = SealedVault.load(path)
    assert vault.key_id == before
    assert vault.knows(staged)
    assert read_ring(path).advanced().current.name == staged


def test_nothing_is_staged_into_an_unfinished_rotation(path):
    replace_ring(path, read_ring(path).advanced())
    with pytest.raises(VaultError, match="finish it first"):
        stage_key(path)


def test_one_process_changes_it_at_a_time(path):
    with changing(path), pytest.raises(VaultError, match="somebody else"), changing(path):
        pass
    with changing(path):
        pass


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("pgbastion-master-key:", "pgbastion-master-key-retiring:", 1),
        lambda text: text.replace("-retiring", "-spare"),
        lambda text: text + text.splitlines()[-1] + "\n",
        lambda text: "\n".join(text.splitlines()[1:]),
        lambda text: text.replace("pgbastion-derivation-root:v1:0", "pgbastion-derivation-root:v1:1"),
    ],
)
def test_a_damaged_ring_is_said_to_be_damaged(path, damage):
    replace_ring(path, read_ring(path).advanced())
    path.write_text(damage(path.read_text()))
    with pytest.raises(VaultError, match="damaged") as caught:
        SealedVault.load(path)
    assert not any(line.split(":")[3] in str(caught.value) for line in path.read_text().splitlines())


def test_a_vault_whose_file_is_gone_opens_and_does_not_seal(path):
    """Sealing with a key that may have been replaced would lose what is sealed."""
    vault = SealedVault.load(path)
    sealed = vault.seal("row", Secret("canary-1b7d"))
    path.unlink()
    assert opens(vault, sealed)
    with pytest.raises(VaultError, match="cannot be read"):
        vault.seal("row", Secret("x"))


def test_nothing_shows_a_key(path):
    ring = read_ring(path).staged().advanced().staged()
    said = f"{ring!r} {ring} {SealedVault(ring)!r} {ring.current!r}"
    assert not any(key.key.hex() in said or repr(key.key) in said for key in ring.keys)
