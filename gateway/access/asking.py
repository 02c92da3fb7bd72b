"""What somebody asks for: the facts, and the fingerprint that binds a yes to them. Pure."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from gateway.access_mode import AccessMode


class Scope(StrEnum):
    """How much a request for statements opens: what they touch, or nothing but them (equal parse trees, literals included)."""

    RELATIONS = "relations"
    EXACT = "exact"


@dataclass(frozen=True, slots=True)
class ModeWanted:
    """To use the target in this access mode, as a grant without limits of its own."""

    mode: AccessMode


@dataclass(frozen=True, slots=True)
class RoleWanted:
    """To be a member of an existing database role; only where logins are managed."""

    database_role: str
    mode: AccessMode


@dataclass(frozen=True, slots=True)
class StatementsWanted:
    """To run these. `mode` is what they need, as the parser found it."""

    texts: tuple[str, ...]
    scope: Scope
    mode: AccessMode


Right = ModeWanted | RoleWanted | StatementsWanted


@dataclass(frozen=True, slots=True)
class Wanted:
    """The whole of what is asked. `holder_id`: for whom; the requester, or another. `starts_at`: None: as soon as it is approved.

    Exactly one of `target_id` and `environment_id` is set: a database, or each that is in the environment when it is approved.
    """

    holder_id: str
    right: Right
    duration_seconds: int
    reason: str = ""
    target_id: str | None = None
    environment_id: str | None = None
    starts_at: datetime | None = None
    ticket: str | None = None

    def __post_init__(self) -> None:
        if (self.target_id is None) == (self.environment_id is None):
            raise ValueError("a request is for one target or one environment")
        if self.duration_seconds <= 0:
            raise ValueError("a request is for some time")

    @property
    def mode(self) -> AccessMode:
        return self.right.mode

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal; two that differ in anything have two. Who decides names the one they looked at."""
        return hashlib.sha256(json.dumps(_plain(self), ensure_ascii=True, separators=(",", ":")).encode("ascii")).hexdigest()

    @property
    def likeness(self) -> str:
        """As the fingerprint, but for when, how long, why and by which ticket: the same thing asked for once more."""
        what = [self.holder_id, self.target_id, self.environment_id, _plain_right(self.right)]
        return hashlib.sha256(json.dumps(what, ensure_ascii=True, separators=(",", ":")).encode("ascii")).hexdigest()


def _plain(wanted: Wanted) -> list[object]:
    starts = None if wanted.starts_at is None else wanted.starts_at.astimezone(UTC).isoformat()
    return [
        wanted.holder_id,
        wanted.target_id,
        wanted.environment_id,
        _plain_right(wanted.right),
        wanted.duration_seconds,
        wanted.reason,
        starts,
        wanted.ticket,
    ]


def _plain_right(right: Right) -> list[object]:
    match right:
        case ModeWanted(mode):
            return ["mode", mode.value]
        case RoleWanted(database_role, mode):
            return ["role", database_role, mode.value]
        case StatementsWanted(texts, scope, mode):
            return ["statements", list(texts), scope.value, mode.value]
