"""The seams between the core and the world. Adapters implement them; nothing here does anything."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from gateway.access.accounts import Account, ClaimMapping
from gateway.access.managed import ManagedLogin
from gateway.access.model import (
    AdminRole,
    AllowlistEntry,
    ApiToken,
    DatabaseRole,
    Environment,
    Grant,
    Group,
    Snapshot,
    Target,
    User,
)
from gateway.access.proof import Credential
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.secret import Secret


class AuditSink(Protocol):
    """Where audit lines go *before* the bytes they speak of.

    `release` calls `action(written)` (perhaps before it returns) once everything appended so far is written (in fsync mode: on
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
        """Take one record: the inside of a JSON object, without braces. The sink adds `at`, `mono`, `worker` and `seq`."""
        ...

    def write_now(self, bodies: list[bytes]) -> bool:
        """The quick way of a statement. True: these records are written, what they speak of may leave.

        False: nothing was done (this sink cannot, or not now); `submit` them. The list stays the caller's.
        """
        ...

    def submit(self, bodies: list[bytes], action: Callable[[bool], None]) -> None:
        """`append` each and `release`: the way of a statement. The list stays the caller's."""
        ...

    def note(self, bodies: list[bytes]) -> None:
        """Take records of what is over already: they are written with the next ones, at the latest some milliseconds later.

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


class SecretUnavailable(Exception):
    """A secret cannot be had now. The text is for operators, and holds no secret."""


class SecretSource(Protocol):
    """The upstream secrets of database roles, wherever they are kept. Everything that logs in upstream asks this.

    What raises, raises SecretUnavailable, within a bounded time. Used from one event loop, which nothing here blocks.
    """

    def at_hand(self, target: Target, role: DatabaseRole) -> Secret | None:
        """What is known without waiting: a stored secret, or one that was fetched a moment ago. None: await `secret_of`."""
        ...

    async def secret_of(self, target: Target, role: DatabaseRole) -> Secret: ...

    async def after_refusal(self, target: Target, role: DatabaseRole, refused: Secret) -> Secret | None:
        """The server did not take this one. Another to try once, when it was changed where it is kept; None: there is none."""
        ...


class Sealer(Protocol):
    """Seals upstream secrets for their row; what `Vault` opens."""

    def seal(self, row_id: str, secret: Secret) -> bytes: ...


class SealedUse(StrEnum):
    """What else than an upstream secret is sealed. A text that was sealed for one use opens for no other."""

    AUTHENTICATOR = "accounts.sealed_secret"
    ENROLMENT = "enrolment"
    PROVIDER_FLOW = "provider flow"
    REFRESH_TOKEN = "provider_checks.sealed_refresh"  # noqa: S105
    TARGET_ADMIN = "target_admins.sealed_secret"


class SecretBox(Protocol):
    """Seals what is neither an upstream secret nor a row's own alone, and opens it again."""

    def seal_for(self, use: SealedUse, bound_to: str, secret: Secret) -> bytes:
        """`bound_to`: the row or the person that it is about; it opens for no other."""
        ...

    def open_for(self, use: SealedUse, bound_to: str, sealed: bytes) -> Secret:
        """Raises VaultError (of the adapter's own tree) for anything that `seal_for` has not made for the same."""
        ...


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

    async def commit(self, event: AdminEvent, *more: AdminEvent) -> int:
        """The new revision (one for all of it). Removals run before puts. At least one event, in the same transaction."""
        ...


class Store(Protocol):
    """Where changes begin."""

    def begin(self) -> AbstractAsyncContextManager[UnitOfWork]: ...

    async def read(self) -> Snapshot: ...


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """A live session, as listings show it. `state`: "idle", "active", "idle in transaction"; instants in ISO 8601.

    `options` and `max_changed_rows` (None: any number): what the grant carries that it stands on now, as far as it means something
    in this mode. `grant`: its id; `valid_until`: when that right ends, another may carry the session on then.
    `proof`: "password", "credential <id>" or "certificate <serial>": what its person came with. The limits are the grant's: None:
    none. `schemas` and `tables`: all that is open, as SQL writes names; neither: what the database role may.
    """

    session: str
    user: str
    target: str
    mode: str
    address: str
    application: str
    state: str
    started_at: str
    worker: int
    statements: int
    options: tuple[str, ...] = ()
    max_changed_rows: int | None = None
    grant: str = ""
    valid_until: str | None = None
    proof: str = "password"
    max_sessions: int | None = None
    statement_timeout_ms: int | None = None
    idle_timeout_seconds: int | None = None
    idle_in_transaction_timeout_seconds: int | None = None
    max_rows: int | None = None
    max_bytes: int | None = None
    max_bytes_per_day: int | None = None
    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UpstreamProcess:
    """A process of a target's server that a session of ours has, or one that waits for a client."""

    target_id: str
    process_id: int


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One step of looking at something: what was tried, whether it went well, and if not, what to do about it."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """How a target answered sessions of one access mode lately, over all workers. Instants in ISO 8601; None: never.

    `kind`: why it failed last, as the counters name it.
    """

    target: str
    mode: str
    answered_at: str | None
    failed_at: str | None
    kind: str

    @property
    def state(self) -> str:
        """ "ok" or "failing", by what came last; "unknown" when nobody tried since the gateway was started."""
        if self.answered_at is None and self.failed_at is None:
            return "unknown"
        return "ok" if (self.answered_at or "") >= (self.failed_at or "") else "failing"


class Severity(StrEnum):
    """CRITICAL: it changes data, reads secrets or files, or reaches elsewhere. WARNING: it disturbs others, or leaves something
    behind, but no data of theirs. INFO: good to know.
    """

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class RoleFinding:
    """Something that an upstream role could do if nothing judged its statements.

    `check` is a stable name for the kind ("membership", "ownership", "writing" ...), `detail` says what was found, `meaning` what
    follows from it, `remedy` is SQL for the database's administrator that ends it, "" where there is none.
    """

    check: str
    severity: Severity
    detail: str
    meaning: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class RoleAudit:
    """What the upstream role of one access mode could do. `obstacle`: why it could not be looked at; nothing was found then."""

    login: str
    findings: tuple[RoleFinding, ...] = ()
    obstacle: CheckStep | None = None


@dataclass(frozen=True, slots=True)
class OpenedObject:
    """Something that an entry of a target's list opens. `kind`: function, aggregate, window function, procedure, operator, cast,
    type, view, table or foreign table; `name` as the database has it, with the types of its arguments.

    Of functions: `volatility` ("volatile", "stable", "immutable"), `language`, `owner`. `warnings`: a sentence each.
    """

    kind: str
    name: str
    volatility: str = ""
    security_definer: bool = False
    language: str = ""
    owner: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EntryPreview:
    """What an entry would open in the database as it is now, what there is to warn of first. `more`: how many are not here.

    `notes` are about the entry as a whole. `obstacle`: why it could not be looked at; there is nothing else then.
    """

    entry: str
    objects: tuple[OpenedObject, ...] = ()
    more: int = 0
    notes: tuple[str, ...] = ()
    obstacle: CheckStep | None = None


@dataclass(frozen=True, slots=True)
class CatalogRefresh:
    """What one worker knows of a database now. `failure`: why it could not be read again ("" when it was), as counters name it."""

    worker: int
    login: str
    revision: str
    seconds: float
    failure: str


class GatewayUnavailable(Exception):
    """The running gateway cannot be asked: it does not run here, or one of its workers does not answer."""


class LiveGateway(Protocol):
    """The running gateway, asked over its bus. Everything but `wake` raises GatewayUnavailable."""

    async def sessions(self) -> list[SessionFacts]: ...

    async def cancel(self, session_id: str) -> bool:
        """Cancel what this session runs now. False: there is no such session."""
        ...

    async def check_target(self, name: str, mode: AccessMode) -> list[CheckStep]:
        """DNS, TCP, TLS, login, role, database, settings: in this order, ending with the first that fails."""
        ...

    async def target_health(self) -> list[TargetHealth]:
        """Of each target and access mode that somebody tried since the gateway was started, by name."""
        ...

    async def audit_target(self, name: str, mode: AccessMode) -> RoleAudit | None:
        """What the role of this mode could do if the parser failed. None: the gateway has not heard of this login yet."""
        ...

    async def preview_entry(self, name: str, entry: str) -> EntryPreview | None:
        """What an entry of the target's list would open to read-only sessions. None: the gateway has not heard of their login."""
        ...

    async def refresh_catalog(self, name: str) -> list[CatalogRefresh]:
        """Read what is in the target's database again; in force when this returns. A worker without sessions there has nothing."""
        ...

    async def upstream_processes(self) -> list[UpstreamProcess]:
        """Of all sessions, over all workers."""
        ...

    async def revision(self) -> int:
        """The oldest revision of the store that one of its workers decides by."""
        ...

    async def counters(self) -> list[Mapping[str, float]]:
        """One mapping per worker: the names are those of gateway/proxy/counters.py, and "worker" is its number."""
        ...

    def wake(self) -> None:
        """The store changed: look now. Never raises; without a gateway, nothing happens."""
        ...
