"""K08: no process of the gateway leaves a core file, and nobody of the same account can look into one."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.canary.places import family
from tests.support.faults import until
from tests.support.gateway import write_config

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc"),
]

#: Runs what follows without root's right to look into anything (CAP_SYS_PTRACE); anybody else has none anyway.
UNPRIVILEGED = [
    sys.executable,
    "-c",
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 19, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])",
]
PARTS = ("serve", "gateway.app", "admin_api", "gateway.judging.child")


@dataclass
class Started:
    folder: Path
    process: "subprocess.Popen[bytes]"

    def parts(self) -> dict[str, psutil.Process]:
        """The processes that there are, by what they run."""
        with contextlib.suppress(psutil.NoSuchProcess):
            words = {each: " ".join(each.cmdline()) for each in family(self.process.pid)}
            return {part: each for part in PARTS for each, said in words.items() if part in said}
        return {}


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    """Where core files may be as large as the account's limit lets them."""
    folder = Path(tempfile.mkdtemp(prefix="pgbastion-"))
    try:
        write_config(folder, admin_api={"port": 0})
        program = [str(Path(sys.executable).with_name("pgbastion")), "serve", "--config", str(folder / "pgbastion.toml")]
        home = {**os.environ, "HOME": str(folder)}
        quiet = subprocess.DEVNULL
        with subprocess.Popen([*UNPRIVILEGED, *program], cwd=folder, env=home, stdout=quiet, stderr=quiet) as process:
            try:
                running = Started(folder, process)
                until(lambda: len(running.parts()) == len(PARTS) and (folder / "state" / "bus.sock").exists(), 120)
                yield running
            finally:
                process.terminate()
                assert process.wait(20) == 0
    finally:
        shutil.rmtree(folder)


def can_be_looked_into(pid: int) -> bool:
    """By another process of the same account, as far as that goes by being of that account."""
    looking = f"open('/proc/{pid}/environ', 'rb').read(); open('/proc/{pid}/mem', 'rb')"
    return subprocess.run([*UNPRIVILEGED, sys.executable, "-c", looking], capture_output=True, check=False).returncode == 0


def test_another_process_can_be_looked_into() -> None:
    """Otherwise the next test would show nothing."""
    with subprocess.Popen([*UNPRIVILEGED, sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert can_be_looked_into(process.pid)
        process.communicate(b"\n")


@pytest.mark.parametrize("part", PARTS)
def test_no_process_can_be_looked_into(started: Started, part: str) -> None:
    pid = started.parts()[part].pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    until(lambda: not can_be_looked_into(pid), 10)  # a child says so when it has begun


@pytest.mark.parametrize("part", PARTS[1:])
def test_a_crash_leaves_no_core(started: Started, part: str) -> None:
    until(lambda: part in started.parts() or part == PARTS[-1], 60)
    process = started.parts().get(part)  # a judge comes back when it is needed
    if process is not None:
        process.send_signal(signal.SIGSEGV)
        process.wait(10)
    assert not [path for path in started.folder.rglob("*core*") if path.is_file()]


def test_a_command_leaves_no_core() -> None:
    """It knows what was typed."""
    program = """
import resource
from gateway.cli.main import run
try:
    run(["--version"])
except SystemExit:
    print(resource.getrlimit(resource.RLIMIT_CORE))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("(0, 0)\n")
