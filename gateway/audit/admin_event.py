"""One operator action, as it is kept in the store beside the change it speaks of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

DetailValue = str | int | bool | None | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AdminEvent:
    """Who did what to which object, and why.

    `action` is "<object>.<verb>" ("grant.revoked"), `object_name` what a person would call the object, `detail` further facts:
    never a password, a verifier, a key or a sealed secret.
    """

    actor: str
    action: str
    object_id: str
    object_name: str
    reason: str
    detail: Mapping[str, DetailValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedAdminEvent:
    """An AdminEvent as it was committed.

    `revision` is the store's after it; all events of one change share it. `sequence` counts events: unique, rising by one in the
    order of commits, so whoever has seen number n asks for what comes after n and misses nothing.
    """

    id: str
    at: datetime
    revision: int
    sequence: int
    event: AdminEvent
