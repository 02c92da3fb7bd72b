"""Users."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import Field

from admin_api.models.fields import Instant, Kind, Lists, Page, Password, Record, Request, Shown, Version
from gateway.access.model import ListMode, Snapshot, User, UserKind
from gateway.services.certificates import MAX_CERTIFICATE_NAMES
from gateway.services.lookup import groups_of

PASSWORD_ENCRYPTION: Final = "SCRAM-SHA-256"  # noqa: S105
"""The only one."""


_CERTIFICATES: Final = (
    "A machine's: with a client certificate of one of these names it needs no password. Always the whole list."
)


class NewUser(Request):
    """Without a password one is made and shown once."""

    name: str = Field(examples=["ana"])
    password: Password | None = Field(None, description="As the settings want it (section users): 24 to 64 characters.")
    valid_until: Instant | None = None
    kind: Kind = UserKind.PERSON
    read_only: bool = Field(False, description="Never admitted to write, whatever is granted.")
    protected: bool = Field(False, description="Cannot be deleted nor given another password until this is taken off.")
    email: str | None = Field(None, max_length=254, examples=["ana@example.com"])
    groups: list[str] = Field([], max_length=100, examples=[["analysts"]])


class UserPatch(Request):
    """What is left out stays. `valid_until` null: the account does not expire. `email` null: it has none any more."""

    enabled: bool | None = Field(None, examples=[False])
    valid_until: Instant | None = None
    allowlist: Lists | None = None
    kind: Kind | None = None
    read_only: bool | None = None
    protected: bool | None = None
    email: str | None = Field(None, max_length=254)
    certificate_names: list[str] | None = Field(
        None, max_length=MAX_CERTIFICATE_NAMES, description=_CERTIFICATES, examples=[["cn:etl"]]
    )


class NewPassword(Request):
    """Without one, one is made and shown once."""

    password: Password | None = None


class UserRecord(Record):
    id: str
    name: str = Field(examples=["ana"])
    enabled: bool
    valid_until: Shown | None
    allowlist: ListMode
    kind: UserKind
    read_only: bool
    protected: bool
    password_encryption: str = Field(description="How the password is stored.", examples=[PASSWORD_ENCRYPTION])
    email: str | None
    certificate_names: list[str] = Field(description=_CERTIFICATES, examples=[["cn:etl"]])
    last_login_at: Shown | None = Field(description="Written some seconds after the login. Null: never.")
    sessions: int | None = Field(description="How many are live now. Null: the gateway cannot be asked.")
    groups: list[str] = Field(examples=[["analysts"]])
    grants: int = Field(description="How many of its own.")
    version: Version


class UserMade(UserRecord):
    """`password`: the one that was made, shown only now; null when you chose it, and in a repetition."""

    password: str | None = Field(None, repr=False)


class UserPage(Page):
    items: list[UserRecord]


@dataclass(frozen=True, slots=True)
class Presence:
    """What is known of users besides their rights. `sessions` by name, None when nobody can tell; `logins` by id."""

    sessions: Mapping[str, int] | None
    logins: Mapping[str, datetime]


def user_record(snapshot: Snapshot, user: User, presence: Presence) -> UserRecord:
    return UserRecord(
        id=user.id,
        name=user.name,
        enabled=user.enabled,
        valid_until=user.valid_until,
        allowlist=user.allowlist,
        kind=user.kind,
        read_only=user.read_only,
        protected=user.protected,
        password_encryption=PASSWORD_ENCRYPTION,
        email=user.email,
        certificate_names=sorted(user.certificate_names),
        last_login_at=presence.logins.get(user.id),
        sessions=None if presence.sessions is None else presence.sessions.get(user.name, 0),
        groups=[group.name for group in groups_of(snapshot, user)],
        grants=len(snapshot.grants.get(user.id, ())),
        version=user.version,
    )
