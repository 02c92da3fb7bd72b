"""The seams between the core and the world. Adapters implement them; nothing here does anything."""

from collections.abc import Callable
from typing import Protocol

from gateway.access.model import DatabaseRole, Snapshot
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

    def append(self, body: bytes) -> None:
        """Buffer one record: the inside of a JSON object, without braces. The sink adds `at`, `mono`, `worker` and `seq`."""
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


class Vault(Protocol):
    """Opens sealed upstream secrets."""

    def open(self, role: DatabaseRole) -> Secret:
        """Raises VaultError (of the adapter's own tree) when the key does not fit or the row was tampered with."""
        ...
