"""The catalogs that this worker's read-only sessions are judged by: one per target and login, shared by all of its sessions.

A catalog is read when the first session needs it and again by time, soon after DDL was seen, and by command, for as long as a
session of it lives; after that it is kept for a while, and read again for the next one.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.access.model import DatabaseRole, Target
from gateway.access_mode import AccessMode
from gateway.ports import Directory
from gateway.proxy.catalog_entry import Entry
from gateway.proxy.catalog_hold import CatalogUnavailable, Hold, Key
from gateway.proxy.catalog_reading import Answers, read_answers
from gateway.proxy.catalog_tally import CatalogTally
from gateway.proxy.registry import Session
from gateway.proxy.upstream import UpstreamDialer
from gateway.session.upstream_login import UpstreamRefused
from gateway.settings import CurrentSettings
from gateway.settings.model import Policy
from gateway.statements.catalog import Catalog

__all__ = ["CatalogUnavailable", "Catalogs", "Hold", "Refreshed"]


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh of one catalog came to. `failure`: "" or the kind; `revision`: of what is in force now."""

    login: str
    revision: str
    seconds: float
    failure: str = ""


class Catalogs:
    """`prepare` works out, in a thread, what judging by a new catalog needs; `judged_anew` hears whom it is in force for, and
    `superseded` what nobody is judged by now.
    """

    def __init__(
        self,
        current: CurrentSettings,
        directory: Directory,
        dialer: UpstreamDialer,
        prepare: Callable[[Target, AccessMode, Catalog], None],
        judged_anew: Callable[[Mapping[str, Session]], None],
        superseded: Callable[[Catalog], None],
    ) -> None:
        self._current = current
        self._directory = directory
        self._dialer = dialer
        self._prepare = prepare
        self._judged_anew = judged_anew
        self._superseded = superseded
        self.tally = CatalogTally()
        self._entries: dict[Key, Entry] = {}

    @property
    def policy(self) -> Policy:
        return self._current.now.policy

    async def hold(self, target: Target, mode: AccessMode, role: DatabaseRole) -> Hold:
        """The catalog of what sessions in this mode see there. Raises CatalogUnavailable."""
        key = Key(target.id, mode, target.host, target.port, target.dbname, role.login)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(key, target.name, self)
        return await entry.hold()

    def suspect(self, target_id: str) -> None:
        """DDL passed through a session of this target, here or in another worker."""
        for entry in self._of(target_id):
            entry.suspect()

    async def refresh(self, target_id: str) -> list[Refreshed]:
        """When this returns, live sessions of the target are judged by what is in the database now."""
        return list(await asyncio.gather(*(self._refresh(entry) for entry in self._of(target_id))))

    async def _refresh(self, entry: Entry) -> Refreshed:
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

    def _of(self, target_id: str) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.key.target_id == target_id]

    # -- of the entries ------------------------------------------------------------------------------------------------

    def judged_anew(self, followers: Mapping[str, Session]) -> None:
        self._judged_anew(followers)

    def superseded(self, catalog: Catalog) -> None:
        self._superseded(catalog)

    def forget(self, entry: Entry) -> None:
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
            entry.close()

    async def ask(self, key: Key) -> Answers:
        """Raises UpstreamRefused."""
        target, role = self._place(key)
        settings = self._current.now
        return await read_answers(
            self._dialer,
            target,
            role,
            mode=key.mode,
            timeout_seconds=settings.policy.catalog_timeout_seconds,
            iterations_max=settings.limits.scram_iterations_max,
        )

    def build(self, key: Key, answers: Answers) -> Catalog:
        """In a thread. Raises what `Answers.as_catalog` does."""
        catalog = answers.as_catalog()
        target, _ = self._place(key)
        self._prepare(target, key.mode, catalog)
        return catalog

    def _place(self, key: Key) -> tuple[Target, DatabaseRole]:
        """As of now: its secret may be a new one. Raises UpstreamRefused when the target is gone or was moved."""
        for target in self._directory.snapshot.targets.values():
            role = target.roles.get(key.mode) if target.id == key.target_id else None
            if role is not None and key == Key(target.id, key.mode, target.host, target.port, target.dbname, role.login):
                return target, role
        raise UpstreamRefused("gone", "the target is gone, or was moved")
