"""What a deliverer is: it is given a message for its kind of destination, and says what became of it.

A message may come again after it was delivered, since a process can die before that is written down: its `id` is the same then,
and goes along wherever the other side takes one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from gateway.access.model import Snapshot, User
from gateway.ports import OutboxMessage
from gateway.settings import Settings
from gateway.store.sql_store import SqlStore
from gateway.store.vault import SealedVault


@dataclass(frozen=True, slots=True)
class Delivered:
    """`receipt`: what a later message about the same request needs to know of this one (Slack: the channel and the time stamp).

    `dropped`: why nothing was sent although nothing is wrong, "" when it was.
    """

    receipt: str = ""
    dropped: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """Try again. `seconds`: after so many, as the other side asked; None: as the courier does by itself. `why` holds no secret."""

    seconds: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Trying again would not help. `why` holds no secret."""

    why: str


Outcome: TypeAlias = Delivered | Later | Dead


class Deliverer(Protocol):
    """For one kind of destination. Called for several messages at a time, never twice at a time for the same request and place.

    It is cancelled when it takes too long. What it raises counts as `Later`.
    """

    async def deliver(self, message: OutboxMessage) -> Outcome: ...


class PersonalDeliverer(Protocol):
    """One that can reach people, too."""

    async def deliver_to(self, message: OutboxMessage, user: User) -> Outcome | None:
        """None: it does not know where to reach this person."""
        ...


class Channel(Deliverer, Protocol):
    """A deliverer with a life: `start` may begin to listen for what people do there."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Means:
    """What deliverers are made with. `settings` are those of this process's life: it is replaced when the sections that matter
    here change. `snapshot`: the newest one. `store`: its commits are told to the gateway by themselves."""

    settings: Settings
    store: SqlStore
    vault: SealedVault
    snapshot: Callable[[], Snapshot]
    clock: Callable[[], datetime]
