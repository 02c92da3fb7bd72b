"""What was to be told elsewhere, as people look at it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.ports.rows import OutboxMessage, OutboxState


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages. All that is given must hold. `kind`: of destination ("webhook"). `before`: lower sequence numbers."""

    state: OutboxState | None = None
    destination: str | None = None
    kind: str | None = None
    request_id: str | None = None
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """`oldest_pending_at`: when the oldest message that waits was written; None: none does."""

    pending: int
    dead: int
    oldest_pending_at: datetime | None


class Outbox(Protocol):
    """Looked at; it is changed by units of work, and by the courier."""

    async def messages(self, wanted: MessageFilter) -> list[OutboxMessage]:
        """The newest first."""
        ...

    async def message(self, message_id: str) -> OutboxMessage | None: ...

    async def count(self) -> OutboxCounts: ...
