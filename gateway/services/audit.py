"""The audit, read back: the workers' trail and what operators changed, in one order of time, searched and followed.

Operators' changes are committed to the store and then shipped into a trail of their own: what stands there is taken from there,
and only what was not shipped yet (no gateway runs, or it was a moment ago) from the store. So each is found once.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.services.audit_changes import Changes, Operators, find_unshipped
from gateway.services.errors import ServiceError
from gateway.trails.files import ADMIN, look
from gateway.trails.filters import Filter
from gateway.trails.records import Faults, Place, Record
from gateway.trails.search import Cursor, CursorError, Page, Source, find_end, merge, open_streams
from gateway.trails.stream import Order, Stream

__all__ = ["AuditLog", "AuditPage", "Changes", "Filter", "Followed", "Order", "Record"]

MAX_LIMIT: Final = 10_000
_LOOK_SECONDS: Final = 0.2
_FOLLOWED_AT_ONCE: Final = 1000


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
        page, _ = await self._page(wanted, order, limit, _decoded(after, order), seconds)
        return AuditPage(page.records, page.next.encode() if page.next else None, page.faults)

    async def follow(self, wanted: Filter, *, after: str | None = None) -> AsyncGenerator[Followed, None]:
        """What is written from now on, or since `after` (a cursor of a record that was followed), without end.

        A store that is silent delays what stands only there. Raises ServiceError, as `search`; what the store raises only at
        the beginning.
        """
        cursor = _decoded(after, Order.OLDEST_FIRST) or await self._end()
        seen = _NOTHING
        while True:
            now = await self._look()
            if now == seen:
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            ask_store = now.revision is None or now.revision != seen.revision
            page, store_failed = await self._page(
                wanted, Order.OLDEST_FIRST, _FOLLOWED_AT_ONCE, cursor, 1.0, ask_store=ask_store
            )
            for record in page.records:
                places = {**cursor.positions, record.source: Place(str(record.fields["at"]), record.seq + 1)}
                cursor = Cursor(Order.OLDEST_FIRST, places)
                yield Followed(record, cursor.encode())
            cursor = page.end
            if page.next is None:
                seen = replace(now, revision=None) if store_failed else now
                await asyncio.sleep(_LOOK_SECONDS)

    async def end(self) -> str:
        """The cursor to follow from to get what is written from now on. Raises ServiceError."""
        return (await self._end()).encode()

    async def _page(
        self, wanted: Filter, order: Order, limit: int, cursor: Cursor | None, seconds: float, *, ask_store: bool = True
    ) -> tuple[Page, bool]:
        """And whether the store could not be asked."""
        faults = Faults()
        begin = cursor.positions.get(ADMIN) if cursor is not None else None
        finished = cursor is not None and order is Order.NEWEST_FIRST and begin is None
        unshipped: list[Record] = []
        notes: tuple[str, ...] = ()
        if ask_store and not finished:
            try:
                unshipped = await find_unshipped(self._directory, self._changes, wanted, order, limit + 1, begin)
            except OSError as error:
                raise _unreadable(self._directory, error) from error
            except Exception as error:  # of the store's own tree; the rest is worth reading all the more
                notes = (f"without operators' changes that stand only in the store: {error}",)

        def read() -> Page:
            streams = open_streams(self._directory, wanted, order, faults, cursor)
            own = next((stream for stream in streams if isinstance(stream, Stream) and stream.source == ADMIN), None)
            sources: list[Source] = [stream for stream in streams if stream.source != ADMIN]
            if not finished:
                sources.append(Operators(own, unshipped, order, begin))
            return merge(sources, order, limit, seconds, cursor, faults)

        try:
            page = await asyncio.to_thread(read)
        except OSError as error:
            raise _unreadable(self._directory, error) from error
        return Page(page.records, page.next, page.end, (*page.faults, *notes)), bool(notes)

    async def _end(self) -> Cursor:
        try:
            end = await asyncio.to_thread(find_end, self._directory)
            newest = await find_unshipped(self._directory, self._changes, Filter(), Order.NEWEST_FIRST, 1, None)
        except OSError as error:
            raise _unreadable(self._directory, error) from error
        if not newest:
            return end
        return Cursor(end.order, {**end.positions, ADMIN: Place(newest[0].key, newest[0].seq + 1)})

    async def _look(self) -> "_State":
        """Another value whenever there may be something new."""
        revision = None
        with contextlib.suppress(Exception):  # of the store's own tree: the trail is followed all the same
            revision = await self._revision()
        try:
            return _State(revision, await asyncio.to_thread(look, self._directory))
        except FileNotFoundError:
            return _State(revision, frozenset())
        except OSError as error:
            raise _unreadable(self._directory, error) from error


@dataclass(frozen=True, slots=True)
class _State:
    """What there was to read: the store's revision (None: it did not answer), and the files."""

    revision: int | None
    files: frozenset[tuple[str, int, int]]


_NOTHING: Final = _State(None, frozenset())


def _decoded(after: str | None, order: Order) -> Cursor | None:
    try:
        return None if after is None else Cursor.decode(after, order)
    except CursorError as error:
        raise ServiceError("cursor-invalid", str(error), "Begin anew, without a cursor.") from error


def _unreadable(directory: Path, error: OSError) -> ServiceError:
    return ServiceError("audit-unreadable", f"the audit in {directory} cannot be read: {error.strerror or error}")
