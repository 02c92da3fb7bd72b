"""What users were sent on this day (UTC) under grants that limit it: this worker's part, and what the clerk says of all.

While anybody reads, what is new is told each second, and at once when it is more than a megabyte; the answer is the sum over all
workers. So a limit may be passed by what the workers send within a second, and a megabyte each. While the clerk does not answer,
no statement that shows rows begins (`DayCount.known`); one that runs is counted on.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Final, Protocol

from gateway.bus.lines import CLERK, BusUnavailable, Payload
from gateway.session.volume import DayCount

HURRY_BYTES: Final = 1024 * 1024
_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 2.0


class _Peers(Protocol):
    async def ask(self, to: str, kind: str, payload: Payload, timeout_seconds: float) -> Payload: ...


class DayCounts:
    """By user and grant id. `now` is UTC."""

    def __init__(self, peers: _Peers, now: Callable[[], datetime]) -> None:
        self._peers = peers
        self._now = now
        self._counts: dict[tuple[str, str], DayCount] = {}
        self._day = now().date()
        self._telling: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def of(self, user_id: str, grant_id: str) -> DayCount:
        """The one that all of the user's sessions on this grant share. What the others were sent is known a moment later."""
        key = user_id, grant_id
        if key not in self._counts:
            self._counts[key] = DayCount(self._resets())
            self.hurry()
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._keep_telling(), name="day-counts")
        return self._counts[key]

    def hurry(self) -> None:
        """Tell now, not when the second is over."""
        self._hurry.set()

    async def close(self) -> None:
        """What is not told yet is, if anybody hears it."""
        if self._telling is None:
            return
        self._telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._telling
        await self._tell()

    async def _keep_telling(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), _SECONDS)
            self._hurry.clear()
            await self._tell()

    async def _tell(self) -> None:
        self._turn_day()
        asked = {key: count for key, count in self._counts.items() if count.unreported or count.touched}
        if not asked:
            return
        day = self._day
        told = {key: count.unreported for key, count in asked.items()}
        said: Payload = {"day": day.isoformat(), "sent": [[*key, size] for key, size in told.items()]}
        for count in asked.values():
            count.touched = False
        try:
            answer = await self._peers.ask(CLERK, "sent", said, _ANSWER_SECONDS)
        except BusUnavailable:
            answer = {}
        totals = answer.get("totals")
        if not isinstance(totals, list) or len(totals) != len(asked) or day != self._day:
            for count in asked.values():
                count.touched = True
                count.known = False
            return
        for (key, count), total in zip(asked.items(), totals, strict=True):
            if isinstance(total, int):
                count.unreported -= told[key]
                count.sent = total + count.unreported
                count.known = True

    def _turn_day(self) -> None:
        today = self._now().date()
        if today == self._day:
            return
        self._day = today
        for count in self._counts.values():  # shared by live sessions: they begin anew
            count.sent = count.unreported = 0
            count.resets = self._resets()

    def _resets(self) -> str:
        begins = datetime.combine(self._day + timedelta(days=1), time(), UTC)
        return f"{begins:%Y-%m-%d %H:%M} UTC"
