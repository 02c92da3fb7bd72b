"""The files of a trail: `audit-<worker>.jsonl` and `admin.jsonl` grow; those with `-<time>-<last seq>` were rotated away."""

import contextlib
import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from gateway.trails.records import read_head

BLOCK_BYTES: Final = 1024 * 1024
CLOCK_MARGIN: Final = timedelta(hours=25)  # a clock may be set back by a day

ADMIN: Final = "admin"
"""The source of operators' changes. Its records are numbered by the store, and anew once that was restored from a backup."""

_NAME: Final = re.compile(r"(audit-[0-9]+|admin)(?:-(\d{8}T\d{6}Z)-(\d+))?\.jsonl")
_PROBE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Rotated:
    """`at`: when it was closed; `seq`: of its last record."""

    path: Path
    at: datetime
    seq: int


def find_sources(directory: Path) -> list[str]:
    """All that ever wrote here: workers by number, then others. Raises OSError for a directory that cannot be read."""
    found = {match[1].removeprefix("audit-") for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))}
    return sorted(found, key=lambda source: (not source.isdecimal(), int(source) if source.isdecimal() else 0, source))


def stem_of(source: str) -> str:
    return source if source == ADMIN else f"audit-{source}"


def open_current(directory: Path, source: str) -> BinaryIO | None:
    """The file that grows; None: there is none at the moment."""
    try:
        return (directory / f"{stem_of(source)}.jsonl").open("rb")
    except FileNotFoundError:
        return None


def find_rotated(directory: Path, source: str, held: BinaryIO | None) -> list[Rotated]:
    """Oldest first, without the one that is held open (which may be rotated away by now)."""
    same = os.fstat(held.fileno()) if held is not None else None
    found = []
    for path in directory.iterdir():
        match = _NAME.fullmatch(path.name)
        if match is None or match[2] is None or match[1] != stem_of(source):
            continue
        if same is None or not os.path.samestat(same, path.stat()):
            found.append(Rotated(path, datetime.strptime(f"{match[2]}+0000", "%Y%m%dT%H%M%SZ%z"), int(match[3])))
    return sorted(found, key=lambda rotated: (rotated.at, rotated.seq) if source == ADMIN else rotated.seq)


def look(directory: Path) -> frozenset[tuple[str, int, int]]:
    """Another value whenever something was written: each growing file with its number and size. Raises OSError."""
    found = set()
    for path in directory.iterdir():
        match = _NAME.fullmatch(path.name)
        if match is not None and match[2] is None:
            with contextlib.suppress(FileNotFoundError):  # rotated away just now
                status = path.stat()
                found.add((path.name, status.st_ino, status.st_size))
    return frozenset(found)


def blocks_forward(file: BinaryIO, start: int) -> Generator[bytes, None, bytes]:
    """Whole lines, some at a time, from `start` (where a line begins) on; returns what stands behind the last line's end."""
    file.seek(start)
    rest = b""
    while data := file.read(BLOCK_BYTES):
        data = rest + data
        cut = data.rfind(b"\n") + 1
        if cut:
            yield data[:cut]
        rest = data[cut:]
    return rest


def blocks_backward(file: BinaryIO, end: int) -> Generator[bytes, None, None]:
    """Whole lines, some at a time, the last ones first, from before `end`. What follows the last line feed is left out."""
    position, rest, ended = end, b"", False
    while position > 0:
        length = min(BLOCK_BYTES, position)
        position -= length
        file.seek(position)
        data = file.read(length) + rest
        if not ended:
            data = data[: data.rfind(b"\n") + 1]
            ended = bool(data)
        begin = data.find(b"\n") + 1 if position else 0
        rest = data[:begin]
        if begin < len(data):
            yield data[begin:]


def find_seq(file: BinaryIO, size: int, seq: int) -> tuple[int, int]:
    """Two beginnings of lines: every record numbered `seq` or higher is behind the first, every lower one before the second."""
    low, high = 0, size
    low_line, high_line = 0, size
    while high - low > _PROBE_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        data = file.read(_PROBE_BYTES)
        begin = data.find(b"\n") + 1
        end = data.find(b"\n", begin)
        head = read_head(data[begin:end]) if begin and end > 0 else None
        if head is None:
            break  # a very long line: near enough
        if head[1] < seq:
            low, low_line = middle, middle + begin
        else:
            high, high_line = middle, middle + begin
    return low_line, high_line
