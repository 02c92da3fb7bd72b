"""A worker's journal: records are written the moment they are copied here, and drained into the trail's file later.

The journal is a small file that is mapped into memory and shared with the operating system: what stands in the mapping stands in
the page cache, where a write(2) would have put it too, so a SIGKILL of the gateway loses none of it. A record counts from the
moment in which the committed length behind it is set, one aligned store, so that a kill in the middle of a copy leaves no half
record. Whoever opens the journal next drains what its file has not: records carry numbers.

Its blocks are allocated and written once when it is made, and it lives only on file systems that overwrite in place: elsewhere
(btrfs, ZFS, network file systems) a full disk could make a mere store fail, with SIGBUS.
"""

import json
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from gateway.compiled import twin_of

_SIZE: Final = 1024 * 1024
_MAGIC: Final = b"pgbastn1"
_HEADER_SIZE: Final = 64  # the magic, the committed length, and room
_IN_PLACE: Final = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs", "overlay"})
_MOUNTS: Final = Path("/proc/self/mountinfo")
_log: Final = structlog.stdlib.get_logger("gateway.audit")


class PureJournal:
    """One mapping of a whole journal, one writer (who holds the lock of the trail's file). The mapping is closed with it."""

    __slots__ = ("_committed", "_end", "_map")

    def __init__(self, mapping: mmap.mmap) -> None:
        self._map = mapping
        self._committed = memoryview(self._map)[len(_MAGIC) : len(_MAGIC) + 8].cast("Q")
        self._end = min(max(self._committed[0], _HEADER_SIZE), _SIZE)

    def put(self, lines: bytes) -> bool:
        """Whole lines, written when this returns. False: no room, nothing was done."""
        begin = self._end
        end = begin + len(lines)
        if end > _SIZE:
            return False
        self._map[begin:end] = lines
        self._committed[0] = self._end = end
        return True

    def pending(self) -> bytes:
        """All lines since the last `clear`."""
        return self._map[_HEADER_SIZE : self._end]

    def clear(self) -> None:
        """What was pending is in the file now."""
        self._committed[0] = self._end = _HEADER_SIZE

    def close(self) -> None:
        self._committed.release()
        self._map.close()


class Outlet:
    """Of a trail. `at_once`: where records go in the call that brings them; None while they must take the other way."""

    __slots__ = ("at_once",)

    at_once: PureJournal | None


_twin: Final = twin_of(__name__)
Journal: Final[type[PureJournal]] = _twin.Journal if _twin is not None else PureJournal
if not TYPE_CHECKING and _twin is not None:
    Outlet = _twin.Outlet


def _mapped(path: Path) -> mmap.mmap:
    """Raises OSError when it cannot be made or read."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(fd).st_size != _SIZE or os.pread(fd, len(_MAGIC), 0) != _MAGIC:
            _make(fd)
        return mmap.mmap(fd, _SIZE)
    finally:
        os.close(fd)


def _make(fd: int) -> None:
    """All blocks allocated and written: a store into the mapping never needs space. The magic comes last."""
    os.ftruncate(fd, 0)
    os.posix_fallocate(fd, 0, _SIZE)
    os.pwrite(fd, bytes(_SIZE), 0)
    os.pwrite(fd, _MAGIC, 0)


def open_journal(path: Path) -> PureJournal:
    """Raises OSError, also where a journal would not be safe."""
    if not hasattr(os, "posix_fallocate"):
        raise OSError("no posix_fallocate here")
    if (kind := _file_system(path.parent)) not in _IN_PLACE:
        raise OSError(f"the file system ({kind or 'unknown'}) does not overwrite in place")
    return Journal(_mapped(path))


def empty_journal(path: Path) -> PureJournal | None:
    """For a worker whose file has all that the journal held; None where there can be none."""
    try:
        journal = open_journal(path)
    except OSError as error:
        _log.info("the audit trail works without a journal", reason=str(error))
        return None
    journal.clear()
    return journal


def left_in(path: Path, last_seq: int) -> tuple[bytes, int]:
    """The lines of a journal that its file (whose last record has this number) does not hold, and how many bytes are damaged.

    A kill damages nothing; a loss of power may leave any pages of it old. Raises OSError.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b"", 0
    if not data.startswith(_MAGIC):
        return b"", 0  # a kill while it was made
    end = memoryview(data)[len(_MAGIC) : len(_MAGIC) + 8].cast("Q")[0]
    lines = data[_HEADER_SIZE:end].splitlines(keepends=True)
    seqs = [_seq_of(line) for line in lines]
    good = next((n for n, seq in enumerate(seqs) if not seq or (n and seq != seqs[n - 1] + 1)), len(lines))
    left = [line for line, seq in zip(lines[:good], seqs, strict=False) if seq > last_seq]
    return b"".join(left), sum(map(len, lines[good:]))


def _seq_of(line: bytes) -> int:
    """0: this is no record."""
    try:
        return int(json.loads(line)["seq"]) if line.endswith(b"\n") else 0
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0


def _file_system(directory: Path) -> str:
    """The kind of the mount that holds it, "" when that cannot be found out."""
    place, found, longest = str(directory.resolve()), "", -1
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in mounts:
        before, _, after = line.partition(" - ")
        mount_point = before.split(" ")[4].encode("utf-8", "surrogateescape").decode("unicode_escape", "replace")
        inside = place == mount_point or place.startswith(mount_point.rstrip("/") + "/")
        if inside and len(mount_point) >= longest:
            found, longest = after.split(" ")[0], len(mount_point)
    return found
