"""A search over all sources of a trail, in the order of time, in pages; whoever has a page's cursor goes on where it ended."""

import base64
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.trails.files import ADMIN, find_sources
from gateway.trails.filters import Filter
from gateway.trails.records import Faults, Place, Record
from gateway.trails.stream import Order, Stream


class CursorError(ValueError):
    """A cursor that none of our pages gave, or one of a search in the other order."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """`positions`: by source, where to go on; None: nothing of it is left."""

    order: Order
    positions: Mapping[str, Place | None]

    def encode(self) -> str:
        places = {source: place and [place.at, place.seq] for source, place in self.positions.items()}
        text = json.dumps([self.order.value, places], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, order: Order) -> "Cursor":
        """Raises CursorError."""
        try:
            name, places = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
            positions = {str(source): _place_in(each) for source, each in places.items()}
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise CursorError("this is no cursor of ours") from None
        if name != order.value:
            raise CursorError("this is a cursor of a search in the other order")
        return cls(order, positions)


def _place_in(each: object) -> Place | None:
    match each:
        case None:
            return None
        case [str(at), int(seq)]:
            return Place(at, seq)
    raise ValueError("not a place")


class Source(Protocol):
    """What a search merges: a Stream, or what stands elsewhere. See there."""

    source: str
    head: Record | None
    ended: bool

    @property
    def position(self) -> Place: ...

    def advance(self) -> None: ...
    def take(self) -> Record: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Page:
    """`next`: None when there is nothing more. A page may be shorter than asked, even empty, and have more behind it: its time was
    up. `faults`: sentences about what could not be read.
    """

    records: tuple[Record, ...]
    next: Cursor | None
    end: Cursor
    faults: tuple[str, ...]


def open_streams(directory: Path, wanted: Filter, order: Order, faults: Faults, cursor: Cursor | None) -> list[Source]:
    """Raises OSError for a directory that cannot be read; one that does not exist is empty."""
    try:
        sources = find_sources(directory)
    except FileNotFoundError:
        return []
    if cursor is None:
        return [Stream(directory, source, wanted, order, faults) for source in sources]
    known = cursor.positions
    if order is Order.NEWEST_FIRST:  # a source that is not in the cursor began after the first page
        return [Stream(directory, s, wanted, order, faults, known[s]) for s in sources if known.get(s) is not None]
    return [Stream(directory, source, wanted, order, faults, known.get(source)) for source in sources]


def merge(streams: Sequence[Source], order: Order, limit: int, seconds: float, cursor: Cursor | None, faults: Faults) -> Page:
    """The next `limit` records of all streams in order. Blocks for about `seconds` at most."""
    deadline = time.monotonic() + seconds
    pick = max if order is Order.NEWEST_FIRST else min
    records: list[Record] = []
    try:
        while len(records) < limit and _fill(streams, deadline):
            heads = [stream for stream in streams if stream.head is not None]
            if not heads:
                break
            records.append(pick(heads, key=_place).take())
        positions = dict(cursor.positions) if cursor is not None else {}
        for stream in streams:
            finished = stream.ended and stream.head is None and order is Order.NEWEST_FIRST
            positions[stream.source] = None if finished else stream.position
        end = Cursor(order, positions)
        more = any(stream.head is not None or not stream.ended for stream in streams)
    finally:
        for stream in streams:
            stream.close()
    return Page(tuple(records), end if more else None, end, tuple(faults.texts()))


def _fill(streams: Iterable[Source], deadline: float) -> bool:
    """Every stream has a head or has ended; False: the time was up before."""
    for stream in streams:
        while stream.head is None and not stream.ended:
            if time.monotonic() > deadline:
                return False
            stream.advance()
    return True


def _place(source: Source) -> tuple[str, bool, str, int]:
    record = source.head
    if record is None:
        raise ValueError("a stream without a head has no place")
    # Operators' changes sort first of what happened at once: a change comes before what it caused.
    return record.key, record.source != ADMIN, record.source, record.seq


def search_trail(
    directory: Path,
    wanted: Filter,
    *,
    order: Order = Order.OLDEST_FIRST,
    limit: int = 1000,
    cursor: Cursor | None = None,
    seconds: float = 10.0,
) -> Page:
    """One page of the files alone. Blocks; holds some blocks of a megabyte for each source in memory. Raises OSError."""
    faults = Faults()
    streams = open_streams(directory, wanted, order, faults, cursor)
    return merge(streams, order, limit, seconds, cursor, faults)


def find_end(directory: Path) -> Cursor:
    """Behind the last record of each source, for an oldest-first search of what is still to come. Blocks. Raises OSError."""
    positions: dict[str, Place | None] = {}
    for stream in open_streams(directory, Filter(), Order.NEWEST_FIRST, Faults(), None):
        while stream.head is None and not stream.ended:
            stream.advance()
        if stream.head is not None:
            positions[stream.source] = Place(str(stream.head.fields["at"]), stream.head.seq + 1)
        stream.close()
    return Cursor(Order.OLDEST_FIRST, positions)
