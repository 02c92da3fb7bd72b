"""The command, as a person runs it."""

import os
import subprocess
import sys
from pathlib import Path


def run_pgbastion(config: Path, *arguments: str, stdin: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
    """In the configuration's folder. `variables` are added to the environment."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("pgbastion")), *arguments],
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
