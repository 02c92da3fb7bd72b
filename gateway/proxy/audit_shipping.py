"""Operators' changes on their way from the store into an audit trail of their own, `admin.jsonl`: each exactly once.

An event is committed with its change, so the store has all of them, numbered. Where shipping goes on is what the trail itself
last holds: there is no second truth that a crash could set apart from it. Only for a trail whose files were all taken away, a
small file beside it remembers the position. A store that was exchanged (restored from a backup) shows by another event under the
number that was shipped last: then what the trail holds is told by the events' ids.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from gateway.audit.admin_event import RecordedAdminEvent
from gateway.audit.events import admin_line
from gateway.proxy.audit_copies import Copies
from gateway.proxy.audit_file import AuditFile, AuditFileError, archive, sync_data

_STEM: Final = "admin"
_BATCH: Final = 200
_LOOK_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 1.0
_log: Final = structlog.stdlib.get_logger("gateway.audit")

#: `events_after(sequence, limit)` of the store: the first that many events behind this number, in order.
EventsAfter = Callable[[int, int], Awaitable[Sequence[RecordedAdminEvent]]]


@dataclass(frozen=True, slots=True)
class _Position:
    """The last event that the trail holds. `id` is "" when it is not known."""

    sequence: int
    id: str


class AdminEventShipper:
    """One per gateway. `run` until cancelled; `wake` when the store may have changed."""

    def __init__(
        self,
        directory: Path,
        rotate_bytes: int,
        events_after: EventsAfter,
        copies: Copies | None = None,
        look_seconds: float = _LOOK_SECONDS,
        stamp: Callable[[], object | None] = lambda: None,
    ) -> None:
        """`stamp`: equal ones, and not None, say that the store has nothing new."""
        self._directory = directory
        self._rotate_bytes = rotate_bytes
        self._events_after = events_after
        self._copies = copies or Copies()
        self._look_seconds = look_seconds
        self._stamp = stamp
        self._wake = asyncio.Event()
        self._position: _Position | None = None  # None: ask the trail
        self._known: frozenset[str] | None = None  # ids in the trail, while a store that was exchanged is gone through

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Faults of the store or the disk are logged once each time, and tried again."""
        file: AuditFile | None = None
        failing = False
        shipped: object | None = None
        try:
            while True:
                self._wake.clear()
                try:
                    now = self._stamp()
                    if file is None:
                        file = await asyncio.to_thread(AuditFile, self._directory, _STEM)
                    if failing or now is None or now != shipped:
                        await self._ship_all(file)
                    failing, shipped = False, now
                except Exception as error:  # of the store's tree, or the disk's: this one must go on
                    if not failing:
                        _log.error("admin events cannot be shipped to the audit trail; it is tried again", reason=str(error))
                    failing = True
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._look_seconds)
        finally:
            if file is not None:
                file.close()

    async def ship_once(self) -> None:
        """All that is there now. Raises AuditFileError, OSError and what the store raises."""
        file = AuditFile(self._directory, _STEM)
        try:
            await self._ship_all(file)
        finally:
            file.close()

    async def _ship_all(self, file: AuditFile) -> None:
        position, self._position = self._position or _position(file, self._hint_path), None
        while True:
            # One more than needed: the event under the last number must still be the one that was shipped.
            batch = list(await self._events_after(max(position.sequence - 1, 0), _BATCH))
            if position.id and (not batch or (batch[0].sequence, batch[0].id) != (position.sequence, position.id)):
                position = await self._begin_anew(file)
                continue
            batch = [event for event in batch if event.sequence > position.sequence]
            if not batch:
                break
            position = await self._ship(file, batch)
        self._position, self._known = position, None

    async def _ship(self, file: AuditFile, batch: list[RecordedAdminEvent]) -> _Position:
        last = batch[-1]
        fresh = [event for event in batch if self._known is None or event.id not in self._known]
        lines = b"".join(map(admin_line, fresh))
        if lines:
            await _whole(asyncio.to_thread(self._write, file, lines, fresh[-1]))
            self._copies.offer(lines)
        return _Position(last.sequence, last.id)

    def _write(self, file: AuditFile, lines: bytes, last: RecordedAdminEvent) -> None:
        file.mend(lines)
        file.write(lines)
        file.last = {"seq": last.sequence, "id": last.id}
        sync_data(file.fd)
        hint = self._hint_path.with_suffix(".new")
        hint.write_text(json.dumps({"seq": last.sequence, "id": last.id}))
        hint.replace(self._hint_path)
        if file.size >= self._rotate_bytes:
            archive(file.rotate(last.sequence), file)

    async def _begin_anew(self, file: AuditFile) -> _Position:
        """The store is another one than that which was shipped from: begin anew, without what the trail has."""
        _log.warning("the store was exchanged: admin events are compared with the audit trail by their ids")
        self._known = await asyncio.to_thread(_ids, file)
        return _Position(0, "")

    @property
    def _hint_path(self) -> Path:
        return self._directory / "admin.position"


async def _whole(work: Coroutine[None, None, None]) -> None:
    """Not given up half way: who is cancelled, however often, waits for the thread, and then is."""
    task, cancelled = asyncio.create_task(work), False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    task.result()


def _position(file: AuditFile, hint: Path) -> _Position:
    last = file.last
    if "id" not in last:
        with contextlib.suppress(OSError, ValueError):
            last = json.loads(hint.read_text())
    match last:
        case {"seq": int(sequence), "id": str(event_id)}:
            return _Position(sequence, event_id)
        case {"seq": int(sequence)}:
            return _Position(sequence, "")
        case _:
            return _Position(0, "")


def _ids(file: AuditFile) -> frozenset[str]:
    found = set()
    for path in file.paths():
        with contextlib.suppress(FileNotFoundError), path.open("rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    found.add(str(json.loads(line)["id"]))
    return frozenset(found)


__all__ = ["AdminEventShipper", "AuditFileError", "EventsAfter"]
