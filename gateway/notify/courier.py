"""Takes what is due out of the outbox, has it delivered, and writes down what became of it. For good.

Several couriers may work on one store: a message is taken by one, for longer than an attempt may last. One destination that does
not answer waits by itself, and of each only a few are on their way at a time, so that it keeps nobody else waiting.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from secrets import SystemRandom
from typing import Final, Protocol

import structlog

from gateway.access.webhooks import TEST_TOPIC
from gateway.notify.delivering import Dead, Delivered, Deliverer, Later, Outcome
from gateway.ports import OutboxMessage, OutboxState
from gateway.settings.notify import Notify
from gateway.store.errors import StoreError
from gateway.store.outbox import Lease, Settled

_AT_ONCE: Final = 32
_PER_DESTINATION: Final = 4
_FIRST_PAUSE_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 3600.0
_MOST_DOUBLINGS: Final = 12
_DESTINATION_PAUSE_SECONDS: Final = 60.0  # for others to the same one, at most
_SPREAD: Final = 0.2
_LEASE_BEYOND_SECONDS: Final = 30.0
_SOONEST_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 5.0
_STORE_RETRY_SECONDS: Final = 1.0
_SETTLE_TRIES: Final = 5
_FORGET_SECONDS: Final = 3600.0
_log: Final = structlog.stdlib.get_logger("gateway.courier")


class CourierOutbox(Protocol):
    """What of store.outbox.SqlOutbox a courier needs."""

    async def take(self, lease: Lease) -> list[OutboxMessage]: ...

    async def settle(self, message: OutboxMessage, settled: Settled) -> bool: ...

    async def next_at(self) -> datetime | None: ...

    async def forget(self, before: datetime) -> int: ...


class Courier:
    """`deliverer` knows who delivers to a destination. `wake` makes it look now."""

    def __init__(
        self,
        outbox: CourierOutbox,
        deliverer: Callable[[str], Deliverer],
        settings: Notify,
        clock: Callable[[], datetime],
        *,
        first_pause_seconds: float = _FIRST_PAUSE_SECONDS,
    ) -> None:
        self._outbox = outbox
        self._deliverer = deliverer
        self._settings = settings
        self._clock = clock
        self._first_pause = first_pause_seconds
        self._woken = asyncio.Event()
        self._stopping = False
        self._running: dict[asyncio.Task[None], str] = {}
        self._paused: dict[str, float] = {}  # destination -> when it is asked again, by the loop's clock
        self._spread = SystemRandom()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Until `stop`."""
        forgetting = asyncio.create_task(self._keep_forgetting())
        try:
            while not self._stopping:
                self._woken.clear()
                try:
                    seconds = await self._look()
                except StoreError as error:
                    _log.warning("the outbox cannot be looked at", reason=str(error))
                    seconds = _STORE_RETRY_SECONDS
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), seconds)
        finally:
            forgetting.cancel()

    async def stop(self, seconds: float) -> None:
        """Take nothing more. What is on its way may arrive, for so long; the rest comes again when its lease is over."""
        self._stopping = True
        self.wake()
        if self._running:
            await asyncio.wait(list(self._running), timeout=seconds)
        for task in list(self._running):
            task.cancel()

    async def _look(self) -> float:
        """Send off what is due. How long until there may be more, in seconds."""
        free = _AT_ONCE - len(self._running)
        if free > 0:
            now = self._clock()
            until = now + timedelta(seconds=self._settings.timeout_seconds + _LEASE_BEYOND_SECONDS)
            for message in await self._outbox.take(Lease(now, until, free, _PER_DESTINATION, self._passed_over())):
                self._send_off(message)
        next_at = await self._outbox.next_at()
        if next_at is None:
            return _IDLE_SECONDS
        # What is due and was not taken waits for something here, or is somebody else's: no reason to ask all the time.
        return min(max((next_at - self._clock()).total_seconds(), _SOONEST_SECONDS), _IDLE_SECONDS)

    def _passed_over(self) -> set[str]:
        now = asyncio.get_running_loop().time()
        self._paused = {place: until for place, until in self._paused.items() if until > now}
        busy = {place for place, count in Counter(self._running.values()).items() if count >= _PER_DESTINATION}
        return busy | set(self._paused)

    def _send_off(self, message: OutboxMessage) -> None:
        task = asyncio.create_task(self._see_through(message), name=f"deliver {message.id}")
        self._running[task] = message.destination
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._running.pop(task, None)
        self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("what became of a message is not known: it comes again", error=type(error).__name__)

    async def _see_through(self, message: OutboxMessage) -> None:
        if message.attempts > self._most(message):  # as often as that, this process or another one has died of it
            outcome: Outcome = Dead(message.last_error or "each attempt ended without an answer")
        else:
            outcome = await self._attempt(message)
        await self._write_down(message, self._settled(message, outcome))

    async def _attempt(self, message: OutboxMessage) -> Outcome:
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                return await self._deliverer(message.destination).deliver(message)
        except TimeoutError:
            return Later(None, f"no answer within {self._settings.timeout_seconds:g} s")
        except Exception as error:  # of a library, whose text may quote what it was given
            _log.error("a message could not be delivered", message=message.id, error=type(error).__name__)
            return Later(None, f"an error of ours: {type(error).__name__}")

    def _settled(self, message: OutboxMessage, outcome: Outcome) -> Settled:
        now = self._clock()
        facts = {"message": message.id, "topic": message.topic, "destination": _kind(message.destination)}
        match outcome:
            case Delivered(receipt, dropped):
                self._paused.pop(message.destination, None)
                if dropped:
                    _log.info("message not sent", **facts, reason=dropped)
                return Settled(OutboxState.DELIVERED, now, error=dropped, receipt=receipt)
            case Later(asked, why) if message.attempts < self._most(message):
                seconds = self._pause(message) if asked is None else max(asked, 1.0)
                self._hold(message.destination, seconds if asked is not None else min(seconds, _DESTINATION_PAUSE_SECONDS))
                _log.warning("message not delivered: later", **facts, reason=why, attempt=message.attempts)
                return Settled(OutboxState.PENDING, now, now + timedelta(seconds=seconds), why)
            case Later(_, why) | Dead(why):
                _log.error("message given up", **facts, reason=why, attempts=message.attempts)
                return Settled(OutboxState.DEAD, now, error=why)

    def _most(self, message: OutboxMessage) -> int:
        """Attempts. Of a test, somebody waits for what becomes of the first."""
        return 1 if message.topic == TEST_TOPIC else self._settings.attempts

    def _pause(self, message: OutboxMessage) -> float:
        doubled = self._first_pause * float(2 ** min(max(message.attempts - 1, 0), _MOST_DOUBLINGS))
        return min(doubled, _LONGEST_PAUSE_SECONDS) * self._spread.uniform(1 - _SPREAD, 1 + _SPREAD)

    def _hold(self, destination: str, seconds: float) -> None:
        self._paused[destination] = asyncio.get_running_loop().time() + seconds

    async def _write_down(self, message: OutboxMessage, settled: Settled) -> None:
        """Not to be had: then it comes again, under the same id."""
        for _ in range(_SETTLE_TRIES):
            try:
                await self._outbox.settle(message, settled)
            except StoreError as error:
                _log.warning("what became of a message cannot be written down", message=message.id, reason=str(error))
                await asyncio.sleep(_STORE_RETRY_SECONDS)
            else:
                return

    async def _keep_forgetting(self) -> None:
        while True:
            with contextlib.suppress(StoreError):
                await self._outbox.forget(self._clock() - timedelta(days=self._settings.keep_days))
            await asyncio.sleep(_FORGET_SECONDS)


def _kind(destination: str) -> str:
    """An address is for nobody's log."""
    kind, _, place = destination.partition(":")
    return destination if kind in ("webhook", "slack", "on-call") else f"{kind}:{'...' if place else ''}"
