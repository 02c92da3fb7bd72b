"""Reads the trail that the workers write: all files of all workers in order of time, from the start, the end, or as it grows."""

import heapq
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from gateway.cli.output import JsonValue

_NAME: Final = re.compile(r"audit-(\d+)(?:-(\d{8}T\d{6}Z)-(\d+))?\.jsonl")
_BLOCK_BYTES: Final = 256 * 1024
_CLOCK_MARGIN: Final = timedelta(hours=1)  # a clock may be set back


@dataclass(frozen=True, slots=True)
class Entry:
    """One record: its line as written, and what it says. `key` puts the records of all sources in order."""

    key: tuple[str, int, int]
    line: str
    fields: Mapping[str, JsonValue]


@dataclass(slots=True)
class Faults:
    """Lines that were no records, by file: a crash tears at most the last line of its time, and the trail says so itself."""

    lines: dict[str, int] = field(default_factory=dict)

    def add(self, name: str) -> None:
        self.lines[name] = self.lines.get(name, 0) + 1

    def texts(self) -> list[str]:
        return [f"{name}: {n} line{'s' if n > 1 else ''} torn or not a record, left out" for name, n in self.lines.items()]


@dataclass(frozen=True, slots=True)
class _Rotated:
    path: Path
    at: datetime
    seq: int


class WorkerTrail:
    """One worker's files. The current one is opened before the others are looked for, so that a rotation hides nothing."""

    def __init__(self, directory: Path, worker: int, faults: Faults) -> None:
        self._directory = directory
        self.worker = worker
        self._faults = faults
        self._current = self._open_current()
        self._rest = b""
        self._behind = True  # files that were rotated away since the last look may hold unseen records
        self._last_seq = 0
        self._last_at = ""

    def read(self, since: datetime | None) -> Iterator[Entry]:
        """All records, oldest first; files that were closed before `since` are not opened."""
        self._behind = False
        for rotated in self._rotated():
            if since is None or rotated.at >= since - _CLOCK_MARGIN:
                with rotated.path.open("rb") as file:
                    yield from self._entries(file, rotated.path.name)
        yield from self.follow()

    def read_last(self, count: int) -> list[Entry]:
        """The last `count` records; `follow` goes on behind them."""
        self._behind = False
        wanted = max(count, 1)  # to go on, the last one has to be known
        lines: list[bytes] = []
        if self._current is not None:
            lines, self._rest = _last_lines(self._current, wanted)
        for rotated in reversed(self._rotated()):
            if len(lines) >= wanted:
                break
            with rotated.path.open("rb") as file:
                lines = _last_lines(file, wanted - len(lines))[0] + lines
        entries = list(self._entries(lines, self._name))
        return entries if count else []

    def follow(self) -> Iterator[Entry]:
        """What was written since the last look, across rotations. A line that is not ended yet waits for its end."""
        while True:
            if self._behind:
                self._current, self._rest, self._behind = self._current or self._open_current(), b"", False
                for rotated in self._rotated():
                    if rotated.seq > self._last_seq:
                        with rotated.path.open("rb") as file:
                            yield from self._entries(file, rotated.path.name)
            if self._current is None:
                self._behind = True
                return
            replaced = self._is_replaced()  # asked before reading: what is read then is the whole of it
            while block := self._current.read(_BLOCK_BYTES):
                *lines, self._rest = (self._rest + block).split(b"\n")
                yield from self._entries([line + b"\n" for line in lines], self._name)
            if not replaced:
                return
            if self._rest:
                self._faults.add(self._name)
            self._current.close()
            self._current, self._behind = None, True

    @property
    def _name(self) -> str:
        return f"audit-{self.worker}.jsonl"

    def _open_current(self) -> BinaryIO | None:
        try:
            return (self._directory / self._name).open("rb")
        except FileNotFoundError:
            return None

    def _is_replaced(self) -> bool:
        try:
            return self._current is not None and not os.path.samestat(
                os.fstat(self._current.fileno()), (self._directory / self._name).stat()
            )
        except FileNotFoundError:
            return False  # between the two steps of a rotation

    def _rotated(self) -> list[_Rotated]:
        """Oldest first, without the one that we hold open."""
        held = os.fstat(self._current.fileno()) if self._current is not None else None
        found = []
        for path in self._directory.iterdir():
            match = _NAME.fullmatch(path.name)
            if match is None or match[2] is None or int(match[1]) != self.worker:
                continue
            if held is None or not os.path.samestat(held, path.stat()):
                found.append(_Rotated(path, datetime.strptime(f"{match[2]}+0000", "%Y%m%dT%H%M%SZ%z"), int(match[3])))
        return sorted(found, key=lambda rotated: rotated.seq)

    def _entries(self, lines: Iterable[bytes], name: str) -> Iterator[Entry]:
        for line in lines:
            record = _parse(line)
            if record is None:
                self._faults.add(name)
                continue
            at, seq, text, fields = record
            if seq <= self._last_seq and at <= self._last_at:
                continue  # written again after a sync that failed
            self._last_seq, self._last_at = seq, max(at, self._last_at)
            yield Entry((self._last_at, self.worker, seq), text, fields)


def find_workers(directory: Path) -> set[int]:
    """The numbers of all workers that ever wrote here. Raises OSError for a directory that cannot be read."""
    return {int(match[1]) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))}


def merge(streams: Iterable[Iterable[Entry]]) -> Iterator[Entry]:
    """In the order of time; holds one record of each stream in memory."""
    return heapq.merge(*streams, key=lambda entry: entry.key)


def _parse(line: bytes) -> tuple[str, int, str, Mapping[str, JsonValue]] | None:
    """`at`, `seq`, the text and all fields; None: not a whole record. Millions of lines come by here."""
    if not line.endswith(b"\n"):
        return None
    try:
        text = line.decode()
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(fields, dict):
        at, seq = fields.get("at"), fields.get("seq")
        if isinstance(at, str) and isinstance(seq, int):
            return at, seq, text[:-1], fields
    return None


def _last_lines(file: BinaryIO, count: int) -> tuple[list[bytes], bytes]:
    """The last `count` lines, and what stands behind the last line's end. The file is then at its end."""
    position = file.seek(0, os.SEEK_END)
    blocks: list[bytes] = []
    ends = 0
    while position > 0 and ends <= count:
        length = min(_BLOCK_BYTES, position)
        position -= length
        file.seek(position)
        blocks.insert(0, file.read(length))
        ends += blocks[0].count(b"\n")
    read = b"".join(blocks)
    file.seek(position + len(read))
    *lines, rest = read.split(b"\n")
    if position > 0:
        lines = lines[1:]  # its beginning was not read
    return [line + b"\n" for line in lines[-count:]] if count else [], rest
