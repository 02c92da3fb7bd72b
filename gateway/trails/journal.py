"""What a killed worker left in its journal, until the next one drains it into the trail's file.

A living worker drains its own within milliseconds; it holds the lock of its file, which is how it is known to live.
"""

import fcntl
import struct
from pathlib import Path
from typing import BinaryIO, Final

_MAGIC: Final = b"pgbastn1"
_LENGTH: Final = struct.Struct("=Q")  # behind the magic: where the last whole record ends
_HEADER_BYTES: Final = 64


def left_in_journal(directory: Path, source: str, current: BinaryIO | None) -> bytes:
    """Whole lines, nothing while the worker lives. Some of them may stand in its file already."""
    path = directory / f"audit-{source}.journal"
    if current is not None and _is_locked(current):
        return b""
    try:
        data = path.read_bytes()
    except OSError:
        return b""
    if not data.startswith(_MAGIC) or len(data) < _HEADER_BYTES:
        return b""
    lines = data[_HEADER_BYTES : _LENGTH.unpack_from(data, len(_MAGIC))[0]]
    return lines[: lines.rfind(b"\n") + 1]


def _is_locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return False
