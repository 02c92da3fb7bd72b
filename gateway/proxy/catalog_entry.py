"""One catalog of a worker: who holds it, how old it is, when it is read again.

When reading fails, the last one serves until it is too old to be relied on; then its sessions live on under a *stale* one.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from gateway.proxy.catalog_hold import CatalogUnavailable, Hold, Key
from gateway.proxy.catalog_reading import Answers
from gateway.proxy.catalog_tally import CatalogTally
from gateway.proxy.registry import Session
from gateway.session.upstream_login import UpstreamRefused
from gateway.settings.model import Policy
from gateway.statements.catalog import Catalog, CatalogError

_AFTER_DDL_SECONDS: Final = 0.05  # what comes in a burst is read once
_RETRY_SECONDS: Final = 2.0
_BREAK_FACTOR: Final = 5  # under a stream of DDL, a sixth of the time goes into reading
_log: Final = structlog.stdlib.get_logger("gateway.catalog")


class Source(Protocol):
    """What an entry needs of those around it."""

    tally: CatalogTally

    @property
    def policy(self) -> Policy:
        """The settings in force."""
        ...

    async def ask(self, key: Key) -> Answers:
        """Raises UpstreamRefused."""
        ...

    def build(self, key: Key, answers: Answers) -> Catalog:
        """In a thread. Raises CatalogError, UnicodeDecodeError."""
        ...

    def judged_anew(self, followers: Mapping[str, Session]) -> None:
        """Another catalog is in force for these sessions."""
        ...

    def superseded(self, catalog: Catalog) -> None:
        """Nobody is judged by this any more."""
        ...

    def forget(self, entry: "Entry") -> None:
        """Nobody needs it."""
        ...


class Entry:
    """`newest`: the last that was read; `in_force`: what sessions are judged by, the newest or its stale twin."""

    def __init__(self, key: Key, name: str, parent: Source) -> None:
        self.key = key
        self.name = name
        self._parent = parent
        self._loop = asyncio.get_running_loop()
        self.holds: set[Hold] = set()
        self.followers: dict[str, Session] = {}  # of those who hold it, the sessions that are let in
        self.newest: Catalog | None = None
        self.in_force: Catalog | None = None
        self._digest = b""
        self._read_at = 0.0  # when the newest was begun
        self._took = 0.0
        self._due = 0.0
        self._suspected_at = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._aging: asyncio.TimerHandle | None = None

    @property
    def age_seconds(self) -> float:
        return self._loop.time() - self._read_at

    @property
    def usable(self) -> bool:
        return self.in_force is not None and not self.in_force.stale

    @property
    def _outdated(self) -> bool:
        return self._loop.time() >= self._due or self._suspected_at >= self._read_at

    # -- holds ---------------------------------------------------------------------------------------------------------

    async def hold(self) -> Hold:
        """Raises CatalogUnavailable."""
        hold = Hold(self)
        kept_fresh = bool(self.holds)
        self.holds.add(hold)
        try:
            if not self.usable or (not kept_fresh and self._outdated):
                try:
                    await self.read()
                except CatalogUnavailable:
                    if not self.usable:
                        raise
        except BaseException:
            self.release(hold)
            raise
        if self._keeper is None and hold in self.holds:
            self._keeper = asyncio.create_task(self._keep(), name=f"catalog {self.key.target_id}")
        return hold

    def release(self, hold: Hold) -> None:
        self.holds.discard(hold)
        if not self.holds:
            if self._keeper is not None:
                self._keeper.cancel()
                self._keeper = None
            if self.newest is None and self._reading is None:
                self._parent.forget(self)

    def close(self) -> None:
        for task in (self._keeper, self._reading):
            if task is not None:
                task.cancel()
        if self._aging is not None:
            self._aging.cancel()

    # -- reading -------------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """One at a time, whoever asks. Raises CatalogUnavailable. Cancelling the caller cancels nothing for others."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name=f"catalog {self.key.target_id}")
            self._reading.add_done_callback(self._read_over)
        await asyncio.shield(self._reading)

    async def read_anew(self) -> None:
        """As of now: one that is under way may have looked before. Raises CatalogUnavailable."""
        if (reading := self._reading) is not None:
            await asyncio.wait([reading])
        await self.read()

    def _read_over(self, task: "asyncio.Task[None]") -> None:
        self._reading = None
        if not task.cancelled():
            task.exception()  # perhaps nobody waits any more
        if not self.holds and self.newest is None:
            self._parent.forget(self)

    async def _read(self) -> None:
        parent, now = self._parent, self._loop.time
        started = now()
        try:
            answers = await parent.ask(self.key)
            catalog = self.newest
            if catalog is None or answers.digest != self._digest:
                catalog = await asyncio.to_thread(parent.build, self.key, answers)
        except UpstreamRefused as refused:
            self._failed(refused.kind, refused.sqlstate, refused.detail)
            raise CatalogUnavailable(refused.kind, refused.sqlstate) from refused
        except (CatalogError, UnicodeDecodeError, MemoryError) as error:
            self._failed("unreadable", "", str(error)[:200])
            raise CatalogUnavailable("unreadable", "") from error
        self._read_at, self._took, self._digest = started, now() - started, answers.digest
        policy = parent.policy
        self._due = started + policy.catalog_seconds
        if self._suspected_at >= started:
            self._due = min(self._due, self._after_ddl())
        parent.tally.loaded(self._took)
        if self._aging is not None:
            self._aging.cancel()
        self._aging = self._loop.call_at(started + policy.catalog_stale_seconds, self._grow_stale)
        former, self.newest = self.newest, catalog
        self._put_in_force(catalog)
        if former is None or former.revision != catalog.revision:
            self._note_change(catalog)
            if former is not None:
                parent.superseded(former)

    def _failed(self, kind: str, sqlstate: str, detail: str) -> None:
        self._due = self._loop.time() + min(_RETRY_SECONDS, self._parent.policy.catalog_seconds)
        self._parent.tally.failed()
        _log.warning(
            "a target's catalog could not be read",
            target=self.name,
            kind=kind,
            sqlstate=sqlstate,
            detail=detail,
        )

    def _note_change(self, catalog: Catalog) -> None:
        counts = {name: len(rows) for name, rows in catalog.rows.as_answers().items() if rows}
        took = round(self._took, 3)
        _log.info("a target's catalog has a new revision", target=self.name, revision=catalog.revision, seconds=took, **counts)

    def _put_in_force(self, catalog: Catalog) -> None:
        before = self.in_force
        if before is not None and before.revision == catalog.revision:
            return
        self.in_force = catalog
        self._parent.judged_anew(self.followers)
        if before is not None and before.stale:
            self._parent.superseded(before)

    def _grow_stale(self) -> None:
        if not self.holds:
            self._parent.forget(self)
        elif self.newest is not None:
            _log.warning("a target's catalog is too old to be relied on", target=self.name)
            self._put_in_force(self.newest.as_stale())

    # -- keeping it fresh ----------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            wait = self._due - self._loop.time()
            if wait > 0:
                self._nudge.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._nudge.wait()
                continue
            try:
                await self.read()
            except CatalogUnavailable:
                pass  # it is logged, and tried again
            except Exception:
                _log.exception("a target's catalog could not be read", target=self.name)
                self._failed("internal-error", "", "")

    def suspect(self) -> None:
        """Something in the database may have changed just now."""
        self._suspected_at = self._loop.time()
        self._due = min(self._due, self._after_ddl())
        self._nudge.set()

    def _after_ddl(self) -> float:
        pause = self._read_at + self._took * _BREAK_FACTOR
        return max(self._suspected_at + _AFTER_DDL_SECONDS, pause)
