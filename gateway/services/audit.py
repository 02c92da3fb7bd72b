"""The audit, read back: the workers' trail and what operators changed, in one order of time, searched and followed.

Operators' changes are committed to the store and then shipped into a trail of their own: what stands there is taken from there,
and only what was not shipped yet (no gateway runs, or it was a moment ago) from the store. So each is found once.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from gateway.audit.admin_event import RecordedAdminEvent
from gateway.audit.events import admin_line
from gateway.services.errors import ServiceError
from gateway.trails.files import ADMIN, look
from gateway.trails.filters import Filter
from gateway.trails.records import Faults, Place, Record
from gateway.trails.search import Cursor, CursorError, Page, Source, find_end, merge, open_streams
from gateway.trails.stream import Order, Stream

__all__ = ["AuditLog", "AuditPage", "Changes", "Filter", "Followed", "Order", "Record"]

MAX_LIMIT: Final = 10_000
_LOOK_SECONDS: Final = 0.2
_BATCH: Final = 500
_FOLLOWED_AT_ONCE: Final = 1000


class Changes(Protocol):
    """The store's own record of operators' changes, numbered; see SqlStore.read_events."""

    async def read_events(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> Sequence[RecordedAdminEvent]: ...


@dataclass(frozen=True, slots=True)
class AuditPage:
    """`next`: the cursor of the next page; None: there is nothing more. A page may be shorter than asked and have a next one.

    `notes`: sentences for people about what could not be read.
    """

    records: tuple[Record, ...]
    next: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Followed:
    """`cursor`: whoever follows after it gets what came after this record."""

    record: Record
    cursor: str


class AuditLog:
    """Reads in threads: no event loop waits for a disk. `revision`: the store's, asked before the store is read again."""

    def __init__(self, directory: Path, changes: Changes, revision: Callable[[], Awaitable[int]]) -> None:
        self._directory = directory
        self._changes = changes
        self._revision = revision

    async def search(
        self,
        wanted: Filter,
        *,
        order: Order = Order.NEWEST_FIRST,
        limit: int = 100,
        after: str | None = None,
        seconds: float = 5.0,
    ) -> AuditPage:
        """One page; `after` is the `next` of the one before it (with the same filter and order). Takes about `seconds` at most.

        Raises ServiceError: cursor-invalid, limit-invalid, audit-unreadable.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise ServiceError("limit-invalid", f"a page holds 1 to {MAX_LIMIT} records", "")
        page = await self._page(wanted, order, limit, _decoded(after, order), seconds)
        return AuditPage(page.records, page.next.encode() if page.next else None, page.faults)

    async def follow(self, wanted: Filter, *, after: str | None = None) -> AsyncGenerator[Followed, None]:
        """What is written from now on, or since `after` (a cursor of a record that was followed), without end.

        Raises ServiceError, as `search`.
        """
        cursor = _decoded(after, Order.OLDEST_FIRST) or await self._end()
        seen: object = None
        while True:
            now = await self._look()
            if now == seen:
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            page = await self._page(wanted, Order.OLDEST_FIRST, _FOLLOWED_AT_ONCE, cursor, seconds=1.0)
            for record in page.records:
                places = {**cursor.positions, record.source: Place(str(record.fields["at"]), record.seq + 1)}
                cursor = Cursor(Order.OLDEST_FIRST, places)
                yield Followed(record, cursor.encode())
            cursor = page.end
            seen = now if page.next is None else None

    async def end(self) -> str:
        """The cursor to follow from to get what is written from now on. Raises ServiceError."""
        return (await self._end()).encode()

    async def _page(self, wanted: Filter, order: Order, limit: int, cursor: Cursor | None, seconds: float) -> Page:
        faults = Faults()
        begin = cursor.positions.get(ADMIN) if cursor is not None else None
        finished = cursor is not None and order is Order.NEWEST_FIRST and begin is None
        notes: tuple[str, ...] = ()
        unshipped: list[Record] = []
        if not finished:
            try:
                unshipped = await self._unshipped(wanted, order, limit + 1, begin)
            except OSError as error:
                raise _unreadable(self._directory, error) from error
            except Exception as error:  # of the store's own tree; the rest is worth reading all the more
                notes = (f"without operators' changes that stand only in the store: {error}",)

        def read() -> Page:
            streams = open_streams(self._directory, wanted, order, faults, cursor)
            own = next((stream for stream in streams if isinstance(stream, Stream) and stream.source == ADMIN), None)
            sources: list[Source] = [stream for stream in streams if stream.source != ADMIN]
            if not finished:
                sources.append(_Operators(own, unshipped, order, begin))
            return merge(sources, order, limit, seconds, cursor, faults)

        try:
            page = await asyncio.to_thread(read)
        except OSError as error:
            raise _unreadable(self._directory, error) from error
        return Page(page.records, page.next, page.end, (*page.faults, *notes))

    async def _unshipped(self, wanted: Filter, order: Order, limit: int, begin: Place | None) -> list[Record]:
        """Up to `limit` changes that fit and stand only in the store, in order."""
        shipped = await asyncio.to_thread(_last_shipped, self._directory)
        last = 0 if shipped is None else shipped[0]
        found = list(await self._changes.read_events(after=max(last - 1, 0), limit=_BATCH))
        known: frozenset[str] = frozenset()
        if shipped is not None and (not found or (found[0].sequence, found[0].id) != shipped):
            # The store was exchanged for another one: only the ids tell what the trail has of it.
            known, last = await asyncio.to_thread(_shipped_ids, self._directory), 0
            found = list(await self._changes.read_events(after=0, limit=_BATCH))
        newest_first = order is Order.NEWEST_FIRST
        whole = len(found) < _BATCH
        if not whole and newest_first:
            found = list(await self._changes.read_events(limit=_BATCH))
        fits, records = wanted.compile(), list[Record]()
        while found:
            for event in reversed(found) if newest_first else found:
                if event.sequence <= last or event.id in known:
                    continue
                record = _record(event)
                place = Place(record.key, record.seq)
                if begin is not None and (place > begin if newest_first else place < begin):
                    continue
                if fits(record.fields):
                    records.append(record)
            if whole or len(records) >= limit or (newest_first and found[0].sequence <= last):
                break
            if newest_first:
                found = list(await self._changes.read_events(before=found[0].sequence, limit=_BATCH))
            else:
                found = list(await self._changes.read_events(after=found[-1].sequence, limit=_BATCH))
        return records[:limit]

    async def _end(self) -> Cursor:
        try:
            end = await asyncio.to_thread(find_end, self._directory)
        except OSError as error:
            raise _unreadable(self._directory, error) from error
        newest = await self._unshipped(Filter(), Order.NEWEST_FIRST, 1, None)
        if not newest:
            return end
        return Cursor(end.order, {**end.positions, ADMIN: Place(newest[0].key, newest[0].seq + 1)})

    async def _look(self) -> object:
        """Another value whenever there may be something new."""
        try:
            return await self._revision(), await asyncio.to_thread(look, self._directory)
        except FileNotFoundError:
            return await self._revision(), None
        except OSError as error:
            raise _unreadable(self._directory, error) from error


class _Operators:
    """Implements Source: what was shipped, from its trail, and what was not, from the store."""

    def __init__(self, stream: Stream | None, unshipped: Sequence[Record], order: Order, begin: Place | None) -> None:
        self.source = ADMIN
        self.head: Record | None = None
        self.ended = False
        self._stream = stream
        self._unshipped = list(reversed(unshipped))  # the next one last
        self._ids = {record.fields["id"] for record in unshipped}
        self._newest_first = order is Order.NEWEST_FIRST
        self.position = begin or (Place("~", 1 << 62) if self._newest_first else Place("", 0))

    def advance(self) -> None:
        self.head = None
        stream = self._stream
        if self._newest_first and self._unshipped:
            self._go_on_in_the_store()
        elif stream is not None and not stream.ended:
            stream.advance()
            self.position = (min if self._newest_first else max)(self.position, stream.position)
            self.head = self._once(stream.head)
        elif self._unshipped:
            self._go_on_in_the_store()
        else:
            self.ended = True

    def take(self) -> Record:
        record = self.head
        if record is None:
            raise ValueError("there is no head to take")
        self.position = Place(str(record.fields["at"]), record.seq + (-1 if self._newest_first else 1))
        self.head = None
        return record

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _once(self, record: Record | None) -> Record | None:
        """What was shipped just now may have been found in the store a moment before."""
        if record is None or record.fields.get("id") not in self._ids:
            return record
        if self._newest_first:
            return None
        self._unshipped = [each for each in self._unshipped if each.fields["id"] != record.fields["id"]]
        return record

    def _go_on_in_the_store(self) -> None:
        self.head = self._unshipped.pop()
        self.position = Place(self.head.key, self.head.seq)


def _decoded(after: str | None, order: Order) -> Cursor | None:
    try:
        return None if after is None else Cursor.decode(after, order)
    except CursorError as error:
        raise ServiceError("cursor-invalid", str(error), "Begin anew, without a cursor.") from error


def _unreadable(directory: Path, error: OSError) -> ServiceError:
    return ServiceError("audit-unreadable", f"the audit in {directory} cannot be read: {error.strerror or error}")


def _last_shipped(directory: Path) -> tuple[int, str] | None:
    """Number and id of the last change in the operators' trail. Blocks."""
    stream = Stream(directory, ADMIN, Filter(), Order.NEWEST_FIRST, Faults())
    try:
        while stream.head is None and not stream.ended:
            stream.advance()
        return (stream.head.seq, str(stream.head.fields.get("id"))) if stream.head is not None else None
    except FileNotFoundError:  # nothing was ever written
        return None
    finally:
        stream.close()


def _shipped_ids(directory: Path) -> frozenset[str]:
    stream = Stream(directory, ADMIN, Filter(), Order.OLDEST_FIRST, Faults())
    found = set()
    while not stream.ended:
        stream.advance()
        if stream.head is not None:
            found.add(str(stream.head.fields.get("id")))
    return frozenset(found)


def _record(event: RecordedAdminEvent) -> Record:
    """The very record that shipping makes of it."""
    line = admin_line(event).decode().rstrip("\n")
    fields = json.loads(line)
    return Record(ADMIN, event.sequence, str(fields["at"]), line, fields)
