"""The sessions that wait for clients of one target in one access mode: filled in the background, a few at a time.

As many wait as there are places. A place is asked for once and kept; the session in it changes hands and is followed by another.
When upstream fails, or ends what has only begun to wait, the next attempt comes later and later.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Final, Protocol

from gateway.access.model import DatabaseRole, Target
from gateway.access_mode import AccessMode
from gateway.proxy.ahead_tally import AheadTally, Discarded
from gateway.proxy.waiting import WaitingSession
from gateway.session.upstream_login import UpstreamRefused

_AT_ONCE: Final = 4
_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_NO_PLACE_SECONDS: Final = 2.0  # until the hub is asked again
_STEADY_SECONDS: Final = 5.0  # one that lived for less before the server ended it is a failure


@dataclass(frozen=True, slots=True)
class Order:
    """How many are to wait in this worker, and for what."""

    target: Target
    mode: AccessMode
    role: DatabaseRole
    share: int

    def is_for(self, target: Target, role: DatabaseRole) -> bool:
        """What was opened for the one may be used for the other: neither the way there nor the login has changed.

        That a password is about to be changed is no change yet.
        """
        role = replace(role, pending_secret=self.role.pending_secret)
        return (self.target.id, self.target.revision, self.role) == (target.id, target.revision, role)


class Supplier(Protocol):
    tally: AheadTally

    @property
    def age_seconds(self) -> float: ...

    async def reserve(self, stock: "Stock") -> str | None: ...

    def give_back(self, place: str) -> None: ...

    async def open(self, order: Order, lost: Callable[[WaitingSession], None]) -> WaitingSession:
        """Raises UpstreamRefused."""
        ...

    def note_failure(self, target: Target, mode: AccessMode, refused: UpstreamRefused, pause_seconds: float) -> None: ...


class Stock:
    """`fill` may be said at any time: it begins what is lacking, unless it is time to wait."""

    def __init__(self, order: Order, supplier: Supplier) -> None:
        self.order = order
        self._supplier = supplier
        self._loop = asyncio.get_running_loop()
        self._places: list[str] = []
        self._waiting: deque[WaitingSession] = deque()
        self._ends: dict[WaitingSession, asyncio.TimerHandle] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._reserving: asyncio.Task[None] | None = None
        self._failures = 0
        self._not_before = self._no_place_before = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def processes(self) -> list[int]:
        """Of the server, that those who wait have."""
        return [each.welcome.process_id for each in self._waiting]

    def take(self) -> WaitingSession | None:
        """The one that has waited longest."""
        while self._waiting:
            found = self._waiting[0]
            self._forget(found)
            if not found.closing:
                self._failures = 0
                self._loop.call_soon(self.fill)
                return found
        return None

    def reorder(self, order: Order) -> None:
        """The same target and login; perhaps another number."""
        self.order = order
        while len(self._places) > order.share:
            place = self._places.pop()
            self._supplier.give_back(place)
        self._shrink(Discarded.CHANGED)
        self.fill()

    def lost_place(self, place: str) -> None:
        if place in self._places:
            self._places.remove(place)
            self._no_place_before = self._loop.time() + _NO_PLACE_SECONDS
            self._shrink(Discarded.MADE_WAY)
            self.fill()

    def empty(self, why: Discarded) -> None:
        """What waits is not trusted any more."""
        while self._waiting:
            self._discard(self._waiting[0], why)
        self.fill()

    def close(self, why: Discarded) -> None:
        self._closed = True
        for task in (*self._opening, *filter(None, [self._reserving])):
            task.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
        while self._waiting:
            self._discard(self._waiting[0], why)
        while self._places:
            self._supplier.give_back(self._places.pop())

    # -- filling -------------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        if self._closed:
            return
        now = self._loop.time()
        if len(self._places) < self.order.share and self._reserving is None:
            if now >= self._no_place_before:
                self._reserving = self._begin(self._reserve())
            else:
                self._wake_at(self._no_place_before)
        lacking = len(self._places) - len(self._waiting) - len(self._opening)
        if lacking > 0 and now < self._not_before:
            self._wake_at(self._not_before)
            return
        at_once = 1 if self._failures else _AT_ONCE
        for _ in range(min(lacking, at_once - len(self._opening))):
            self._opening.add(self._begin(self._open()))

    def _begin(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        return self._loop.create_task(work, name=f"ahead {self.order.target.id} {self.order.mode.value}")

    def _wake_at(self, when: float) -> None:
        if self._alarm is None or self._alarm.when() > when:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_at(when, self._woken)

    def _woken(self) -> None:
        self._alarm = None
        self.fill()

    async def _reserve(self) -> None:
        try:
            place = await self._supplier.reserve(self)
        finally:
            self._reserving = None
        if place is None:
            self._no_place_before = self._loop.time() + _NO_PLACE_SECONDS
        elif self._closed or len(self._places) >= self.order.share:
            self._supplier.give_back(place)
        else:
            self._places.append(place)
        self.fill()

    async def _open(self) -> None:
        task = asyncio.current_task()
        try:
            found = await self._supplier.open(self.order, self._lost)
        except UpstreamRefused as refused:
            self._failed(refused)
        except Exception as error:  # a fault of ours must not end the filling for good
            self._failed(UpstreamRefused("internal-error", type(error).__name__))
        else:
            self._waiting.append(found)
            self._ends[found] = self._loop.call_later(self._supplier.age_seconds, self._aged, found)
            if self._closed or len(self._waiting) > len(self._places):
                self._discard(found, Discarded.CHANGED)
        finally:
            if task is not None:
                self._opening.discard(task)
        self.fill()

    def _failed(self, refused: UpstreamRefused) -> None:
        pause = min(_PAUSE_SECONDS * 2**self._failures, _LONGEST_PAUSE_SECONDS)
        self._failures = min(self._failures + 1, 10)
        self._not_before = self._loop.time() + pause
        self._supplier.note_failure(self.order.target, self.order.mode, refused, pause)

    # -- ends of waiting -----------------------------------------------------------------------------------------------

    def _lost(self, session: WaitingSession) -> None:
        if self._loop.time() - session.opened_at < _STEADY_SECONDS:
            self._failed(UpstreamRefused("closed", "the server ended a session that had only begun to wait"))
        self._discard(session, Discarded.LOST)
        self.fill()

    def _aged(self, session: WaitingSession) -> None:
        self._failures = 0
        self._discard(session, Discarded.AGED)
        self.fill()

    def _shrink(self, why: Discarded) -> None:
        while len(self._waiting) > len(self._places):
            self._discard(self._waiting[0], why)

    def _discard(self, session: WaitingSession, why: Discarded) -> None:
        self._forget(session)
        self._supplier.tally.discarded[why] += 1
        session.drop()

    def _forget(self, session: WaitingSession) -> None:
        if session in self._ends:
            self._waiting.remove(session)
            self._ends.pop(session).cancel()
