"""Several verbs as one change: one transaction, one revision, each verb's own audit events. For requests that say several things.

A verb sees the rows that the ones before it staged. Only for users and targets, which is what such requests are about.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from gateway.access.model import Snapshot, Target, User
from gateway.access.request_record import AccessRequest
from gateway.audit.admin_event import AdminEvent
from gateway.ports import ChangeableRow, FormerLogin, IdempotencyClaim, RequestFilter, Store, TargetAdmin, UnitOfWork

Row = TypeVar("Row", User, Target)


class Together:
    """Implements ports.Store for the verbs. `commit` ends it; without that, nothing happened."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work
        self._snapshot = work.snapshot
        self._rows: dict[str, User | Target] = {}  # by id: what the last verb made of it
        self._events: list[AdminEvent] = []

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        yield _Part(self, self._work)

    async def read(self) -> Snapshot:
        return self._snapshot

    async def commit(self) -> None:
        """Nothing to do is nothing done."""
        for row in self._rows.values():
            self._work.put(row)
        if self._events:
            event, *more = self._events
            await self._work.commit(event, *more)

    def staged(self, row: ChangeableRow) -> None:
        version = self._work.snapshot.revision + 1
        match row:
            case User():
                self._snapshot = replace(self._snapshot, users=_with(self._snapshot.users, replace(row, version=version)))
            case Target():
                self._snapshot = replace(self._snapshot, targets=_with(self._snapshot.targets, replace(row, version=version)))
            case _:
                raise TypeError("only users and targets are changed by several verbs at once")
        self._rows[row.id] = row

    def noted(self, events: tuple[AdminEvent, ...]) -> int:
        self._events += events
        return self._work.snapshot.revision + 1

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot


class _Part:
    """Implements ports.UnitOfWork for one verb."""

    def __init__(self, whole: Together, work: UnitOfWork) -> None:
        self._whole = whole
        self._work = work

    @property
    def snapshot(self) -> Snapshot:
        return self._whole.snapshot

    @property
    def now(self) -> datetime:
        return self._work.now

    def put(self, row: ChangeableRow) -> None:
        self._whole.staged(row)

    def remove(self, row: ChangeableRow) -> None:
        raise TypeError("nothing is removed by several verbs at once")

    def claim(self, claim: IdempotencyClaim) -> None:
        self._work.claim(claim)

    async def target_admin(self, target_id: str) -> TargetAdmin | None:
        return await self._work.target_admin(target_id)

    async def former_logins(self, target_id: str) -> list[FormerLogin]:
        return await self._work.former_logins(target_id)

    async def next_request_number(self) -> int:
        return await self._work.next_request_number()

    async def access_request(self, key: str | int) -> AccessRequest | None:
        return await self._work.access_request(key)

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]:
        return await self._work.access_requests(wanted)

    async def commit(self, event: AdminEvent, *more: AdminEvent) -> int:
        return self._whole.noted((event, *more))


@asynccontextmanager
async def together(store: Store) -> AsyncIterator[Together]:
    """Commits at the end of the block, unless it was left by an exception."""
    async with store.begin() as work:
        whole = Together(work)
        yield whole
        await whole.commit()


def _with(rows: Mapping[str, Row], row: Row) -> dict[str, Row]:
    return {**rows, row.name: row}
