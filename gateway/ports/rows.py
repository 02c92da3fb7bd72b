"""What a store keeps beside the facts that `authorize` looks at: no worker has it."""

from dataclasses import dataclass, field
from datetime import datetime

from gateway.access.accounts import Account, ClaimMapping
from gateway.access.managed import ManagedLogin
from gateway.access.model import AdminRole, AllowlistEntry, ApiToken, DatabaseRole, Environment, Grant, Group, Target, User
from gateway.access.proof import Credential
from gateway.access_mode import AccessMode


@dataclass(frozen=True, slots=True)
class SessionTermination:
    """An admin ended this session. `reason` is read by its client."""

    session_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lockdown:
    """Nobody is let in and nobody stays; None lifts it. `reason` is read by clients."""

    reason: str | None


@dataclass(frozen=True, slots=True)
class TargetAdmin:
    """The login by which a target's database is administered: it makes roles there, and no session ever uses it.

    No part of a snapshot: no worker has it. `sealed_secret`: for SealedUse.TARGET_ADMIN, bound to the target's id.
    `pending_secret`: likewise, the one that is about to take its place, while it is being rotated.
    """

    target_id: str
    login: str
    sealed_secret: bytes = field(repr=False)
    adopted_at: datetime
    pending_secret: bytes | None = field(default=None, repr=False)
    rotated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FormerLogin:
    """The login of one access mode that a target had before it was adopted, to be had back. `role` is sealed as it was."""

    target_id: str
    mode: AccessMode
    role: DatabaseRole
    replaced_at: datetime


@dataclass(frozen=True, slots=True)
class TargetObservation:
    """This target's database is looked at so often for others who use it; what was seen is kept for `keep_days`.

    No part of a snapshot: no worker needs it.
    """

    target_id: str
    every_seconds: int
    keep_days: int


@dataclass(frozen=True, slots=True)
class OutsideUse:
    """Sessions in a target's database that do not come through the gateway: so many of one role, from one place, by one program.

    `address`: "local" for a socket of the server's own machine, "" where the server does not tell.
    """

    role: str
    database: str
    address: str
    application: str
    sessions: int


@dataclass(frozen=True, slots=True)
class OutsideLook:
    """What was seen at an instant. `failure`: why nothing could be seen, "" if it could."""

    at: datetime
    uses: tuple[OutsideUse, ...]
    failure: str = ""


@dataclass(frozen=True, slots=True)
class IdempotencyClaim:
    """One request of the API that must take effect once: its key (with its actor) and its content, both hashed, as hex."""

    key_hash: str
    request_hash: str


ChangeableRow = (
    User
    | Group
    | Target
    | Grant
    | AllowlistEntry
    | ApiToken
    | SessionTermination
    | Lockdown
    | Environment
    | AdminRole
    | Account
    | ClaimMapping
    | Credential
    | ManagedLogin
    | TargetAdmin
    | FormerLogin
    | TargetObservation
)
