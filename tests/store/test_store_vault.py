"""The vault: a sealed secret opens in its own row under its own key, and nowhere else."""

import os
import pickle
import stat
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.model import DatabaseRole
from gateway.secret import Secret
from gateway.store.errors import VaultError
from gateway.store.key_ring import KeyRing, MasterKey
from gateway.store.vault import SealedVault, ensure_key


def vault_of(key_id: bytes, key: bytes) -> SealedVault:
    return SealedVault(KeyRing(MasterKey(key_id, key)))


VAULT = vault_of(b"8 bytes.", b"k" * 32)


def role(sealed: bytes, row_id: str = "row") -> DatabaseRole:
    return DatabaseRole(row_id, "app_ro", sealed)


@given(st.text(min_size=1, max_size=300).filter(lambda text: text < "\ud800" or text.isprintable()))
def test_what_is_sealed_opens(text):
    assert VAULT.open(role(VAULT.seal("row", Secret(text)))).reveal() == text


@given(st.data())
def test_any_changed_bit_is_noticed(data):
    sealed = bytearray(VAULT.seal("row", Secret("canary-7f3a")))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(VaultError) as caught:
        VAULT.open(role(bytes(sealed)))
    assert "canary" not in str(caught.value)


@given(st.binary(max_size=80))
def test_junk_is_refused(junk):
    with pytest.raises(VaultError):
        VAULT.open(role(junk))


def test_a_secret_copied_to_another_row_does_not_open():
    with pytest.raises(VaultError, match="another row"):
        VAULT.open(role(VAULT.seal("row", Secret("canary")), "other"))


def test_another_key_is_named():
    other = vault_of(b"other id", b"k" * 32)
    with pytest.raises(VaultError, match=f"{VAULT.key_id}.*{other.key_id}"):
        other.open(role(VAULT.seal("row", Secret("canary"))))


def test_a_forged_key_id_does_not_help():
    other = vault_of(b"8 bytes.", b"x" * 32)
    with pytest.raises(VaultError, match="altered"):
        other.open(role(VAULT.seal("row", Secret("canary"))))


def test_sealing_twice_never_gives_the_same_bytes():
    assert len({VAULT.seal("row", Secret("canary")) for _ in range(1000)}) == 1000


def test_derived_keys_depend_on_purpose_and_key_only():
    assert VAULT.derive("mock") == vault_of(b"otherid.", b"k" * 32).derive("mock")
    assert len({VAULT.derive("mock"), VAULT.derive("other"), vault_of(b"8 bytes.", b"x" * 32).derive("mock")}) == 3
    assert len(VAULT.derive("mock")) == 32


def test_a_vault_neither_prints_nor_pickles():
    assert "kkkk" not in repr(VAULT)
    with pytest.raises(TypeError):
        pickle.dumps(VAULT)


def test_the_key_file_is_private_whole_and_never_replaced(tmp_path):
    path = tmp_path / "new" / "master.key"
    ensure_key(path)
    first = path.read_bytes()
    ensure_key(path)
    assert path.read_bytes() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["master.key"]
    assert SealedVault.load(path).key_id == SealedVault.load(path).key_id


def test_of_many_processes_that_make_the_key_one_wins(tmp_path):
    path = tmp_path / "state" / "master.key"
    program = (
        "import sys, pathlib; from gateway.store.vault import *; p = pathlib.Path(sys.argv[1]); ensure_key(p);"
        "print(SealedVault.load(p).derive('x').hex())"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) for _ in range(6)]
    answers = {process.communicate()[0] for process in started}
    assert len(answers) == 1
    assert answers != {b""}


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:-5],
        lambda line: line[:40] + (b"A" if line[40:41] != b"A" else b"B") + line[41:],
        lambda line: line.replace(b"v1", b"v2"),
        lambda line: b"",
        lambda line: b"\xff\xfe",
        lambda line: line + line,
    ],
)
def test_a_damaged_key_file_is_said_to_be_damaged(tmp_path, damage):
    path = tmp_path / "master.key"
    ensure_key(path)
    key = path.read_bytes().split(b":")[3]
    path.write_bytes(damage(path.read_bytes()))
    for use in (ensure_key, SealedVault.load):
        with pytest.raises(VaultError, match="damaged") as caught:
            use(path)
        assert key.decode()[:16] not in str(caught.value)


def test_a_key_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "master.key"
    ensure_key(path)
    path.chmod(0o640)
    with pytest.raises(VaultError, match="chmod 600"):
        SealedVault.load(path)


def test_a_missing_key_is_said_to_be_missing(tmp_path):
    with pytest.raises(VaultError, match="No such file"):
        SealedVault.load(tmp_path / "master.key")
