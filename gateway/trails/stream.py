"""One source's records, from either end, across its files. Only what may fit is parsed; blocks that cannot are not even split."""

from collections.abc import Callable, Generator
from contextlib import closing
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from gateway.trails.files import (
    ADMIN,
    CLOCK_MARGIN,
    blocks_backward,
    blocks_forward,
    find_rotated,
    find_seq,
    open_current,
    stem_of,
)
from gateway.trails.filters import Check, Filter, stamp
from gateway.trails.journal import left_in_journal
from gateway.trails.records import Faults, Place, Record, read_fields, read_head

_START: Final = Place("", 0)
_END: Final = Place("~", 1 << 62)

Steps = Generator[Record | None, None, None]
"""Records that fit; None in between: this far so far, nothing more found."""


class Order(StrEnum):
    NEWEST_FIRST = "newest_first"
    OLDEST_FIRST = "oldest_first"


class Stream:
    """Reads as it is asked. `position`: where to go on later; all records beyond it were seen.

    The current file is opened before the others are looked for, so that a rotation hides nothing.
    """

    def __init__(
        self, directory: Path, source: str, wanted: Filter, order: Order, faults: Faults, position: Place | None = None
    ) -> None:
        self.source = source
        self.newest_first = order is Order.NEWEST_FIRST
        self._begin = position or (_END if self.newest_first else _START)
        self._at, self._seq = self._begin.at.encode(), self._begin.seq
        self._numbered = source != ADMIN  # else numbers may come again, and only time tells
        self.head: Record | None = None
        self.ended = False
        self._directory = directory
        self._since, self._until = wanted.since, wanted.until
        self._first_at = stamp(wanted.since).encode() if wanted.since is not None else b""
        self._end_at = stamp(wanted.until).encode() if wanted.until is not None else b"~"
        self._fits: Check = wanted.compile()
        self._may_fit: Callable[[bytes], bool] = wanted.screen()
        self._faults = faults
        self._last_seq = _END.seq if self.newest_first else _START.seq
        self._last_at = b"~" if self.newest_first else b""
        self._steps = self._backward() if self.newest_first else self._forward()

    def advance(self) -> None:
        """One step: afterwards there is a head, or this has ended, or neither: ask again."""
        self.head = None
        step = next(self._steps, self)
        if step is self:
            self.ended = True
        elif isinstance(step, Record):
            self.head = step

    def take(self) -> Record:
        """The head, which then counts as seen."""
        record = self.head
        if record is None:
            raise ValueError("there is no head to take")
        self._at, self._seq = str(record.fields["at"]).encode(), record.seq + (-1 if self.newest_first else 1)
        self.head = None
        return record

    @property
    def position(self) -> Place:
        return Place(self._at.decode("ascii", "replace"), self._seq)

    def close(self) -> None:
        self._steps.close()

    def _forward(self) -> Steps:
        current = open_current(self._directory, self.source)
        journal = left_in_journal(self._directory, self.source, current)
        try:
            for rotated in find_rotated(self._directory, self.source, current):
                if (self._numbered and rotated.seq < self._begin.seq) or not self._reaches(rotated.at):
                    continue
                with rotated.path.open("rb") as file:
                    yield from self._read_forward(file, rotated.path.name)
            if current is not None:
                yield from self._read_forward(current, f"{stem_of(self.source)}.jsonl", growing=True)
            if journal:
                yield from self._sift(journal, f"audit-{self.source}.journal")
        finally:
            if current is not None:
                current.close()

    def _backward(self) -> Steps:
        current = open_current(self._directory, self.source)
        journal = left_in_journal(self._directory, self.source, current)
        try:
            if journal:
                yield from self._sift(journal, f"audit-{self.source}.journal")
            files = find_rotated(self._directory, self.source, current)
            if current is not None:
                yield from self._read_backward(current, f"{stem_of(self.source)}.jsonl")
            for number, rotated in reversed(list(enumerate(files))):
                before = files[number - 1] if number else None
                if not self._reaches(rotated.at):
                    return
                if before is not None and self._is_after(before.at):
                    continue
                with rotated.path.open("rb") as file:
                    yield from self._read_backward(file, rotated.path.name)
        finally:
            if current is not None:
                current.close()

    def _reaches(self, closed_at: datetime) -> bool:
        return self._since is None or closed_at >= self._since - CLOCK_MARGIN

    def _is_after(self, began_at: datetime) -> bool:
        return self._until is not None and began_at > self._until + CLOCK_MARGIN

    def _read_forward(self, file: BinaryIO, name: str, *, growing: bool = False) -> Steps:
        size = file.seek(0, 2)
        start = find_seq(file, size, self._begin.seq)[0] if self._numbered and self._begin.seq > 1 else 0
        with closing(blocks_forward(file, start)) as blocks:
            while True:
                try:
                    block = next(blocks)
                except StopIteration as end:
                    if end.value and not growing:
                        self._faults.add(name)
                    return
                yield from self._sift(block, name)

    def _read_backward(self, file: BinaryIO, name: str) -> Steps:
        size = file.seek(0, 2)
        end = find_seq(file, size, self._begin.seq + 1)[1] if self._numbered and self._begin != _END else size
        with closing(blocks_backward(file, end)) as blocks:
            for block in blocks:
                yield from self._sift(block, name)

    def _sift(self, block: bytes, name: str) -> Steps:
        first = read_head(block[: block.find(b"\n")])
        last = read_head(block[block.rfind(b"\n", 0, -1) + 1 : -1])
        if self._is_outside(first, last) or not self._may_fit(block):
            if (edge := first if self.newest_first else last) is not None:
                self._see(*edge)
            yield None
            return
        lines = block.split(b"\n")[:-1]
        if self.newest_first:
            lines.reverse()
        for line in lines:
            head = read_head(line)
            if head is None:
                self._faults.add(name)
            elif self._see(*head) and self._first_at <= head[0] < self._end_at and self._may_fit(line):
                fields = read_fields(line)
                if fields is None:
                    self._faults.add(name)
                elif self._fits(fields):
                    yield Record(self.source, head[1], self._last_at.decode(), line.decode(), fields)
        yield None

    def _is_outside(self, first: tuple[bytes, int] | None, last: tuple[bytes, int] | None) -> bool:
        """Whether a block with these edges is all before or all after the time that is asked for.

        A clock that went ahead and came back within one block would deceive it.
        """
        if first is None or last is None:
            return False
        return max(first[0], last[0]) < self._first_at or min(first[0], last[0]) >= self._end_at

    def _see(self, at: bytes, seq: int) -> bool:
        """Whether it is the next one: not written a second time after a sync that failed, and not seen before."""
        begin = self._begin
        if self.newest_first:
            if seq >= self._last_seq and at >= self._last_at:
                return False
            self._last_seq, self._last_at = seq, min(at, self._last_at)
            seen = seq > begin.seq if self._numbered else (at, seq) > (begin.at.encode(), begin.seq)
        else:
            if seq <= self._last_seq and at <= self._last_at:
                return False
            self._last_seq, self._last_at = seq, max(at, self._last_at)
            seen = seq < begin.seq if self._numbered else (at, seq) < (begin.at.encode(), begin.seq)
        if not seen:
            self._at, self._seq = at, seq
        return not seen
