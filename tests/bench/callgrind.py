"""Programs that start under valgrind's callgrind, idle until they are told to count; and what they have counted, by library.

Simulated instructions of user space alone: the kernel's are not seen.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.proxies.processes import find_program

_NAMED: Final = re.compile(r"(fn|ob|c?fn|c?ob)=\((\d+)\)(?: (.*))?$")
_MARK: Final = "--tool=callgrind"
#: Of a worker counts what its event loop does with sockets, but not that the twins set the timer that drains the journal: timers
#: go by the clock, and under callgrind there are a hundred times more of them for each query.
_TOGGLES: Final = ("uv__io_poll", "*Steady_drain_later")
_USER: Final = "bench"  # part of the name of the pipe by which a process under valgrind is told something


@dataclass(frozen=True, slots=True)
class Place:
    """A function, and the file that its code is in."""

    library: str
    function: str


@contextlib.contextmanager
def callgrind_instead(programs: Sequence[str]) -> Iterator["Callgrind"]:
    """Meanwhile these, and workers of a gateway, start under callgrind. Raises RuntimeError without valgrind."""
    if find_program("valgrind") is None:
        raise RuntimeError("valgrind is not installed (Debian: valgrind)")
    with tempfile.TemporaryDirectory(prefix="bench-callgrind-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o777)  # a program may run as another user
        count = f"LOGNAME={_USER} exec valgrind {_MARK} -q --instr-atstart=no --separate-threads=yes" + (
            f" --vgdb-prefix={folder}/vgdb --callgrind-out-file={folder}/out.%p"
        )
        for program in programs:
            if (path := find_program(program)) is not None:
                _script(folder / program, f'{count} {path} "$@"')
        python = sys.executable
        # The first worker alone: the spare, which starts behind it, would only be slow.
        counted = " ".join([count, *(f"--toggle-collect={name}" for name in _TOGGLES), python])
        worker = f'*" gateway.app "*) mkdir {folder}/begun 2>/dev/null && {counted} "$@";;'
        _script(folder / "python", f'case " $* " in {worker} esac\nexec {python} "$@"')
        serve = f"import sys; sys.executable = '{folder}/python'; from gateway.cli.main import run; run()"
        _script(folder / "pgbastion", f'exec {python} -P -c "{serve}" "$@"')
        path_before, sys.executable = os.environ.get("PATH", os.defpath), str(folder / "python")
        os.environ["PATH"] = f"{folder}:{path_before}"
        try:
            yield Callgrind(folder)
        finally:
            os.environ["PATH"], sys.executable = path_before, python


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


@dataclass(frozen=True, slots=True)
class Callgrind:
    folder: Path

    def begin(self, pid: int) -> None:
        """Count from here on, in this process, which was started under callgrind."""
        self._tell(pid, "instrumentation", "on")
        self._tell(pid, "zero")

    def counted(self, pid: int) -> Counter[Place]:
        """Instructions of its main thread since `begin`, or since the last answer."""
        self._tell(pid, "dump")
        found: Counter[Place] = Counter()
        for path in self.folder.glob(f"out.{pid}.*"):
            if path.name.endswith("-01"):
                with path.open(errors="replace") as lines:
                    found += own_costs(lines)
            path.unlink()
        return found

    def _tell(self, pid: int, *words: str) -> None:
        command = ["vgdb", f"--vgdb-prefix={self.folder}/vgdb", f"--pid={pid}", *words]
        environment = {**os.environ, "LOGNAME": _USER}
        owner = Path(f"/proc/{pid}").stat().st_uid  # only to the same user it speaks
        user = owner if owner != os.geteuid() else None
        subprocess.run(command, env=environment, user=user, check=True, timeout=60, capture_output=True)


def own_costs(lines: Iterable[str]) -> Counter[Place]:
    """What each function cost by itself, of a file in callgrind's format."""
    names: dict[tuple[str, str], str] = {}
    found: Counter[Place] = Counter()
    library = function = ""
    of_call = False
    for line in lines:
        if match := _NAMED.match(line.rstrip("\n")):
            kind, number, name = match.groups()
            key = kind[-2:], number
            if name is not None:
                names[key] = name
            if kind == "ob":
                library = names[key]
            elif kind == "fn":
                function = names[key]
        elif line.startswith("calls="):
            of_call = True
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            if not of_call:
                found[Place(library, function)] += int(line.split()[1])
            of_call = False
    return found
