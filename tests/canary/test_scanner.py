"""The suite itself: a secret that lies in the open is seen, in every form and in each kind of place."""

import base64
import json
import os
import sqlite3
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.canary.canaries import Canaries, Needle, forms_of
from tests.canary.commands import run_apart, run_here
from tests.canary.places import activity_places, file_places, log_places, open_file_places, process_places
from tests.canary.scanner import Figures, Place, Scanner
from tests.support.upstream import Upstream


@pytest.fixture
def scanner() -> Scanner:
    """Its figures are its own: what is planted is no search of the gateway."""
    return Scanner(Canaries(), Figures())


WAYS: dict[str, Callable[[str], bytes]] = {
    "plain": lambda text: text.encode(),
    "in a sentence": lambda text: f"could not log in with {text!s}: no".encode(),
    "first half": lambda text: text.encode()[: len(text.encode()) // 2],
    "second half": lambda text: text.encode()[len(text.encode()) // 2 :],
    "JSON": lambda text: json.dumps({"a": [text]}).encode(),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"a": text})).encode(),
    "JSON, not ASCII": lambda text: json.dumps(text, ensure_ascii=False).encode(),
    "repr": lambda text: repr(text).encode(),
    "repr of bytes": lambda text: repr(text.encode()).encode(),
    "hex": lambda text: text.encode().hex().encode(),
    "bytea": lambda text: b"\\x" + text.encode().hex().encode(),
    "capital hex": lambda text: text.encode().hex().upper().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 of user and password": lambda text: base64.b64encode(f"me:{text}".encode()),
    "base64 of JSON": lambda text: base64.b64encode(f'{{"a":"x","b":{text}'.encode()),
    "base64url": lambda text: base64.urlsafe_b64encode(f"a{text}\xffb".encode()),
    "URL": lambda text: urllib.parse.quote(text, safe="").encode(),
    "form": lambda text: urllib.parse.urlencode({"p": text}).encode(),
    "connection string": lambda text: f"postgresql://u:{urllib.parse.quote(text)}@h/d".encode(),
    "SQL": lambda text: ("'" + text.replace("'", "''") + "'").encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "XML": lambda text: text.replace('"', "&quot;").encode(),
    "backwards": lambda text: text.encode()[::-1],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("plain", [False, True], ids=["awkward", "plain"])
def test_every_form_is_seen(scanner: Scanner, way: str, plain: bool) -> None:
    secret = scanner.canaries.make_plain("a slot") if plain else scanner.canaries.make("a slot")
    scanner.canaries.make("another")
    place = Place("log", "here", b"before " + WAYS[way](secret) + b" behind")
    assert {leak.slot for leak in scanner.look([place])} == {"a slot"}
    assert not scanner.look([place], but=["a slot"])


@pytest.mark.parametrize("form", ["raw", "hex", "base64", "repr", "first half"])
def test_raw_keys_are_seen(scanner: Scanner, form: str) -> None:
    key = os.urandom(32)
    scanner.canaries.note("key", key)
    forms = {
        "raw": key,
        "hex": key.hex().encode(),
        "base64": base64.b64encode(b"12345" + key),
        "repr": repr({"key": key}).encode(),
        "first half": key[:16],
    }
    assert scanner.look([Place("log", "here", b"x" + forms[form] + b"y")])


def test_nothing_is_seen_where_nothing_is(scanner: Scanner) -> None:
    for number in range(20):
        scanner.canaries.make(f"slot {number}")
        scanner.canaries.note(f"key {number}", os.urandom(32))
    assert not scanner.look([Place("log", "here", Path(sys.executable).read_bytes() + os.urandom(10_000_000))])
    assert scanner.figures.places["log"] == 1
    assert scanner.figures.searches == len(scanner.canaries.needles) > 400


def test_what_was_searched_before_is_searched_for_what_is_new(scanner: Scanner) -> None:
    """Also where the secret was there first, and with other slots left out."""
    place = Place("log", "here", b"the-later-secret-4711" + bytes(1000) + b"x")
    scanner.canaries.make("a slot")
    assert not scanner.look([place])
    assert not scanner.look([place])
    scanner.canaries.note("later", "the-later-secret-4711")
    assert not scanner.look([place], but=["later"])
    assert scanner.look([place])
    assert scanner.look([place])


def test_a_report_of_a_leak_does_not_repeat_it(scanner: Scanner) -> None:
    secret = scanner.canaries.make("a slot")
    (leak, *_) = scanner.look([Place("log", "here", f"password={secret} ".encode())])
    assert leak.around.startswith("password=")
    assert secret not in repr(leak)
    assert secret not in repr(forms_of("a slot", secret.encode()))
    assert secret not in repr(Needle("a", "b", secret.encode()))


def test_what_is_shown_once_may_be_there_once(scanner: Scanner) -> None:
    scanner.shown("API answer", "POST", '{"password": "new-secret-4711-new"}', "made", "new-secret-4711-new")
    assert scanner.look([Place("API answer", "GET", b"new-secret-4711-new")])
    for twice in ("none", "other-secret-4711 other-secret-4711"):
        with pytest.raises(AssertionError):
            scanner.shown("API answer", "POST", twice, "made", "other-secret-4711")


# -- each kind of place ----------------------------------------------------------------------------------------------------


def seen(scanner: Scanner, places: Iterator[Place]) -> set[str]:
    return {leak.kind for leak in scanner.look(places)}


def test_processes_are_looked_at(scanner: Scanner) -> None:
    """Arguments, environment, title."""
    argument, variable = scanner.canaries.make_plain("argument"), scanner.canaries.make("variable")
    title = scanner.canaries.make_plain("title")[:15]  # as much as the kernel keeps
    scanner.canaries.note("title", title)
    program = f"import sys; open('/proc/self/comm', 'w').write({title!r}); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, argument]
    environment = {"PASSWORD": variable}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = scanner.look(process_places([process.pid]))
        process.communicate(b"")
    assert {(leak.slot, leak.kind) for leak in found} >= {
        ("argument", "command line"),
        ("variable", "environment"),
        ("title", "title"),
    }


def test_open_files_are_looked_at(scanner: Scanner, tmp_path: Path) -> None:
    """Also one that has no name any more, and one that never had any."""
    secrets = [scanner.canaries.make(slot) for slot in ("deleted", "nameless")]
    descriptor = os.memfd_create("any")
    try:
        with (tmp_path / "file").open("w+b") as file:
            file.write(secrets[0].encode())
            file.flush()
            (tmp_path / "file").unlink()
            os.write(descriptor, secrets[1].encode())
            found = scanner.look(open_file_places([os.getpid()]))
    finally:
        os.close(descriptor)
    assert {leak.slot for leak in found} == {"deleted", "nameless"}


def test_files_are_looked_at(scanner: Scanner, tmp_path: Path) -> None:
    """Contents and names; a store's pages, also those of rows that were deleted; audit files."""
    secret = scanner.canaries.make("any")
    store = sqlite3.connect(tmp_path / "store.sqlite3")
    store.executescript("PRAGMA journal_mode = WAL; PRAGMA secure_delete = OFF; CREATE TABLE a (b)")
    store.execute("INSERT INTO a VALUES (?)", [secret])
    store.commit()
    store.execute("DELETE FROM a")
    store.commit()
    assert seen(scanner, file_places(tmp_path, "file")) == {"store page"}
    store.close()
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit-0.jsonl").write_text(json.dumps({"sql": secret}))
    (tmp_path / "any").write_text(f"x={secret}")
    assert seen(scanner, file_places(tmp_path, "file")) == {"store page", "audit file", "file"}
    assert "file" not in seen(scanner, file_places(tmp_path, "file", but=[tmp_path / "any"]))
    plain = scanner.canaries.make_plain("name")
    (tmp_path / f"{plain}.txt").touch()
    assert "name" in {leak.slot for leak in scanner.look(file_places(tmp_path, "file"))}


def test_commands_are_listened_to(scanner: Scanner) -> None:
    """Both streams, and what nobody foresaw."""
    secret = scanner.canaries.make_plain("any")
    for done in (run_here(["no-such-command", secret], {}), run_here([secret], {}), run_apart([secret], {})):
        assert done.status == 2
        assert scanner.look([Place("command output", "", f"{done.said}{done.words}".encode())])
    assert scanner.look([Place("command output", "", run_apart([secret], {}).said.encode())])


def test_the_server_is_looked_at(scanner: Scanner, talkative: Upstream) -> None:
    """Its log: statements, values, and those that fail; what shows other sessions and former statements; what is stored."""
    slots = ("statement", "value", "failed", "role")
    secrets = {slot: scanner.canaries.make_plain(slot) for slot in slots}
    with talkative.connect("template1") as connection:
        connection.execute(f"SELECT 1 AS {secrets['statement']}")  # type: ignore[arg-type]
        connection.execute("SELECT %s::text", [secrets["value"]])
        with pytest.raises(psycopg.Error):
            connection.execute(f"SELEC '{secrets['failed']}'")  # type: ignore[arg-type]
        with talkative.connect("template1") as other:
            other.execute(f"SELECT 1 AS {secrets['role']}")  # type: ignore[arg-type]
            found = scanner.look(activity_places(connection))
    assert {(leak.slot, leak.kind) for leak in found} >= {("statement", "pg_stat_statements"), ("role", "pg_stat_activity")}
    assert talkative.log_file is not None
    logged = scanner.look(log_places([talkative.log_file], "upstream's log"))
    assert {leak.slot for leak in logged} == set(slots)
