"""What users were sent on this day (UTC) under grants that limit it, summed over all workers and, through the store, over all
gateways that share one.

What is new is added to the store's sums each second, so that a gateway that is killed forgets a second at most; and while workers
ask, the store's sums are never older than a second. So gateways know of each other's bytes within some seconds: what a worker
tells each second is written within another, and read within one more.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Final, Protocol

import structlog

from gateway.bus.lines import JsonValue, Message, Payload
from gateway.store.errors import StoreError

_WORKER: Final = "worker:"
_SECONDS: Final = 1.0
_log: Final = structlog.stdlib.get_logger("gateway.clerk")

_Key = tuple[str, str]
"""User and grant id."""


class SentStore(Protocol):
    """A store that keeps what was sent on a day, by user and grant id."""

    async def record_sent(self, day: date, more: Mapping[tuple[str, str], int]) -> None: ...

    async def sent_on(self, day: date) -> dict[tuple[str, str], int]: ...


class DayLedger:
    """`monotonic`: seconds."""

    def __init__(self, store: SentStore, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._day: date | None = None
        self._stored: dict[_Key, int] = {}  # the store's sums, of all gateways
        self._read_at = 0.0
        self._new: dict[_Key, int] = {}  # of this gateway, not in the store's sums yet
        self._turn = asyncio.Lock()  # of whoever speaks with the store: a sum is read before or after a part of it is added

    async def sent(self, message: Message) -> Payload:
        """A worker tells what is new, and learns what it comes to in all: `totals`, in the same order; nothing where unknown.

        What comes late of a day that is over counts for nobody.
        """
        match message.payload:
            case {"day": str(said), "sent": list(entries)} if message.sender.startswith(_WORKER):
                day = date.fromisoformat(said)
            case _:
                return {}
        if self._day is not None and day < self._day:
            return {"totals": [0] * len(entries)}
        if not await self._is_known(day):
            return {}
        totals: list[JsonValue] = []
        for entry in entries:
            match entry:
                case [str(user_id), str(grant_id), int(size)]:
                    key = user_id, grant_id
                    if size:
                        self._new[key] = self._new.get(key, 0) + size
                    totals.append(self._stored.get(key, 0) + self._new.get(key, 0))
                case _:
                    totals.append(None)
        return {"totals": totals}

    async def write(self) -> None:
        """What has come since the last time. What the store does not take now, it is given again."""
        async with self._turn:
            day, more = self._day, dict(self._new)
            if day is None or not more:
                return
            try:
                await self._store.record_sent(day, more)
            except StoreError as error:
                _log.warning("what was sent today is not written: later", reason=str(error))
                return
            for key, size in more.items():
                self._stored[key] = self._stored.get(key, 0) + size
                self._new[key] -= size
            self._new = {key: size for key, size in self._new.items() if size}

    async def _is_known(self, day: date) -> bool:
        """Read the store's sums, if those that are here are of another day or too old. False: nothing is known of this day."""
        if day == self._day and self._monotonic() - self._read_at < _SECONDS:
            return True
        async with self._turn:
            if day == self._day and self._monotonic() - self._read_at < _SECONDS:  # somebody was faster
                return True
            if (self._day is not None and day < self._day) or day > datetime.now(UTC).date():
                return False
            try:
                stored = await self._store.sent_on(day)
            except StoreError as error:
                _log.warning("what was sent today is not known", reason=str(error))
                self._read_at = self._monotonic()
                return day == self._day  # what was known a moment ago goes on to count
            if day != self._day:
                self._new = {}
            self._day, self._stored, self._read_at = day, stored, self._monotonic()
        return True
