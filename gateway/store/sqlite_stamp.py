"""Whether anybody can have written to an SQLite file since one looked, by two calls of the kernel: opening it reads the schema."""

import time
from pathlib import Path
from typing import Final, TypeAlias

Stamp: TypeAlias = tuple[tuple[int, int, int], ...]

_SETTLED_SECONDS: Final = 0.1
"""Times of files move in steps (some 4 to 10 ms): what was written a moment ago may be written again within the same one."""


def stamp(path: Path) -> Stamp | None:
    """Of the file and of its log (-wal), into which each commit goes. Equal stamps: nothing was written in between.

    None, which equals nothing of use: something was written just now, or the clock says so. Raises OSError.
    """
    found = []
    for each in (path, path.with_name(f"{path.name}-wal")):
        try:
            state = each.stat()
        except FileNotFoundError:
            if each is path:
                raise
            found.append((0, 0, 0))  # nothing to log yet
        else:
            if state.st_mtime > time.time() - _SETTLED_SECONDS:
                return None
            found.append((state.st_ino, state.st_size, state.st_mtime_ns))
    return tuple(found)
