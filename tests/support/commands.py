"""The command, as a person runs it."""

import atexit
import os
import shlex
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

#: What was installed. It loads its modules at each start, which takes it longer than most of what it is asked to do.
PROGRAM = Path(sys.executable).with_name("pgbastion")
_HERE = Path(__file__).parent


@cache
def quick_program() -> Path:
    """A file `pgbastion` that runs commands in processes forked from one that has loaded the modules: see command_server.

    Only for what ends by itself: a signal does not reach the command, and kills it.
    """
    made = tempfile.TemporaryDirectory(prefix="pgbastion-")
    place, program = Path(made.name, "socket"), Path(made.name, "bin", "pgbastion")
    server = subprocess.Popen(
        [sys.executable, "-P", _HERE / "command_server.py", place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"

    @atexit.register
    def end() -> None:
        server.communicate(timeout=30)
        made.cleanup()

    program.parent.mkdir()
    client = shlex.join([sys.executable, "-I", "-S", str(_HERE / "command_client.py"), str(place)])
    program.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
    program.chmod(0o755)
    return program


def run_pgbastion(config: Path, *arguments: str, stdin: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
    """In the configuration's folder. `variables` are added to the environment."""
    return subprocess.run(
        [quick_program(), *arguments],
        cwd=config.parent,
        env={**os.environ, "PGBASTION_CONFIG": str(config), **variables},
        input=stdin,
        text=True,
        capture_output=True,
        timeout=60,
    )


def pgbastion(config: Path, *arguments: str, stdin: str = "", **variables: str) -> str:
    """What it printed; it has to succeed."""
    done = run_pgbastion(config, *arguments, stdin=stdin, **variables)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout
