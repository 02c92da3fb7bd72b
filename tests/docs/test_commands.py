"""Every command that the documents show is run, in their order, against a real gateway and a real PostgreSQL.

A fenced block ```console holds commands behind `$ ` (a line ending in a backslash goes on); behind `ana$ ` they are run from
elsewhere, as a person who signed in. What stands below a command is what it prints, for the reader: only "error: ...",
"refused ..." and "(exit status 1)" are held against it (the command must fail then).
`pgbastion serve` is started and kept running, but for a `pgbastion restore`. Commands of an init system or a container engine are
named in `NOT_HERE`.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.site import places, prepare, tunnel
from tests.support.commands import PROGRAM, quick_program
from tests.support.upstream import Database, Upstream

ROOT = Path(__file__).parents[2]
NOT_HERE = ("systemctl ", "journalctl ", "docker ", "sudo ")
DOCUMENTS = ("admin.md", "operations.md", "api.md", "migration.md", "requests.md")
PEOPLE = {"ana": "ana_diaz", "ben": "ben_okoro"}
_READY_SECONDS = 120  # of a busy machine; one that cannot start says so at once
_FAILS = "(exit status 1)"
_SERVE = "pgbastion serve"
_RESTORE = "pgbastion restore"
_PROMPT = re.compile(r"(ana|ben)?\$ ")
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    text: str
    line: int
    expects_error: str
    person: str | None = None


def commands_of(text: str) -> list[Command]:
    found: list[Command] = []
    for block in _BLOCK.finditer(text):
        first = text[: block.start(1)].count("\n") + 1
        lines = block[1].splitlines()
        number = 0
        while number < len(lines):
            if (prompt := _PROMPT.match(lines[number])) is None:
                number += 1
                continue
            start, command = number, lines[number][prompt.end() :]
            while command.endswith("\\"):
                number += 1
                command = command[:-1] + lines[number].strip()
            number += 1
            printed = []
            while number < len(lines) and not _PROMPT.match(lines[number]):
                printed.append(lines[number])
                number += 1
            error = next((line for line in printed if line.startswith(("error: ", "refused ", _FAILS))), "")
            found.append(Command(command, first + start, error, prompt[1]))
    return found


@dataclass
class Site:
    """A folder that stands for the reader's machine. `places`: what the documents call something, and its name here."""

    folder: Path
    places: dict[str, str]
    serving: "subprocess.Popen[str] | None" = None

    def localized(self, command: str) -> str:
        for theirs, here in self.places.items():
            command = command.replace(theirs, here)
        return command

    def run(self, command: Command) -> "subprocess.CompletedProcess[str]":
        text = self.localized(command.text)
        if command.person is not None:
            return self.shell(text, self.signed_in(command.person))
        script = f'{text}\nstatus=$?\nexport -p > "{self.folder}/exported"\nexit $status'
        before = self.folder / "exported"
        prefix = f'. "{before}"\n' if before.exists() else ""
        return self.shell(prefix + script, self.environment())

    def shell(self, script: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=environment,
            text=True,
            capture_output=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def signed_in(self, person: str) -> dict[str, str]:
        """As `pgbastion login` would leave it: the API's place, and a token that is the person's own."""
        file = self.folder / f"{person}.token"
        if not file.exists():
            config = self.folder / "etc" / "pgbastion.toml"
            words = f"pgbastion tokens create of-{person} --user {PEOPLE[person]} --expires 1h --config {config}"
            made = self.shell(f"umask 077; {words} > {file}", self.environment())
            assert made.returncode == 0, made.stderr
        url = f"http://{self.places['127.0.0.1:6480']}"
        return {**self.environment(), "PGBASTION_URL": url, "PGBASTION_TOKEN_FILE": str(file)}

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PGBASTION_", "PG"))}
        return {**kept, "PATH": f"{quick_program().parent}:{kept['PATH']}"}

    def serve(self, command: str) -> None:
        self.serving = subprocess.Popen(
            ["bash", "-c", f"exec {PROGRAM.parent}/{self.localized(command)}"],
            cwd=self.folder,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        lines: list[str] = []
        out = self.serving.stdout
        assert out is not None
        threading.Thread(target=lambda: lines.extend(out), daemon=True).start()
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            text = "".join(lines)
            if "ready on" in text:
                return
            assert self.serving.poll() is None, text
            time.sleep(0.05)
        raise AssertionError(f"not ready: {''.join(lines)}")

    def stop(self) -> None:
        if self.serving is not None and self.serving.poll() is None:
            self.serving.send_signal(signal.SIGTERM)
            self.serving.wait(20)
        self.serving = None


@pytest.fixture
def site(tmp_path: Path, postgres: Upstream, database: Database) -> Iterator[Site]:
    api_port = prepare(tmp_path, postgres, database)
    made = Site(tmp_path, places(tmp_path, postgres, database, api_port))
    with tunnel(tmp_path, postgres, database):
        try:
            yield made
        finally:
            made.stop()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_the_documents_does_what_it_says(document: str, site: Site) -> None:
    commands = commands_of((ROOT / "docs" / document).read_text())
    assert commands
    if not any(command.text.startswith(_SERVE) for command in commands):
        site.serve(f"{_SERVE} --config /etc/pgbastion/pgbastion.toml")
    for command in commands:
        where = f"docs/{document}:{command.line}: {command.text}"
        if command.text.startswith(NOT_HERE):
            continue
        program = command.text.split()[0]
        if program in ("psql", "curl") and shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
        if command.text.startswith(_SERVE):
            site.stop()
            site.serve(command.text)
            continue
        if command.text.startswith(_RESTORE):  # it wants the gateway stopped
            site.stop()
        done = site.run(command)
        if command.text.startswith(_RESTORE):
            site.serve(f"{_SERVE} --config /etc/pgbastion/pgbastion.toml")
        printed = f"{where}\n{done.stdout}\n{done.stderr}"
        if command.expects_error:
            assert done.returncode != 0, printed
            assert command.expects_error == _FAILS or command.expects_error in done.stdout + done.stderr, printed
        else:
            assert done.returncode == 0, printed
