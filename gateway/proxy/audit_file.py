"""One worker's audit file: opened for appending, repaired after a crash, rotated by size. Knows nothing of records' order."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

Action = Callable[[bool], None]

sync_data: Final = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter

_log: Final = structlog.stdlib.get_logger("gateway.audit")

_PATIENCE_SECONDS: Final = 1.0
_TAIL_BYTES: Final = 64 * 1024


class AuditFileError(Exception):
    """The trail cannot be opened; the text is for people."""


class AuditFile:
    """`<directory>/<stem>.jsonl`, ours alone. Raises AuditFileError when it cannot be opened.

    `last` is the last whole record, empty when there is none, and `last_seq` its number. `torn_bytes` is what a crash left of a
    record at the end; the next write begins on a new line.
    """

    def __init__(self, directory: Path, stem: str) -> None:
        self._directory = directory
        self._stem = stem
        self._path = directory / f"{self._stem}.jsonl"
        self.size = 0
        self.torn_bytes = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.fd = self._open()
            self.torn_bytes = self._find_torn_bytes()
            self.last = self._find_last()
            self.last_seq = _seq_of(self.last)
        except OSError as error:
            raise AuditFileError(f"cannot open the audit trail {self._path}: {error.strerror or error}") from error
        self._needs_newline = self.torn_bytes > 0

    def write(self, data: bytes) -> None:
        """All of it, or OSError and as good as nothing: what was written is cut off again, or else ended as a torn line."""
        if self._needs_newline:
            data = b"\n" + data
        written = 0
        try:
            while written < len(data):
                written += os.write(self.fd, data[written:] if written else data)
        except OSError:
            if written:
                self._cut_off(written)
            raise
        self.size += written
        self._needs_newline = False

    def mend(self, known: bytes) -> None:
        """Cut off the torn record at the end if it is the beginning of these lines, which are to be written. Raises OSError."""
        if self.torn_bytes and known.startswith(os.pread(self.fd, self.torn_bytes, self.size - self.torn_bytes)):
            os.ftruncate(self.fd, self.size - self.torn_bytes)
            self.size -= self.torn_bytes
            self.torn_bytes, self._needs_newline = 0, False

    def _cut_off(self, written: int) -> None:
        try:
            os.ftruncate(self.fd, self.size)
        except OSError:  # an append-only file
            self._needs_newline = True
            self.size += written

    def rotate(self, last_seq: int) -> int:
        """Go on in a new file. The former one is renamed; its descriptor is returned, to be synced and closed.

        Raises OSError; then the same file is still in use (perhaps under its new name).
        """
        name = f"{self._stem}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{last_seq}.jsonl"
        if self._path.exists():
            self._path.rename(self._directory / name)
        former, self.fd = self.fd, self._open()
        self.size, self._needs_newline = 0, False
        return former

    def paths(self) -> list[Path]:
        """All files of this worker, newest first."""
        return [self._path, *self._rotated()]

    def _rotated(self) -> list[Path]:
        rotated = [path for path in self._directory.glob(f"{self._stem}-*Z-*.jsonl") if _seq_in_name(path) is not None]
        return sorted(rotated, key=lambda path: _seq_in_name(path) or 0, reverse=True)

    def sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        os.close(self.fd)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o600)
        if not _lock(fd):
            os.close(fd)
            raise AuditFileError(f"another process writes the audit trail {self._path}")
        self.size = os.fstat(fd).st_size
        return fd

    def _find_torn_bytes(self) -> int:
        if self.size == 0 or os.pread(self.fd, 1, self.size - 1) == b"\n":
            return 0
        for tail in _tails(self.fd, self.size):
            if (at := tail.rfind(b"\n")) >= 0:
                return len(tail) - at - 1
        return self.size

    def _find_last(self) -> Mapping[str, object]:
        if found := last_record(self.fd, self.size):
            return found
        for path in self._rotated()[:1]:
            with path.open("rb") as file:
                found = last_record(file.fileno(), os.fstat(file.fileno()).st_size)
                return found if _seq_of(found) >= (_seq_in_name(path) or 0) else {"seq": _seq_in_name(path)}
        return {}


@dataclass(slots=True)
class Sync:
    """One group commit: what it makes sure of, and who waits for it. `former`: a rotated file, synced too and then closed."""

    file: AuditFile
    fd: int
    former: int | None
    lines: list[bytes]
    actions: list[Action]
    recovers: bool
    failure: OSError | None = None

    def run(self) -> None:
        """Blocks; in the thread."""
        try:
            if self.former is not None:
                sync_data(self.former)
            sync_data(self.fd)
            if self.former is not None:
                self.file.sync_directory()
        except OSError as error:
            self.failure = error
        finally:
            if self.former is not None:
                os.close(self.former)


def run_actions(actions: list[Action], *, written: bool) -> None:
    for action in actions:
        try:
            action(written)
        except Exception:
            # One session's fault must not keep the others' statements back.
            _log.exception("audit release failed")


def archive(former: int, file: AuditFile) -> None:
    """A rotated file is whole on disk before it counts as archived, also in mode "write"."""
    try:
        sync_data(former)
        file.sync_directory()
    except OSError as error:
        _log.warning("rotated audit file not synced", reason=error.strerror)
    finally:
        os.close(former)


def _lock(fd: int) -> bool:
    """Two writers would give each number twice. A former one that was just killed may need a moment to die."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def last_record(fd: int, size: int) -> Mapping[str, object]:
    """The last whole record in a file, empty without one. Each has a number, `seq`."""
    for tail in _tails(fd, size):
        lines = tail.split(b"\n")
        complete = lines[:-1] if len(tail) == size else lines[1:-1]
        for line in reversed(complete):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict) and isinstance(record.get("seq"), int):
                return record
    return {}


def _seq_of(record: Mapping[str, object]) -> int:
    seq = record.get("seq")
    return seq if isinstance(seq, int) else 0


def _tails(fd: int, size: int) -> Iterator[bytes]:
    """Ever longer ends of a file: one record is small, but may be a whole long statement."""
    length = _TAIL_BYTES
    while size:
        yield os.pread(fd, min(length, size), max(size - length, 0))
        if length >= size:
            return
        length *= 16


def _seq_in_name(path: Path) -> int | None:
    last = path.stem.rsplit("-", 1)[-1]
    return int(last) if last.isdecimal() else None
