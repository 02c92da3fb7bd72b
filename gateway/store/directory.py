"""The gateway's view of the store: the newest snapshot, kept in memory and never in the way.

One task looks for news, another asks whether the store could take a change. No login, no statement and no turn of the event loop
waits for either. A store that is locked, full, read-only, corrupt, gone or unreachable makes `fresh` False after a while - who
cannot be told of a revocation, or whose admins cannot make one, must not let anybody in - and both tasks keep trying.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from gateway.access.model import Snapshot
from gateway.store.errors import StoreError, StoreUnavailableError
from gateway.store.feed import Feed
from gateway.store.keys_wanted import Keys
from gateway.store.letting_go import empty, parts_of
from gateway.store.places import Place, PostgresPlace, SqlitePlace, locate

if TYPE_CHECKING:
    from gateway.settings import Settings

_PROBE_SECONDS: Final = 0.4
_CANCEL_AGAIN_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 0.3

_log: Final = structlog.get_logger(__name__)


class StoreDirectory:
    """Implements ports.Directory. Never changes the store; one per process, used from its event loop."""

    def __init__(
        self,
        where: "Settings | str | Place",
        *,
        poll_seconds: float,
        stale_after_seconds: float,
        keys: Keys | None = None,
    ) -> None:
        """`keys`: refuse to start on a store whose secrets are sealed with a master key that is not among them."""
        self._poll_seconds = poll_seconds
        self._probe_seconds = min(_PROBE_SECONDS, stale_after_seconds / 4)
        self._stale_after_seconds = stale_after_seconds
        self._wake = asyncio.Event()
        self._feed = _open_feed(locate(where), keys, self.wake)
        self._snapshot: Snapshot | None = None
        self._answers = _Answers("the store does not answer; still deciding by the last snapshot", "the store answers again", 0)
        # Whoever is changing the store keeps it from others for a moment: nothing to speak of.
        self._takes_changes = _Answers("the store takes no changes", "the store takes changes again", stale_after_seconds)
        self._subscribers: list[Callable[[Snapshot], None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load the first snapshot, then watch. Raises StoreError (VaultError when the key is another)."""
        try:
            await self._look()
        except BaseException:
            await self._feed.close()
            raise
        self._takes_changes.good(time.monotonic())  # until the first probe tells
        self._tasks = [
            asyncio.create_task(self._watch(), name="store-directory"),
            asyncio.create_task(self._probe(), name="store-probe"),
        ]

    async def close(self) -> None:
        # Said again until it is heard: a driver that gives up a dead connection at that moment takes it for its own time-out.
        while running := [task for task in self._tasks if not task.done()]:
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=_CANCEL_AGAIN_SECONDS)
        self._tasks = []
        await self._feed.close()

    @property
    def snapshot(self) -> Snapshot:
        if self._snapshot is None:
            raise StoreUnavailableError("the directory was not started")
        return self._snapshot

    @property
    def fresh(self) -> bool:
        return self.stale_for_seconds <= self._stale_after_seconds

    @property
    def stale_for_seconds(self) -> float:
        """Seconds since the store last answered and could be changed; less than half of a second when all is well."""
        return time.monotonic() - min(self._answers.at, self._takes_changes.at)

    def wake(self) -> None:
        """Look again now instead of at the next poll."""
        self._wake.set()

    def subscribe(self, callback: Callable[[Snapshot], None]) -> None:
        """`callback` is called on the loop with each snapshot after the first, as soon as it is loaded."""
        self._subscribers.append(callback)

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                pause = max(self._poll_seconds, _RETRY_SECONDS) if self._answers.failing else self._poll_seconds
                await asyncio.wait_for(self._wake.wait(), pause)
            self._wake.clear()
            former = self._snapshot
            try:
                changed = await self._look()
            except Exception as error:  # whatever it was, this loop goes on: `fresh` tells the rest of the gateway
                self._answers.bad(error)
            else:
                if changed:
                    self._publish()
                    if former is not None:
                        parts, former = parts_of(former), None
                        asyncio.get_running_loop().run_in_executor(None, empty, parts)

    async def _look(self) -> bool:
        asked_at = time.monotonic()
        found = await self._feed.look(self._snapshot)
        self._answers.good(asked_at)
        if found is None or found == self._snapshot:
            return False
        if self._snapshot is not None and found.revision > self._snapshot.revision:
            self._takes_changes.good(asked_at)  # busy writers may leave the probe no turn, and are proof enough
        self._snapshot = found
        return True

    async def _probe(self) -> None:
        while True:
            asked_at = time.monotonic()
            try:
                await self._feed.probe()
            except Exception as error:
                self._takes_changes.bad(error)
            else:
                if self._takes_changes.good(asked_at):
                    self._feed.forget()  # whatever was wrong may have been put right in place
            await asyncio.sleep(self._probe_seconds)

    def _publish(self) -> None:
        for callback in self._subscribers:
            try:
                callback(self.snapshot)
            except Exception:
                _log.exception("a subscriber of the directory failed")


class _Answers:
    """When something last went well, and one log line for each turn to the worse or the better."""

    def __init__(self, worse: str, better: str, patience_seconds: float) -> None:
        """Failures for less than `patience_seconds` are passed over."""
        self.at = time.monotonic()
        self.failing = False
        self._worse = worse
        self._better = better
        self._patience_seconds = patience_seconds

    def good(self, asked_at: float) -> bool:
        """Whether this ends a time of failures."""
        self.at = asked_at
        ended, self.failing = self.failing, False
        if ended:
            _log.warning(self._better)
        return ended

    def bad(self, error: Exception) -> None:
        if not self.failing and time.monotonic() - self.at >= self._patience_seconds:
            self.failing = True
            _log.error(self._worse, error=str(error) if isinstance(error, StoreError) else type(error).__name__)


def _open_feed(place: Place, keys: Keys | None, wake: Callable[[], None]) -> Feed:
    match place:
        case SqlitePlace():
            from gateway.store.sqlite_feed import SqliteFeed

            return SqliteFeed(place, keys)
        case PostgresPlace():
            from gateway.store.postgres_feed import PostgresFeed

            return PostgresFeed(place, keys, wake)
