"""What a manifest may hold: the shape of the file that `pgbastion apply` reads and `pgbastion export` writes.

A field that a file leaves out keeps what is there (of something new, it has its default); a field that it states is made so,
null and empty lists included. (A grant or an allowlist entry that is over counts as not there.) Names follow those of the API
and of `--json`.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, Literal

from pydantic import Field, ValidationError, model_validator

from gateway.access.managed import ManagedMode
from gateway.access.model import ListMode, TlsMode, UserKind
from gateway.access_mode import AccessMode
from gateway.services.errors import ServiceError
from gateway.services.grant_terms import MAX_CHANGED_ROWS, MAX_OF_LIMIT
from gateway.services.manifest_admins_model import AccountPart, EnvironmentPart, MappingPart, RolePart
from gateway.services.manifest_approvals_model import ApprovalPolicyPart
from gateway.services.manifest_fields import (
    AccountKind,
    CertificateNames,
    Instant,
    Managed,
    Mode,
    Name,
    Options,
    OwnList,
    PemText,
    Schemas,
    SecretReference,
    Tables,
    Tls,
    VerifierText,
    Windows,
)
from gateway.services.manifest_part import Part
from gateway.services.manifest_webhooks_model import WebhookPart

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
YamlValue = None | bool | int | float | str | date | Sequence["YamlValue"] | Mapping[str, "YamlValue"]
"""What a safe YAML loader makes of a file: JSON's values, and dates and instants where they are not quoted."""

_MAX_OBJECTS: Final = 100_000
_SHOWN_ERRORS: Final = 10


class UserPart(Part):
    """A person who logs in to the gateway."""

    name: Name = Field(description="The login name. Which ones new users may have is in the settings, section users.")
    password: SecretReference | None = Field(
        None, description="Where the password is. Left out: the password that is there stays; a new user needs one."
    )
    verifier: VerifierText | None = Field(
        None,
        description="Instead of a password: PostgreSQL's own SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, "
        "as in pg_authid.rolpassword.",
    )
    enabled: bool = Field(True, description="False: locked; sessions end.")
    valid_until: Instant | None = Field(
        None, description="When the account expires (ISO 8601, UTC unless it says otherwise); null: never."
    )
    allowlist: OwnList = Field(
        ListMode.INHERIT,
        description="restrict: only networks listed for this user are admitted, and without any nobody is. inherit: that "
        "list is ignored.",
    )

    kind: AccountKind = Field(UserKind.PERSON, description="person, or machine: a program's account.")
    read_only: bool = Field(False, description="True: never admitted to write, whatever is granted.")
    protected: bool = Field(False, description="True: cannot be removed nor given another password until this is taken off.")
    email: str | None = Field(
        None, max_length=254, description="Where they are told of things; two who share one are one person."
    )

    certificate_names: CertificateNames = Field(
        default=frozenset(),
        description="Of a machine: with a client certificate of one of these names (cn:, dns: or uri:) it needs no password.",
    )

    @property
    def gives_secret(self) -> bool:
        return self.password is not None or self.verifier is not None

    @model_validator(mode="after")
    def _one_credential(self) -> "UserPart":
        if self.password is not None and self.verifier is not None:
            raise ValueError("give either password or verifier")
        return self


class GroupPart(Part):
    """Users who share grants."""

    name: Name = Field(description="The group's name.")
    members: list[Name] = Field(
        default=[], max_length=_MAX_OBJECTS, description="All members, by user name; others are taken out of the group."
    )


class LoginPart(Part):
    """The database role that sessions of one access mode use upstream."""

    login: str = Field(min_length=1, max_length=63, description="The role's name in PostgreSQL.")
    password: SecretReference | None = Field(
        None, description="Where its password is. Left out: the one that is sealed in the store stays; a new login needs one."
    )
    secret_from: str | None = Field(
        None,
        max_length=1000,
        description="Where its password is kept for good, to be fetched whenever it is needed: file:, env:, vault:, aws-sm:, "
        "gcp-sm: or rds-iam: and the place there. Left out: it stays as it is.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> "LoginPart":
        if self.password is not None and self.secret_from is not None:
            raise ValueError("give either password or secret_from")
        return self


class LoginsPart(Part):
    """Upstream logins by access mode. One that is left out stays; null takes it away."""

    read_only: LoginPart | None = Field(None, description="For sessions that only read.")
    read_write: LoginPart | None = Field(None, description="For sessions that may write.")

    def stated(self) -> list[tuple[AccessMode, LoginPart | None]]:
        return [(mode, getattr(self, mode.value)) for mode in AccessMode if self.states(mode.value)]


class TargetPart(Part):
    """A database that users can be given. A new one needs host and dbname."""

    name: Name = Field(description="What people give as the database: letters, digits and _ . -, starting with a letter.")
    environment: Name = Field(
        "", description="The environment that it is in. Left out: it stays where it is; a new one comes into the first one."
    )
    host: str = Field("", min_length=1, max_length=253, description="Host name or address of the PostgreSQL server.")
    port: int = Field(5432, ge=1, le=65535, description="Its port.")
    dbname: str = Field("", min_length=1, max_length=63, description="The database's name on that server.")
    tls: Tls = Field(
        TlsMode.VERIFY_FULL, description="How the server is authenticated, in libpq's words; anything weaker is audited."
    )
    ca_pem: PemText | None = Field(
        None, description="CA certificates to trust, as PEM text or a file of it; null: those of the system."
    )
    allow_md5: bool = Field(False, description="Accept md5 password authentication upstream.")
    enabled: bool = Field(True, description="False: closed for everybody; sessions end.")
    max_sessions: int | None = Field(
        None, ge=1, le=1_000_000, description="At most so many sessions at a time; null: only the gateway's own limits."
    )
    open_ahead: int = Field(
        0,
        ge=0,
        le=1000,
        description="So many upstream sessions of each access mode are opened ahead and wait for clients, over all workers.",
    )
    rotate_every_days: int | None = Field(
        None, ge=1, le=3650, description="The passwords of its logins are changed by themselves so often; null: by hand alone."
    )
    managed: Managed = Field(
        ManagedMode.OFF,
        description="Whose database role sessions use: off (the target's own logins), per-user or per-grant. The server is not "
        "asked whether such can be made there.",
    )
    allowlist: OwnList = Field(
        ListMode.INHERIT,
        description="restrict: only networks listed for this target are admitted, and without any nobody is. inherit: that "
        "list is ignored.",
    )
    logins: LoginsPart = Field(LoginsPart(), description="The database roles that sessions use upstream.")
    allowed_functions: list[str] = Field(
        default=[],
        max_length=10_000,
        description="Functions that statements may use beyond the policy's own list: schema.name, or schema.* for all of one.",
    )
    allowed_schemas: list[str] = Field(default=["public"], max_length=10_000, description="Schemas that search_path may name.")
    allowed_settings: list[str] = Field(
        default=[], max_length=10_000, description="Custom settings (class.name) that sessions may set."
    )


class GrantPart(Part):
    """A standing right: a user or a group may use a target. read_write includes read_only."""

    user: Name | None = Field(None, description="Who holds it: a user's name, or else a group's.")
    group: Name | None = Field(None, description="Who holds it: a group's name, or else a user's.")
    target: Name = Field(description="The target's name.")
    mode: Mode = Field(AccessMode.READ_ONLY, description="What it allows.")
    valid_until: Instant | None = Field(None, description="When it ends (ISO 8601, UTC unless it says otherwise); null: never.")
    options: Options = Field(
        default=frozenset(),
        description="What it adds or takes away. temporary-tables: read-only sessions may make temporary tables. The others are "
        "for read_write: no-ddl (rows may change, objects may not), unfiltered-writes (UPDATE and DELETE without WHERE), "
        "report-only (what these rules and the ceiling would refuse is audited and runs).",
    )
    max_changed_rows: int | None = Field(
        None,
        ge=1,
        le=MAX_CHANGED_ROWS,
        description="For read_write: a statement that changes more rows is rolled back; null: any number.",
    )
    valid_from: Instant | None = Field(None, description="When it begins (as valid_until); null: at once.")
    windows: Windows = Field(
        default=(),
        description="When within the week it may be used: days, from-to and a time zone, such as Mon-Fri 08:00-18:00 "
        "Europe/Zurich; none: at any hour.",
    )
    max_sessions: int | None = Field(
        None,
        ge=1,
        le=MAX_OF_LIMIT["max_sessions"],
        description="At most so many sessions of each person at a time; null: only the gateway's and the target's own limits.",
    )
    statement_timeout_ms: int | None = Field(
        None,
        ge=1,
        le=MAX_OF_LIMIT["statement_timeout_ms"],
        description="How many milliseconds a statement may run; sessions can only lower it. Null: no limit.",
    )
    idle_timeout_seconds: int | None = Field(
        None,
        ge=1,
        le=MAX_OF_LIMIT["idle_timeout_seconds"],
        description="A session in which nothing runs and nothing is sent for so long ends; null: never.",
    )
    idle_in_transaction_timeout_seconds: int | None = Field(
        None,
        ge=1,
        le=MAX_OF_LIMIT["idle_in_transaction_timeout_seconds"],
        description="The same while a transaction is open; null: never.",
    )
    max_rows: int | None = Field(
        None,
        ge=1,
        le=MAX_OF_LIMIT["max_rows"],
        description="A statement that shows more rows is cut there, with an error; null: any number.",
    )
    max_bytes: int | None = Field(
        None, ge=1, le=MAX_OF_LIMIT["max_bytes"], description="The same for the bytes of its rows; null: any number."
    )
    max_bytes_per_day: int | None = Field(
        None,
        ge=1,
        le=MAX_OF_LIMIT["max_bytes_per_day"],
        description="How many bytes of rows each person may be sent in a day (UTC); null: any number.",
    )
    schemas: Schemas = Field(
        default=frozenset(),
        description="The only schemas whose tables are open, besides `tables`; neither: what the upstream login may read.",
    )
    tables: Tables = Field(default=frozenset(), description="The only tables that are open (schema.table, as SQL writes it).")

    @model_validator(mode="after")
    def _one_holder(self) -> "GrantPart":
        if (self.user is None) == (self.group is None):
            raise ValueError("give either user or group")
        return self


class EntryPart(Part):
    """A network that is admitted: by everybody's list, or by one user's or target's own."""

    network: str = Field(min_length=1, max_length=100, description="An address, or a network such as 10.1.0.0/16.")
    user: Name | None = Field(None, description="On this user's own list.")
    target: Name | None = Field(None, description="On this target's own list.")
    label: str = Field("", max_length=500, description="What it is, for people.")
    valid_until: Instant | None = Field(None, description="When it ends (ISO 8601, UTC unless it says otherwise); null: never.")

    @model_validator(mode="after")
    def _one_level(self) -> "EntryPart":
        if self.user is not None and self.target is not None:
            raise ValueError("give either user or target, or neither for everybody's list")
        return self


class Manifest(Part):
    """Who may use which database, from where, until when. What is not named here stays as it is, unless it is pruned."""

    version: Literal[1] = Field(description="The version of this format.")
    environments: list[EnvironmentPart] = Field(
        default=[], max_length=_MAX_OBJECTS, description="Where targets are, and rights over them hold."
    )
    users: list[UserPart] = Field(default=[], max_length=_MAX_OBJECTS, description="People and programs.")
    groups: list[GroupPart] = Field(default=[], max_length=_MAX_OBJECTS, description="Groups of users.")
    roles: list[RolePart] = Field(default=[], max_length=_MAX_OBJECTS, description="Admin roles: who may do what as an admin.")
    accounts: list[AccountPart] = Field(default=[], max_length=_MAX_OBJECTS, description="Who may sign in, and how.")
    targets: list[TargetPart] = Field(default=[], max_length=_MAX_OBJECTS, description="Databases, and how to reach them.")
    grants: list[GrantPart] = Field(default=[], max_length=_MAX_OBJECTS, description="Who may use which target.")
    allowlist: list[EntryPart] = Field(default=[], max_length=_MAX_OBJECTS, description="From where.")
    claim_mappings: list[MappingPart] = Field(
        default=[], max_length=_MAX_OBJECTS, description="What groups at the identity provider mean here."
    )
    approval_policies: list[ApprovalPolicyPart] = Field(
        default=[], max_length=_MAX_OBJECTS, description="What can be asked for, and who decides about it."
    )
    webhooks: list[WebhookPart] = Field(
        default=[], max_length=_MAX_OBJECTS, description="Who is told of access requests by HTTP."
    )


def parse_manifest(data: YamlValue) -> Manifest:
    """Read what a YAML or JSON loader made of a file, its secrets resolved. Raises ServiceError, which never quotes values."""
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
    said = [f"{_place(each['loc'], data)}: {each['msg'].removeprefix('Value error, ')}" for each in found[:_SHOWN_ERRORS]]
    more = [f"and {len(found) - _SHOWN_ERRORS} more"] if len(found) > _SHOWN_ERRORS else []
    raise ServiceError("manifest-invalid", "; ".join([*said, *more]), "The fields are described in manifest.schema.json.")


def manifest_schema() -> JsonValue:
    """The JSON schema of a manifest file, for editors: secrets are references in it."""
    schema = Manifest.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "pgbastion manifest"}


def _place(location: tuple[int | str, ...], data: YamlValue) -> str:
    """`users[2] "ana".port`: the object's own name helps more than its number."""
    text, at = "", data
    for step in location:
        if isinstance(step, int):
            at = at[step] if isinstance(at, Sequence) and not isinstance(at, str) and step < len(at) else None
            name = at.get("name") if isinstance(at, Mapping) else None
            text += f"[{step}]" + (f' "{name[:63]}"' if isinstance(name, str) else "")
        else:
            at = at.get(step) if isinstance(at, Mapping) else None
            text += f".{step}" if text else step
    return text or "manifest"
