"""What operators changed, as the audit shows it: from their trail, and from the store what was not shipped there yet."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from gateway.audit.admin_event import RecordedAdminEvent
from gateway.audit.events import admin_line
from gateway.trails.files import ADMIN
from gateway.trails.filters import Filter
from gateway.trails.records import Faults, Place, Record
from gateway.trails.stream import Order, Stream

_BATCH: Final = 500


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


class Operators:
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


async def find_unshipped(
    directory: Path, changes: Changes, wanted: Filter, order: Order, limit: int, begin: Place | None
) -> list[Record]:
    """Up to `limit` changes that fit and stand only in the store, in order. Raises OSError and what the store raises."""
    shipped = await asyncio.to_thread(_last_shipped, directory)
    last = 0 if shipped is None else shipped[0]
    found = list(await changes.read_events(after=max(last - 1, 0), limit=_BATCH))
    known: frozenset[str] = frozenset()
    if shipped is not None and (not found or (found[0].sequence, found[0].id) != shipped):
        # The store was exchanged for another one: only the ids tell what the trail has of it.
        known, last = await asyncio.to_thread(_shipped_ids, directory), 0
        found = list(await changes.read_events(after=0, limit=_BATCH))
    newest_first = order is Order.NEWEST_FIRST
    whole = len(found) < _BATCH
    if not whole and newest_first:
        found = list(await changes.read_events(limit=_BATCH))
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
            found = list(await changes.read_events(before=found[0].sequence, limit=_BATCH))
        else:
            found = list(await changes.read_events(after=found[-1].sequence, limit=_BATCH))
    return records[:limit]


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
