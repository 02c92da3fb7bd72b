"""Large blocks have pages of their own, also after one was freed. In a process of its own: the bound is the process's."""

import platform
import subprocess
import sys

import pytest

_COUNT = """
import ctypes
from gateway.allocation import map_large_blocks

class Counts(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keep"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.mallinfo2.restype = Counts
{call}
libc.free(libc.malloc(256 * 1024))
before = libc.mallinfo2().hblks
kept = libc.malloc(256 * 1024)
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library hands out memory by other rules")
@pytest.mark.parametrize(("call", "mapped"), [("assert map_large_blocks()", "1"), ("", "0")])
def test_a_large_block_is_mapped_although_one_was_freed(call: str, mapped: str) -> None:
    """The second case shows that it is our call that does it."""
    done = subprocess.run([sys.executable, "-c", _COUNT.format(call=call)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == mapped
