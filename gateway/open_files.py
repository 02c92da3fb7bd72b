"""How many files a process may have open: each connection is one, so that each session takes two."""

import contextlib
import resource
import sys
from pathlib import Path
from typing import Final

#: More than any gateway needs. A container may set no limit to speak of, which programs that look at each number would feel.
_MOST: Final = 1 << 20
UNLIMITED: Final = sys.maxsize


def allow_most_files() -> int:
    """As many as the hard limit lets this process have, and those that it starts; the limit in force then.

    The soft limit that shells and engines give (1,024 mostly) is for programs that use select(2), which nobody does here.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return files_allowed()


def files_allowed() -> int:
    """Of this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def files_allowed_of(pid: int) -> int | None:
    """Of another process on this machine; None where it cannot be seen."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
            if line.startswith("Max open files"):
                soft = line.removeprefix("Max open files").split()[0]
                return UNLIMITED if soft == "unlimited" else int(soft)
    return None
