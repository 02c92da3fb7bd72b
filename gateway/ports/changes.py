"""Where changes begin, and how one is made."""

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from gateway.access.model import Snapshot
from gateway.access.request_record import AccessRequest
from gateway.audit.admin_event import AdminEvent
from gateway.ports.rows import ChangeableRow, FormerLogin, IdempotencyClaim, RequestFilter, TargetAdmin


class UnitOfWork(Protocol):
    """One change: look at `snapshot`, stage rows, commit them together with their audit event, or leave without a trace."""

    @property
    def snapshot(self) -> Snapshot:
        """The whole as it is now; nobody else can change it before this unit of work ends."""
        ...

    @property
    def now(self) -> datetime: ...

    def put(self, row: ChangeableRow) -> None:
        """Insert or replace by id; the stored row's `version` will be the new revision. A target's roles go with it."""
        ...

    def remove(self, row: ChangeableRow) -> None:
        """What hangs on a user, a group or a target (grants, memberships, allowlist entries, database roles) goes too."""
        ...

    def claim(self, claim: IdempotencyClaim) -> None:
        """Commit this with the change; a claim whose key exists makes the commit a StoreConflictError."""
        ...

    async def target_admin(self, target_id: str) -> TargetAdmin | None:
        """As it is now; nobody else can change it before this unit of work ends."""
        ...

    async def former_logins(self, target_id: str) -> list[FormerLogin]:
        """Likewise, by access mode."""
        ...

    async def next_request_number(self) -> int:
        """Of an access request that is made in this unit of work."""
        ...

    async def access_request(self, key: str | int) -> AccessRequest | None:
        """By its id or its number, as it is now; nobody else can change it before this unit of work ends."""
        ...

    async def access_requests(self, wanted: RequestFilter) -> list[AccessRequest]:
        """Likewise, the newest first."""
        ...

    async def commit(self, event: AdminEvent, *more: AdminEvent) -> int:
        """The new revision (one for all of it). Removals run before puts. At least one event, in the same transaction."""
        ...


class Store(Protocol):
    """Where changes begin."""

    def begin(self) -> AbstractAsyncContextManager[UnitOfWork]: ...

    async def read(self) -> Snapshot: ...
