"""What a running gateway says of itself, of its targets and of their roles."""

from dataclasses import dataclass
from enum import StrEnum


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
class DeniedStatement:
    """A text that a session's policy refused, and on which target. `scope`: the narrowest by which it can be asked for ("exact"
    or "relations").
    """

    target: str
    statement: str
    scope: str


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
