"""Start and stop programs of ours, unprivileged, and read from /proc what their process trees cost."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from gateway.demo.binaries import Account, server_account

_STOP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Snapshot:
    """On-CPU nanoseconds of each thread of a process tree, by "pid/thread"."""

    nanoseconds: dict[str, int]

    def seconds_since(self, earlier: "Snapshot") -> float:
        """Of threads that still live; what has ended in between is lost (schedstat goes with the thread)."""
        before = earlier.nanoseconds
        return sum(value - before.get(thread, 0) for thread, value in self.nanoseconds.items()) / 1e9


def find_program(name: str) -> str | None:
    """Its path; Debian keeps servers where only root's PATH looks."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def tree(roots: Sequence[int]) -> list[int]:
    """The roots and all their descendants that live."""
    found = list(roots)
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child.pid for child in psutil.Process(root).children(recursive=True)]
    return found


def snapshot(roots: Sequence[int]) -> Snapshot:
    """schedstat of all threads: exact, where utime counts ticks."""
    taken: dict[str, int] = {}
    for pid in tree(roots):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                taken[f"{pid}/{task.name}"] = int((task / "schedstat").read_text().split()[0])
    return Snapshot(taken)


def memory_bytes(roots: Sequence[int]) -> int:
    """Proportional set size: what is shared counts once. The kernel's own socket buffers are not in it."""
    total = 0
    for pid in tree(roots):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


@contextlib.contextmanager
def home_of_its_own(name: str) -> Iterator[Path]:
    """A folder for configuration and sockets, which `hand_over` gives to the account that the program will have."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-", ignore_cleanup_errors=True) as made:
        yield Path(made)


def hand_over(home: Path) -> None:
    """As root, everything in `home` becomes the unprivileged account's, and nobody else's."""
    if os.geteuid() == 0:
        account = server_account()
        for path in (home, *home.rglob("*")):
            os.chown(path, account.uid, account.gid)
    home.chmod(0o700)


@contextlib.contextmanager
def running(command: Sequence[str | Path], home: Path) -> Iterator[int]:
    """Its process id, while it runs. What it says goes to `home`/log, and comes with the exception if it ends by itself."""
    account: Account | None = server_account() if os.geteuid() == 0 else None
    log = home / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home,
            env={"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin", "HOME": str(home), "LC_ALL": "C"},
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    try:
        yield process.pid
    except Exception as error:
        if process.poll() is not None:
            error.add_note(f"{command[0]} ended with {process.returncode}: {log.read_text(errors='replace')[-1500:]}")
        raise
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)
