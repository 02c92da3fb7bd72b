"""What one step of a plan is: for people and programs a `Change`, for the store rows and audit events. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Final, Protocol, TypeVar

from gateway.access.model import ListMode, Snapshot
from gateway.access.user_rules import ANY_RULES, UserRules
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import DetailValue
from gateway.ports import ChangeableRow, SealedUse
from gateway.secret import Secret
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free
from gateway.services.manifest_model import JsonValue

CHANGED_SECRET: Final = "(changed)"  # noqa: S105 - what is shown in its place
KEPT_SECRET: Final = "(secret)"  # noqa: S105


class Kind(StrEnum):
    """The kinds of object, in the order in which they are made."""

    ENVIRONMENT = "environment"
    USER = "user"
    GROUP = "group"
    ROLE = "role"
    ACCOUNT = "account"
    TARGET = "target"
    GRANT = "grant"
    ALLOWLIST = "allowlist"
    CLAIM_MAPPING = "claim_mapping"
    APPROVAL_POLICY = "approval_policy"
    WEBHOOK = "webhook"


class Action(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"


Values = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Change:
    """One object that differs. `before` and `after` hold the fields that differ (all of them for a new or a removed object),
    as plain values; a secret is never among them: "(secret)" and "(changed)" stand in its place."""

    kind: Kind
    action: Action
    name: str
    before: Values
    after: Values


@dataclass(frozen=True, slots=True)
class Plan:
    """What applying a manifest does, or did. `revision`: the store's that it was made from, or made.

    `not_named`: how many objects of the kinds that the manifest has a section for it does not name; pruning removes them.
    """

    revision: int
    changes: tuple[Change, ...]
    not_named: int


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was found out about the secrets of a manifest before the store is locked: deriving keys takes a millisecond each.

    `verifiers`: by user name, the verifier to have (the one that is there, where the given password fits it).
    `right_logins`: the sealed secrets, as stored, that hold the password which the manifest gives for their login.
    `sign_in`: by user name, the hash of the password for signing in, of who has none yet.
    `right_webhooks`: which secrets that the manifest gives (a webhook's name, "secret" or "url_secret") are there already.
    """

    verifiers: Mapping[str, str] = field(repr=False)
    right_logins: Mapping[tuple[str, AccessMode], bytes]
    sign_in: Mapping[str, str] = field(default_factory=dict, repr=False)
    right_webhooks: frozenset[tuple[str, str]] = frozenset()


SealFor = Callable[[SealedUse, str, Secret], bytes]


def _not_sealed(_use: SealedUse, _bound_to: str, _secret: Secret) -> bytes:
    """For a plan, which nobody stores."""
    return b"-"


@dataclass(frozen=True, slots=True)
class Means:
    """What making rows takes besides the snapshot and the manifest. `environments`: names by id, as they were."""

    now: datetime
    credentials: Credentials
    new_id: Callable[[], str]
    seal: Callable[[str, Secret], bytes]
    rules: UserRules = ANY_RULES
    environments: Mapping[str, str] = field(default_factory=dict)
    seal_for: SealFor = _not_sealed


@dataclass(frozen=True, slots=True)
class Draft:
    """A change, ready to be committed: its rows, and what the audit is told of them."""

    change: Change
    notes: tuple["Note", ...]
    puts: tuple[ChangeableRow, ...] = ()
    removals: tuple[ChangeableRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """An audit event without its actor and reason. The actions are those of the verbs, so that one search finds both."""

    action: str
    object_id: str
    object_name: str
    detail: Mapping[str, DetailValue] = field(default_factory=dict)


def list_mode_note(owner: str, object_id: str, name: str, mode: ListMode) -> Note:
    """`owner`: "user" or "target"."""
    return Note("allowlist.mode_changed", object_id, name, {"level": f"{owner} {name}", "mode": mode.value})


@dataclass(frozen=True, slots=True)
class Drafts:
    """The drafts of one kind of object. `snapshot`: as it will be with them, so that what comes next is checked against that."""

    drafts: tuple[Draft, ...]
    snapshot: Snapshot
    not_named: int


class _Stating(Protocol):
    def states(self, field: str) -> bool: ...


def differing(part: _Stating, old: object, fields: Sequence[str]) -> list[str]:
    """Which of the fields the manifest states otherwise than they are."""
    return [field for field in fields if part.states(field) and getattr(part, field) != getattr(old, field)]


def values(source: object, fields: Sequence[str]) -> dict[str, JsonValue]:
    """The fields of a row or of a manifest's part, as plain values."""
    return {field: plain(getattr(source, field)) for field in fields}


def plain(value: object) -> JsonValue:
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return str(value.value)
        case str():
            return value
        case datetime():
            return instant(value)
        case set() | frozenset() | list() | tuple():
            return sorted(str(each) for each in value)
    raise TypeError(f"no plain value: {type(value).__name__}")


def instant(value: datetime) -> str:
    """ISO 8601 in UTC, exact: what `Instant` reads back as the same."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


P = TypeVar("P")


def unique(parts: Sequence[P], key: Callable[[P], str]) -> dict[str, P]:
    """By name. Raises ServiceError when one is there twice (or twice but for case): one of the two would not count."""
    found: dict[str, P] = {}
    seen: set[str] = set()
    for part in parts:
        name = key(part)
        if name.lower() in seen:
            raise ServiceError("manifest-duplicate", f"{name} is in the manifest twice", "Leave one of the two out.")
        seen.add(name.lower())
        found[name] = part
    return found


@contextmanager
def at(place: str) -> Iterator[None]:
    """Say where in the manifest a rule was broken."""
    try:
        yield
    except ServiceError as error:
        raise ServiceError(error.rule, f"{place}: {error.message}", error.hint) from error


def check_new_name(kind: str, name: str, taken: Mapping[str, str]) -> None:
    """As `check_name_is_free`; `taken` by lower case, so that thousands of new names need no walk through all others."""
    known = taken.get(name.lower())
    check_name_is_free(kind, name, () if known is None else (known,))
