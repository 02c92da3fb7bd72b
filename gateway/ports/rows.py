"""What a store keeps beside the facts that `authorize` looks at: no worker has it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gateway.access.accounts import Account, ClaimMapping
from gateway.access.approvals import ApprovalPolicy
from gateway.access.managed import ManagedLogin
from gateway.access.model import AdminRole, AllowlistEntry, ApiToken, DatabaseRole, Environment, Grant, Group, Target, User
from gateway.access.proof import Credential
from gateway.access.request_record import AccessRequest, State
from gateway.access.webhooks import Webhook
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


@dataclass(frozen=True, slots=True)
class GrantEnding:
    """Why a grant that is gone was ended, as its sessions read it: "request 17 was given back". Kept for a day."""

    grant_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which access requests. All that is given must hold; `states` empty: any. `person_id`: requester or holder.

    `environments`: ids; None: any. `before`: numbers lower than this. `limit`: so many; None: all.
    """

    states: frozenset[State] = frozenset()
    person_id: str | None = None
    requester_id: str | None = None
    holder_id: str | None = None
    target_id: str | None = None
    environments: frozenset[str] | None = None
    likeness: str | None = None
    awaits_review: bool = False
    before: int | None = None
    limit: int | None = None


class OutboxState(StrEnum):
    """DEAD: nobody tries any more, until somebody asks for it."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """What somebody elsewhere is to be told of a change, written together with it and delivered afterwards, at least once.

    `id` is the same however often it is sent. `destination`: "slack:<channel>", "webhook:<name>", "mail:<address>",
    "person:<user id>", "on-call:<schedule>". `payload`: JSON, and no secret in it. `receipt`: what the other side calls it.
    `sequence`: the order of the commits (0: not stored yet).
    """

    id: str
    topic: str
    destination: str
    payload: str
    created_at: datetime
    next_at: datetime
    request_id: str | None = None
    state: OutboxState = OutboxState.PENDING
    attempts: int = 0
    last_error: str = ""
    receipt: str = ""
    ended_at: datetime | None = None
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Redelivery:
    """Somebody wants this message delivered, whatever became of it before. It goes out under the same id."""

    message_id: str


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
    | ApprovalPolicy
    | AccessRequest
    | GrantEnding
    | OutboxMessage
    | Redelivery
    | Webhook
)
