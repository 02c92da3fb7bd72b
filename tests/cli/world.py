"""The same commands against this machine's store, and against a real admin API process on loopback."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.main import run
from tests.support.short_names import SHORT_NAMES_TOML


@dataclass(frozen=True)
class Done:
    stdout: str
    stderr: str


class Stdin(io.TextIOWrapper):
    """Not a terminal."""

    def __init__(self, text: str) -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8")


@dataclass
class World:
    """`options` stand behind every command; `actor` is who the audit names."""

    folder: Path
    options: tuple[str, ...] = ()
    actor: str = ""
    secrets: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "pgbastion.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def is_remote(self) -> bool:
        return bool(self.options)

    def run(self, *words: str, given: str = "", status: int = 0) -> Done:
        out, err = io.StringIO(), io.StringIO()
        code: int | str | None = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", Stdin(given))
            patch.setenv("PGBASTION_CONFIG", str(self.config))
            before = dict(os.environ)
            try:
                run([*words, *self.options])
            except SystemExit as end:
                code = end.code or 0
            finally:  # options before the command are kept in the environment
                os.environ.clear()
                os.environ.update(before)
        done = Done(out.getvalue(), err.getvalue())
        assert code == status, (words, code, done)
        assert "Traceback" not in done.stderr
        assert not any(secret in done.stdout + done.stderr for secret in self.secrets), words
        return done

    def json(self, *words: str, given: str = "", status: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", given=given, status=status).stdout)

    def json_lines(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*words, "--json").stdout.splitlines()]

    def error(self, *words: str, given: str = "") -> str:
        return self.run(*words, given=given, status=1).stderr

    def here(self) -> "World":
        """The same store, from this machine."""
        return World(self.folder)


def make_world(folder: Path) -> World:
    patient = "[store]\nstale_after_seconds = 60\n"  # this machine may be busy with other tests
    (folder / "pgbastion.toml").write_text(f'state_dir = "state"\n[admin_api]\nport = 0\n{patient}{SHORT_NAMES_TOML}')
    return World(folder, actor=f"os:{_account()}")


@contextlib.contextmanager
def served(world: World) -> Iterator[World]:
    """The world as somebody elsewhere sees it: `python -m admin_api` runs, and a token is in a file."""
    token = world.json("tokens", "create", "far", "--expires", "1h")["token"]
    file = world.folder / "token"
    file.touch(mode=0o600)
    file.write_text(f"{token}\n")
    command = [sys.executable, "-P", "-m", "admin_api", "--config", str(world.config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"port (\d+)", line)
            assert found, (line, process.communicate(timeout=5)[1])
            options = ("--url", f"http://127.0.0.1:{found[1]}", "--token-file", str(file))
            yield World(world.folder, options, "token:far", [token])
        finally:
            process.terminate()
            process.communicate(timeout=10)


def _account() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
