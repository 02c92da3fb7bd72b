"""Where workers learn who may do what."""

from collections.abc import Callable
from typing import Protocol

from gateway.access.model import Snapshot


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
