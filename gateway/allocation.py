"""How the C library gives out memory in a worker.

uvloop keeps a block of 256 kB for each connection in TLS and uses a page or two of it. Where such a block comes out of memory that
was in use before, it keeps all of its pages; a mapping of its own gets pages as they are touched. Nothing else of that size is
asked for while clients are served (see `shared_buffer`), so that nothing pays for new pages with each read.
"""

import contextlib
import ctypes
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGE_BYTES: Final = 256 * 1024
#: So much may stay free at the end of the heap: to give it back and fetch it again costs more than it is worth.
_KEPT_BYTES: Final = 8 * 1024 * 1024


def map_large_blocks() -> None:
    """glibc's only: others are left as they are."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
