"""What users were sent on this day (UTC) under grants that limit it, summed over all workers and kept in the store.

Sums are written each second while they grow, so that a gateway that is killed forgets a second at most.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Protocol

import structlog

from gateway.bus.lines import JsonValue, Message, Payload
from gateway.store.errors import StoreError

_WORKER = "worker:"
_log = structlog.stdlib.get_logger("gateway.clerk")


class SentStore(Protocol):
    """A store that keeps what was sent on a day, by user and grant id."""

    async def record_sent(self, day: date, sums: Mapping[tuple[str, str], int]) -> None: ...

    async def sent_on(self, day: date) -> dict[tuple[str, str], int]: ...


class DayLedger:
    def __init__(self, store: SentStore) -> None:
        self._store = store
        self._day: date | None = None
        self._sums: dict[tuple[str, str], int] = {}
        self._unwritten: set[tuple[str, str]] = set()

    async def sent(self, message: Message) -> Payload:
        """A worker tells what is new, and learns what it comes to in all: `totals`, in the same order; nothing where unknown.

        What comes late of a day that is over counts for nobody.
        """
        match message.payload:
            case {"day": str(said), "sent": list(entries)} if message.sender.startswith(_WORKER):
                day = date.fromisoformat(said)
            case _:
                return {}
        if (self._day is None or day > self._day) and not await self._turn_to(day):
            return {}
        if day != self._day:
            return {"totals": [0] * len(entries)}
        totals: list[JsonValue] = []
        for entry in entries:
            match entry:
                case [str(user_id), str(grant_id), int(size)]:
                    key = user_id, grant_id
                    if size:
                        self._sums[key] = self._sums.get(key, 0) + size
                        self._unwritten.add(key)
                    totals.append(self._sums.get(key, 0))
                case _:
                    totals.append(None)
        return {"totals": totals}

    async def write(self) -> None:
        """What has grown since the last time. What the store does not take now, it is given again."""
        if self._day is None or not self._unwritten:
            return
        written, self._unwritten = self._unwritten, set()
        try:
            await self._store.record_sent(self._day, {key: self._sums[key] for key in written})
        except StoreError as error:
            self._unwritten |= written
            _log.warning("what was sent today is not written: later", reason=str(error))

    async def _turn_to(self, day: date) -> bool:
        """A new day, or the first since this process began."""
        if day > datetime.now(UTC).date():
            return False
        try:
            known = await self._store.sent_on(day)
        except StoreError as error:
            _log.warning("what was sent today is not known", reason=str(error))
            return False
        if self._day is None or day > self._day:  # nobody was faster
            self._day, self._sums, self._unwritten = day, known, set()
        return True
