"""The catalogs that this worker's read-only sessions are judged by: one per target and login, shared by all of its sessions.

A catalog is read when the first session needs it and again by time, soon after DDL was seen, and by command, for as long as a
session of it lives; after that it is kept for a while, and read again for the next one. When reading fails, the last one serves
until it is too old to be relied on; then its sessions live on under a *stale* one.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.access.model import DatabaseRole, Target
from gateway.access_mode import AccessMode
from gateway.ports import Directory, Vault
from gateway.proxy.catalog_reading import Answers, read_answers
from gateway.proxy.catalog_tally import CatalogTally
from gateway.proxy.upstream import UpstreamDialer
from gateway.session.upstream_login import UpstreamRefused
from gateway.settings import CurrentSettings, Settings
from gateway.statements.catalog import Catalog, CatalogError

_AFTER_DDL_SECONDS: Final = 0.05  # what comes in a burst is read once
_RETRY_SECONDS: Final = 2.0
_BREAK_FACTOR: Final = 5  # under a stream of DDL, a sixth of the time goes into reading
_log: Final = structlog.stdlib.get_logger("gateway.catalog")


class CatalogUnavailable(Exception):
    """There is none to open a session with. `kind` and `sqlstate` are those of UpstreamRefused; for operators."""

    def __init__(self, kind: str, sqlstate: str) -> None:
        super().__init__(kind)
        self.kind = kind
        self.sqlstate = sqlstate


@dataclass(frozen=True, slots=True)
class _Key:
    """A target that is moved is another one: its sessions end."""

    target_id: str
    mode: AccessMode
    host: str
    port: int
    dbname: str
    login: str


class Hold:
    """A session's hold on its catalog. `leave` when it ends; may be said twice."""

    __slots__ = ("_entry", "follower")

    def __init__(self, entry: "_Entry") -> None:
        self._entry = entry
        self.follower: Callable[[], None] | None = None

    @property
    def now(self) -> Catalog:
        """The newest, perhaps stale."""
        found = self._entry.in_force
        if found is None:
            raise RuntimeError("a catalog is held that was never read")
        return found

    def leave(self) -> None:
        self._entry.release(self)


class _Entry:
    """`newest`: the last that was read; `in_force`: what sessions are judged by, the newest or its stale twin."""

    def __init__(self, key: _Key, name: str, parent: "Catalogs") -> None:
        self.key = key
        self.name = name
        self._parent = parent
        self._loop = asyncio.get_running_loop()
        self.holds: set[Hold] = set()
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
        policy = parent.settings.policy
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
        self._due = self._loop.time() + min(_RETRY_SECONDS, self._parent.settings.policy.catalog_seconds)
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
        for hold in list(self.holds):
            if hold.follower is not None:
                hold.follower()
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
                try:
                    async with asyncio.timeout(wait):
                        await self._nudge.wait()
                except TimeoutError:
                    pass
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


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh of one catalog came to. `failure`: "" or the kind; `revision`: of what is in force now."""

    login: str
    revision: str
    seconds: float
    failure: str = ""


class Catalogs:
    """`prepare` works out, in a thread, what judging by a new catalog needs; `superseded` hears what nobody is judged by now."""

    def __init__(
        self,
        current: CurrentSettings,
        directory: Directory,
        vault: Vault,
        dialer: UpstreamDialer,
        prepare: Callable[[Target, AccessMode, Catalog], None],
        superseded: Callable[[Catalog], None],
    ) -> None:
        self._current = current
        self._directory = directory
        self._vault = vault
        self._dialer = dialer
        self._prepare = prepare
        self.superseded = superseded
        self.tally = CatalogTally()
        self._entries: dict[_Key, _Entry] = {}

    @property
    def settings(self) -> Settings:
        return self._current.now

    async def hold(self, target: Target, mode: AccessMode, role: DatabaseRole) -> Hold:
        """The catalog of what sessions in this mode see there. Raises CatalogUnavailable."""
        key = _Key(target.id, mode, target.host, target.port, target.dbname, role.login)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(key, target.name, self)
        return await entry.hold()

    def suspect(self, target_id: str) -> None:
        """DDL passed through a session of this target, here or in another worker."""
        for entry in self._of(target_id):
            entry.suspect()

    async def refresh(self, target_id: str) -> list[Refreshed]:
        """When this returns, live sessions of the target are judged by what is in the database now."""
        return list(await asyncio.gather(*(self._refresh(entry) for entry in self._of(target_id))))

    async def _refresh(self, entry: _Entry) -> Refreshed:
        loop = asyncio.get_running_loop()
        started, failure = loop.time(), ""
        try:
            await entry.read_anew()
        except CatalogUnavailable as unavailable:
            failure = unavailable.kind
        revision = entry.in_force.revision if entry.in_force is not None else ""
        return Refreshed(entry.key.login, revision, loop.time() - started, failure)

    def close(self) -> None:
        for entry in list(self._entries.values()):
            entry.close()
        self._entries.clear()

    @property
    def held(self) -> int:
        """How many catalogs live sessions are judged by."""
        return sum(1 for entry in self._entries.values() if entry.holds and entry.in_force is not None)

    @property
    def oldest_seconds(self) -> float:
        """The age of the oldest of them."""
        ages = [entry.age_seconds for entry in self._entries.values() if entry.holds and entry.in_force is not None]
        return max(ages, default=0.0)

    def _of(self, target_id: str) -> list[_Entry]:
        return [entry for entry in self._entries.values() if entry.key.target_id == target_id]

    # -- of the entries ------------------------------------------------------------------------------------------------

    def forget(self, entry: _Entry) -> None:
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
            entry.close()

    async def ask(self, key: _Key) -> Answers:
        """Raises UpstreamRefused."""
        target, role = self._place(key)
        settings = self._current.now
        return await read_answers(
            self._dialer,
            target,
            role,
            self._vault.open(role),
            mode=key.mode,
            timeout_seconds=settings.policy.catalog_timeout_seconds,
            iterations_max=settings.limits.scram_iterations_max,
        )

    def build(self, key: _Key, answers: Answers) -> Catalog:
        """In a thread. Raises what `Answers.as_catalog` does."""
        catalog = answers.as_catalog()
        target, _ = self._place(key)
        self._prepare(target, key.mode, catalog)
        return catalog

    def _place(self, key: _Key) -> tuple[Target, DatabaseRole]:
        """As of now: its secret may be a new one. Raises UpstreamRefused when the target is gone or was moved."""
        for target in self._directory.snapshot.targets.values():
            role = target.roles.get(key.mode) if target.id == key.target_id else None
            if role is not None and key == _Key(target.id, key.mode, target.host, target.port, target.dbname, role.login):
                return target, role
        raise UpstreamRefused("gone", "the target is gone, or was moved")
