"""How the C library hands out memory: what a session only borrows shall go back."""

import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3  # malloc.h
_LARGE_BYTES: Final = 256 * 1024


def map_large_blocks() -> bool:
    """From 256 KiB on, each block gets pages of its own; answers whether the C library can do that (glibc).

    By itself glibc raises that bound after the first such block was freed. uvloop has a block of this size for each TLS
    connection and touches little of it: in pages of its own it costs an idle connection 24 kB less than in memory that was used
    before. Reads of uvloop's are smaller (250 KiB), and stay in the heap.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES))
    except (AttributeError, OSError):
        return False
