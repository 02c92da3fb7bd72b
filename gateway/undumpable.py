"""What is in this process's memory stays there: no core file, and no look into it by others of the same account.

Its memory holds upstream passwords, the master key and what people type. A core file would put them on disk, or into the hands of
whatever collects crashes, which asks no limit on sizes, only this mark.
"""

import contextlib
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # of prctl(2)


def forbid_core_files() -> None:
    """Of this process and of what it starts. Whatever collects crashes by a pipe does not heed it: see `forbid_dumps`."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def forbid_dumps() -> None:
    """The same, and on Linux nobody but root may read this process's memory, environment or open files, or trace it.

    A program that this process starts is under its own rules again: it has to say so itself.
    """
    forbid_core_files()
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):  # a C library without it; then the limit has to do
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
