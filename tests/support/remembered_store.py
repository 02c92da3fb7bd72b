"""A store that is only remembered: units of work as the services know them, over a snapshot in memory, without a file's pace."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

from gateway.access.managed import ManagedLogin
from gateway.access.model import Grant, Snapshot, Target, User
from gateway.access.request_record import AccessRequest
from gateway.audit.admin_event import AdminEvent
from gateway.ports import ChangeableRow, RequestFilter
from gateway.store.errors import StoreConflictError


class RememberedStore:
    """Knows the rows that rights to managed logins hang on."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.events: list[AdminEvent] = []

    async def read(self) -> Snapshot:
        return self.snapshot

    @asynccontextmanager
    async def begin(self) -> AsyncIterator["RememberedWork"]:
        yield RememberedWork(self)


class RememberedWork:
    """Implements ports.UnitOfWork, as far as it is asked here."""

    def __init__(self, store: RememberedStore) -> None:
        self._store = store
        self.snapshot = store.snapshot
        self._changes: list[Callable[[Snapshot], Snapshot]] = []

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]:
        """Nobody asks for anything here."""
        return []

    def put(self, row: ChangeableRow) -> None:
        self._changes.append(lambda snapshot: _without(snapshot, row, (replace(row, version=snapshot.revision + 1),)))

    def remove(self, row: ChangeableRow) -> None:
        self._changes.append(lambda snapshot: _without(snapshot, row, ()))

    async def commit(self, *events: AdminEvent) -> int:
        if self._store.snapshot is not self.snapshot:
            raise StoreConflictError("somebody else changed the store in between")
        made = self.snapshot
        for change in self._changes:
            made = change(made)
        self._store.snapshot = replace(made, revision=made.revision + 1)
        self._store.events += events
        return self._store.snapshot.revision


def _without(snapshot: Snapshot, row: ChangeableRow, put: "tuple[ChangeableRow, ...]") -> Snapshot:
    """With `put` in the row's place; a user takes their grants along."""
    match row:
        case ManagedLogin(id=row_id):
            kept = tuple(each for each in snapshot.managed_logins if each.id != row_id)
            return replace(snapshot, managed_logins=(*kept, *put))  # type: ignore[arg-type]
        case User(name=name, id=row_id):
            users = {key: each for key, each in snapshot.users.items() if key != name}
            if put:
                users[name] = put[0]  # type: ignore[assignment]
            grants = snapshot.grants if put else {key: held for key, held in snapshot.grants.items() if key != row_id}
            return replace(snapshot, users=users, grants=grants)
        case Target(name=name):
            return replace(snapshot, targets={**snapshot.targets, name: put[0]})  # type: ignore[dict-item]
        case Grant(holder_id=holder, id=row_id):
            held = tuple(each for each in snapshot.grants.get(holder, ()) if each.id != row_id)
            return replace(snapshot, grants={**snapshot.grants, holder: (*held, *put)})  # type: ignore[dict-item]
    raise TypeError(f"no place for {row}")
