"""What ran, on what: for the head of the report."""

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.bench.proxies.ground import Ground
from tests.bench.proxies.processes import find_program

#: Program, how it is asked, and what its answer calls itself.
_ASKED: Final = (
    ("PgBouncer", "pgbouncer", "--version", r"PgBouncer (\S+)"),
    ("pgpool-II", "pgpool", "--version", r"version (\S+)"),
    ("haproxy", "haproxy", "-v", r"[Vv]ersion (\S+)"),
    ("OpenSSH", "ssh", "-V", r"OpenSSH_(\S+?),?\s"),
    ("pgbench", "pgbench", "--version", r"PostgreSQL\) (\S+)"),
)
_LIBRARIES: Final = ("uvloop", "pglast", "cryptography")


@dataclass(frozen=True, slots=True)
class Machine:
    """`versions`: name and version, in order."""

    cpus: int
    cpu_model: str
    memory_gib: float
    system: str
    versions: tuple[tuple[str, str], ...]


def this_machine(ground: Ground) -> Machine:
    upstream = ground.database.upstream
    with upstream.connect() as connection:
        row = connection.execute("SHOW server_version").fetchone()
    found = [("pgbastion", version("pgbastion")), ("Python", f"{platform.python_version()} ({_build()})")]
    found += [(library, version(library)) for library in _LIBRARIES]
    found += [("PostgreSQL", str(row[0]).split(" ")[0] if row else "?")]
    for name, program, option, pattern in _ASKED:
        said = _say(program, option)
        if said is not None:
            match = re.search(pattern, said)
            found.append((name, match[1] if match else "?"))
    return Machine(len(os.sched_getaffinity(0)), _cpu_model(), _memory_gib(), _system(), tuple(found))


def _build() -> str:
    """Whose the interpreter is: Debian's is optimised with profiles, which is worth a fifth, and tells nobody so."""
    return "the distribution's" if sys.base_prefix == "/usr" else "another build than the distribution's"


def _say(program: str, option: str) -> str | None:
    """What it prints about itself; None when it is not installed."""
    path = find_program(program)
    if path is None:
        return None
    done = subprocess.run([path, option], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return f"{done.stdout} {done.stderr} "


def _cpu_model() -> str:
    match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1] if match else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        name = "Linux"
    return f"{name}, Linux {'.'.join(platform.release().split('.')[:2])}"
