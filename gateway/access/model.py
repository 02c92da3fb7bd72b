"""Who may reach which target, from where, until when: the facts. Pure.

A `Snapshot` is the whole of it at one revision; gateway workers hold the newest one in memory, so that nothing on the way of
a login or of a statement waits for the store. Instants are aware UTC datetimes and end in `_at` or `_until`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from gateway.access_mode import AccessMode


class ListMode(StrEnum):
    """What a target's or a user's own allowlist adds to the levels above it."""

    INHERIT = "inherit"
    RESTRICT = "restrict"


class TlsMode(StrEnum):
    """libpq's names. Weaker than VERIFY_FULL only where a target says so."""

    DISABLE = "disable"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class User:
    """An account. `verifier` is PostgreSQL's own text form `SCRAM-SHA-256$<i>:<salt>$<StoredKey>:<ServerKey>`.

    `credential_version` changes whenever the password does: a live session made under another version ends.
    """

    id: str
    name: str
    verifier: str
    enabled: bool
    valid_until: datetime | None
    allowlist: ListMode
    credential_version: int


@dataclass(frozen=True, slots=True)
class DatabaseRole:
    """The upstream login of one access mode. `sealed_secret` is ciphertext bound to this row (see store/vault.py)."""

    id: str
    login: str
    sealed_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """A database that users can be given. `revision` changes whenever how to reach it (or its policy) changes."""

    id: str
    name: str
    host: str
    port: int
    dbname: str
    tls: TlsMode
    ca_pem: str | None
    allow_md5: bool
    enabled: bool
    allowlist: ListMode
    roles: Mapping[AccessMode, DatabaseRole]
    allowed_functions: frozenset[str] = frozenset()
    allowed_schemas: frozenset[str] = frozenset({"public"})
    allowed_settings: frozenset[str] = frozenset()
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """A standing right: user x target x mode x validity. A read_write grant includes read_only."""

    id: str
    user_id: str
    target_id: str
    mode: AccessMode
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class AllowlistEntry:
    """One CIDR. At most one of `target_id` and `user_id` is set; neither: the global list."""

    id: str
    network: IPv4Network | IPv6Network
    label: str
    valid_until: datetime | None
    target_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything `authorize` looks at. `terminated` holds the ids of sessions that an admin ended."""

    revision: int
    users: Mapping[str, User]  # by name
    targets: Mapping[str, Target]  # by name
    grants: Mapping[str, tuple[Grant, ...]]  # by user id
    global_entries: tuple[AllowlistEntry, ...]
    target_entries: Mapping[str, tuple[AllowlistEntry, ...]]  # by target id
    user_entries: Mapping[str, tuple[AllowlistEntry, ...]]  # by user id
    terminated: Mapping[str, str]  # session id -> reason


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof that this session may use this target in this mode until then. Only `authorize` makes one."""

    user: User
    target: Target
    mode: AccessMode
    role: DatabaseRole
    grant_id: str
    valid_until: datetime | None
    revision: int


@dataclass(frozen=True, slots=True)
class Denial:
    """Access says no, for a person who has already proved who they are. `rule` is a stable kebab-case id."""

    rule: str
    sqlstate: str
    message: str
    hint: str
