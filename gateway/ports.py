"""The seams between the core and the world. Adapters implement them; nothing here does anything."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.access.model import AllowlistEntry, DatabaseRole, Grant, Snapshot, Target, User
from gateway.audit.admin_event import AdminEvent
from gateway.secret import Secret


class AuditSink(Protocol):
    """Where audit lines go *before* the bytes they speak of.

    `append` only buffers. `release` calls `action(written)` once everything appended so far is written (in fsync mode: on
    disk), at the latest at the end of this turn of the event loop plus that write; `written` is False when it could not be,
    and then nothing may be forwarded. Releases run in the order in which they were given.
    """

    @property
    def healthy(self) -> bool:
        """False from the first failed write until one succeeds again (the sink keeps trying by itself)."""
        ...

    @property
    def sqlstate_of_failure(self) -> str:
        """Why it is not healthy: "53100" (disk full) or "58030"."""
        ...

    def append(self, body: bytes) -> None:
        """Buffer one record: the inside of a JSON object, without braces. The sink adds `at`, `mono`, `worker` and `seq`."""
        ...

    def submit(self, bodies: list[bytes], action: Callable[[bool], None]) -> None:
        """`append` each and `release`, at once: the way of a statement. The list stays the caller's."""
        ...

    def note(self, bodies: list[bytes]) -> None:
        """Buffer records of what is over already: they go with the next ones, at the latest some milliseconds later.

        The list stays the caller's.
        """
        ...

    def release(self, action: Callable[[bool], None]) -> None: ...


class Directory(Protocol):
    """The newest snapshot of who may do what."""

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def fresh(self) -> bool:
        """False when the store has not answered for longer than `stale_after_seconds`: admit nobody new."""
        ...

    @property
    def stale_for_seconds(self) -> float:
        """How long the store has not answered (0 while it does)."""
        ...

    def wake(self) -> None:
        """Somebody says that the store changed: look now."""
        ...

    def subscribe(self, callback: Callable[[Snapshot], None]) -> None:
        """Called on the event loop with each new snapshot."""
        ...


class Vault(Protocol):
    """Opens sealed upstream secrets."""

    def open(self, role: DatabaseRole) -> Secret:
        """Raises VaultError (of the adapter's own tree) when the key does not fit or the row was tampered with."""
        ...


class Sealer(Protocol):
    """Seals upstream secrets for their row; what `Vault` opens."""

    def seal(self, row_id: str, secret: Secret) -> bytes: ...


@dataclass(frozen=True, slots=True)
class SessionTermination:
    """An admin ended this session. `reason` is read by its client."""

    session_id: str
    reason: str


ChangeableRow = User | Target | Grant | AllowlistEntry | SessionTermination


class UnitOfWork(Protocol):
    """One change: look at `snapshot`, stage rows, commit them together with their audit event, or leave without a trace."""

    @property
    def snapshot(self) -> Snapshot:
        """The whole as it is now; nobody else can change it before this unit of work ends."""
        ...

    @property
    def now(self) -> datetime: ...

    def put(self, row: ChangeableRow) -> None:
        """Insert or replace by id. A target's database roles go with it."""
        ...

    def remove(self, row: ChangeableRow) -> None:
        """What hangs on a user or a target (grants, allowlist entries, database roles) goes too."""
        ...

    async def commit(self, event: AdminEvent) -> int:
        """The new revision. Removals run before puts."""
        ...


class Store(Protocol):
    """Where changes begin."""

    def begin(self) -> AbstractAsyncContextManager[UnitOfWork]: ...

    async def read(self) -> Snapshot: ...
