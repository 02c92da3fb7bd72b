"""Who may reach which target, from where, until when: the facts. Pure.

A `Snapshot` is the whole of it at one revision; gateway workers hold the newest one in memory, so that nothing on the way of
a login or of a statement waits for the store. Instants are aware UTC datetimes and end in `_at` or `_until`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from gateway.access.accounts import Account, ClaimMapping
from gateway.access.approvals import ApprovalPolicy
from gateway.access.managed import ManagedKey, ManagedLogin, ManagedMode
from gateway.access.networks import AddressList
from gateway.access.proof import Credential, Proof
from gateway.access.requested import Backer, Only
from gateway.access.secret_reference import SecretReference
from gateway.access.webhooks import Webhook
from gateway.access.windows import Window
from gateway.access_mode import AccessMode, GrantOption


class ListMode(StrEnum):
    """What a target's or a user's own allowlist adds to the levels above it."""

    INHERIT = "inherit"
    RESTRICT = "restrict"


class Permission(StrEnum):
    """What an admin role allows in one environment; they add up. What each means is in access/permissions.py and its data."""

    BASIC_READ = "basic_read"
    READ = "read"
    ADMIN = "admin"
    DEPLOY = "deploy"
    DESTROY = "destroy"
    OBSERVABILITY = "observability"
    SENSITIVE = "sensitive"
    TUNNEL = "tunnel"


_CONNECTING: Final = frozenset({Permission.TUNNEL, Permission.ADMIN})


class TlsMode(StrEnum):
    """libpq's names. Weaker than VERIFY_FULL only where a target says so."""

    DISABLE = "disable"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class UserKind(StrEnum):
    """Whose account it is: a person's, or a program's."""

    PERSON = "person"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class User:
    """An account. `verifier` is PostgreSQL's own text form `SCRAM-SHA-256$<i>:<salt>$<StoredKey>:<ServerKey>`.

    `version`, here and below: the store's revision in which this row last changed (0: not stored yet), so that whoever changes a
    row can say which one they looked at.
    `credential_version` changes whenever the password does: a live session made under another version ends.
    `certificate_names`: a machine's, which may log in with a client certificate that was issued for one of them ("cn:etl").
    `protected`: cannot be deleted nor given another password until that is taken off. `read_only`: never admitted to write,
    whatever is granted. `email`: where they are told of things; in Slack, whoever has confirmed it there acts as this user.
    """

    id: str
    name: str
    verifier: str = field(repr=False)
    enabled: bool
    valid_until: datetime | None
    allowlist: ListMode
    credential_version: int
    version: int = 0
    certificate_names: frozenset[str] = frozenset()
    kind: UserKind = UserKind.PERSON
    protected: bool = False
    read_only: bool = False
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Users who share grants. `members` are user ids."""

    id: str
    name: str
    members: frozenset[str] = frozenset()
    version: int = 0


DEFAULT_ENVIRONMENT: Final = "default"
"""The id (not the name, which may change) of the environment that every store has."""

OWNERS: Final = "owners"
"""The id of the admin role that every store has."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Targets that admins are given rights for together."""

    id: str
    name: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class AdminRole:
    """Who may do what as an admin, and where: permissions by environment id. `members` are user ids.

    `owners`: the built-in one, of those who may do everything everywhere.
    """

    id: str
    name: str
    permissions: Mapping[str, frozenset[Permission]] = field(default_factory=dict)
    members: frozenset[str] = frozenset()
    owners: bool = False
    version: int = 0


@dataclass(frozen=True, slots=True)
class DatabaseRole:
    """The upstream login of one access mode. `sealed_secret` is ciphertext bound to this row (see store/vault.py).

    `pending_secret`: likewise, the one that is about to take its place, while it is being rotated. `reference`: where the secret
    is kept instead; then `sealed_secret` is empty. `changed_at`: since when it is the password; None: from when this is stored.
    """

    id: str
    login: str
    sealed_secret: bytes = field(repr=False)
    pending_secret: bytes | None = field(default=None, repr=False)
    reference: SecretReference | None = None
    changed_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Target:
    """A database that users can be given. `revision` changes whenever how to reach it (or its policy) changes.

    `max_sessions`: at most so many at a time, over all workers; None: only the gateway's own limits. `open_ahead`: so many
    upstream sessions of each access mode wait for clients, over all workers. `rotate_every_days`: so often the passwords of its
    logins are changed by themselves; None: never. `managed`: whose database role its sessions use.
    """

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
    max_sessions: int | None = None
    open_ahead: int = 0
    version: int = 0
    environment_id: str = DEFAULT_ENVIRONMENT
    rotate_every_days: int | None = None
    managed: ManagedMode = ManagedMode.OFF


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What a session may not exceed, in either access mode. None: no limit of the grant's own.

    `max_sessions`: of each person on this grant, at a time. A statement's time is in milliseconds, as PostgreSQL has it.
    """

    max_sessions: int | None = None
    statement_timeout_ms: int | None = None
    idle_timeout_seconds: int | None = None
    idle_in_transaction_timeout_seconds: int | None = None


NO_LIMITS: Final = SessionLimits()


@dataclass(frozen=True, slots=True)
class Reading:
    """How much a session may be sent, and of which relations. None: any number.

    `max_rows` and `max_bytes` are of one statement, `max_bytes_per_day` of a user under this grant (a day is UTC's). `schemas` and
    `tables` (schema, name; as the server keeps names) are all that may be read or changed; neither: what the database role may.
    """

    max_rows: int | None = None
    max_bytes: int | None = None
    max_bytes_per_day: int | None = None
    schemas: frozenset[str] = frozenset()
    tables: frozenset[tuple[str, str]] = frozenset()

    @property
    def is_metered(self) -> bool:
        """Whether what is sent must be counted."""
        return (self.max_rows, self.max_bytes, self.max_bytes_per_day) != (None, None, None)

    @property
    def is_narrow(self) -> bool:
        """Whether it opens only some relations."""
        return bool(self.schemas or self.tables)


ALL_READING: Final = Reading()


@dataclass(frozen=True, slots=True)
class Grant:
    """A standing right: holder x target x mode x validity. A read_write grant includes read_only.

    `holder_id` is a user's id or a group's; what a group holds, each of its members may use. `max_changed_rows`: how many rows
    one statement of a read_write session may change (None: any number). It may be used from `valid_from` until `valid_until`, and
    then within `windows`; none: at any time. A holder may have several for one target and mode: `authorize` says which counts.

    The rest is of grants that an access request led to, this one: `backers` are the approvers to whom it is bound, `only` is all
    that may be run, `database_role` is the existing one whose rights the session has upstream (where logins are managed).
    `request_number`: as the store knows it.
    """

    id: str
    holder_id: str
    target_id: str
    mode: AccessMode
    valid_until: datetime | None
    version: int = 0
    options: frozenset[GrantOption] = frozenset()
    max_changed_rows: int | None = None
    valid_from: datetime | None = None
    windows: tuple[Window, ...] = ()
    limits: SessionLimits = NO_LIMITS
    reading: Reading = ALL_READING
    request_id: str | None = None
    backers: tuple[Backer, ...] = ()
    only: Only | None = None
    database_role: str | None = None
    request_number: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class AllowlistEntry:
    """One CIDR. At most one of `target_id` and `user_id` is set; neither: the global list."""

    id: str
    network: IPv4Network | IPv6Network
    label: str
    valid_until: datetime | None
    target_id: str | None = None
    user_id: str | None = None
    version: int = 0


class TokenScope(StrEnum):
    """What an API token may do: everything, or look."""

    ADMIN = "admin"
    READ = "read"


class TokenKind(StrEnum):
    """How it came to be: made for a program, or by a person's signing in. A SESSION's `user_id` is that person."""

    API = "api"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A key to the admin API. `token_hash` is SHA-256 of the random token, which was shown once and is kept nowhere.

    `user_id`: whose rights it has; None: an owner's. `environments` (ids) and `permissions` cut these down; None: not at all.
    `networks`: from where it is taken; empty: from wherever the API is.
    """

    id: str
    name: str
    token_hash: bytes = field(repr=False)
    scope: TokenScope
    created_at: datetime
    valid_until: datetime
    created_by: str
    version: int = 0
    user_id: str | None = None
    environments: frozenset[str] | None = None
    permissions: frozenset[Permission] | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    kind: TokenKind = TokenKind.API


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything `authorize` looks at. `terminated` holds the ids of sessions that an admin ended.

    `lockdown`: why nobody is let in or stays at the moment; None: business as usual. The fields after it are worked out from the
    others once, so that `authorize`, which every live session runs after every change, looks at nothing that it need not.
    """

    revision: int
    users: Mapping[str, User]  # by name
    targets: Mapping[str, Target]  # by name
    grants: Mapping[str, tuple[Grant, ...]]  # by holder id: a user's or a group's
    global_entries: tuple[AllowlistEntry, ...]
    target_entries: Mapping[str, tuple[AllowlistEntry, ...]]  # by target id
    user_entries: Mapping[str, tuple[AllowlistEntry, ...]]  # by user id
    terminated: Mapping[str, str]  # session id -> reason
    groups: Mapping[str, Group] = field(default_factory=dict)  # by name
    tokens: Mapping[str, ApiToken] = field(default_factory=dict)  # by name
    credentials: Mapping[str, Credential] = field(default_factory=dict)  # by handle
    lockdown: str | None = None
    environments: Mapping[str, Environment] = field(default_factory=dict)  # by name
    admin_roles: Mapping[str, AdminRole] = field(default_factory=dict)  # by name
    accounts: Mapping[str, Account] = field(default_factory=dict)  # by user id
    claim_mappings: tuple[ClaimMapping, ...] = ()
    managed_logins: tuple[ManagedLogin, ...] = ()
    approval_policies: Mapping[str, ApprovalPolicy] = field(default_factory=dict)  # by name
    endings: Mapping[str, str] = field(default_factory=dict)  # by the id of a grant that is gone: why
    webhooks: Mapping[str, Webhook] = field(default_factory=dict)  # by name
    managed: Mapping[ManagedKey, ManagedLogin] = field(init=False, repr=False, compare=False)
    memberships: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)  # user id -> group ids
    held: Mapping[tuple[str, str], tuple[Grant, ...]] = field(init=False, repr=False, compare=False)  # by holder and target id
    standing: Mapping[tuple[str, str], str] = field(
        init=False, repr=False, compare=False
    )  # by user and environment id: a role's
    held_back: frozenset[str] = field(init=False, repr=False, compare=False)  # ids of users; see Account
    global_list: AddressList = field(init=False, repr=False, compare=False)
    target_lists: Mapping[str, AddressList] = field(init=False, repr=False, compare=False)  # by target id
    user_lists: Mapping[str, AddressList] = field(init=False, repr=False, compare=False)  # by user id
    backers: Mapping[str, User] = field(init=False, repr=False, compare=False)  # by user id: to whom grants are bound

    def __post_init__(self) -> None:
        memberships: dict[str, tuple[str, ...]] = {}
        for group in self.groups.values():
            for user_id in group.members:
                memberships[user_id] = (*memberships.get(user_id, ()), group.id)
        held: dict[tuple[str, str], tuple[Grant, ...]] = {}
        for grants in self.grants.values():
            for grant in grants:
                key = (grant.holder_id, grant.target_id)
                held[key] = (*held.get(key, ()), grant)
        bound_to = {each.user_id for grants in self.grants.values() for grant in grants for each in grant.backers}
        put = object.__setattr__  # the way to fill a field of a frozen dataclass
        put(self, "managed", {login.key: login for login in self.managed_logins})
        put(self, "memberships", memberships)
        put(self, "held", held)
        put(self, "standing", _standing(self.admin_roles.values(), [each.id for each in self.environments.values()]))
        put(self, "held_back", frozenset(each.id for each in self.accounts.values() if each.is_held_back))
        put(self, "global_list", _address_list(self.global_entries))
        put(self, "target_lists", {owner: _address_list(entries) for owner, entries in self.target_entries.items()})
        put(self, "backers", {each.id: each for each in self.users.values() if each.id in bound_to} if bound_to else {})
        put(self, "user_lists", {owner: _address_list(entries) for owner, entries in self.user_entries.items()})


def _standing(roles: Iterable[AdminRole], environments: Sequence[str]) -> dict[tuple[str, str], str]:
    """Who may read from every target of which environment, by which admin role: Tunnel, and what includes it."""
    found: dict[tuple[str, str], str] = {}
    for role in sorted(roles, key=lambda role: role.id):
        for environment in environments:
            held = role.permissions.get(environment, frozenset())
            if role.owners or not held.isdisjoint(_CONNECTING):
                found |= {(member, environment): role.id for member in role.members}
    return found


def _address_list(entries: tuple[AllowlistEntry, ...]) -> AddressList:
    return AddressList((entry.network, entry.valid_until) for entry in entries)


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof that this session may use this target in this mode until then. Only `authorize` makes one.

    `proof`: how the person proved who they are; None: by their own password. `changes_at`: when the answer may be another one,
    because this right ends or a wider one begins; None: not by the clock alone. `only`: where it stands on grants that open
    nothing but certain statements or operations, all of these; none: it is open. `database_role`: its grant's. `request`: the
    number of the access request behind its grant, 0 when that is not known; None: there is none.
    """

    user: User
    target: Target
    mode: AccessMode
    role: DatabaseRole
    grant_id: str
    valid_until: datetime | None
    revision: int
    options: frozenset[GrantOption] = frozenset()
    max_changed_rows: int | None = None
    proof: Proof | None = None
    limits: SessionLimits = NO_LIMITS
    reading: Reading = ALL_READING
    changes_at: datetime | None = None
    only: tuple[Only, ...] = ()
    database_role: str | None = None
    request: int | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """Access says no, for a person who has already proved who they are. `rule` is a stable kebab-case id."""

    rule: str
    sqlstate: str
    message: str
    hint: str
