"""Users."""

from pydantic import Field

from admin_api.models.fields import Instant, Lists, Page, Password, Record, Request, Shown, Version
from gateway.access.model import ListMode, Snapshot, User
from gateway.services.lookup import groups_of


class NewUser(Request):
    """Without a password one is made and shown once."""

    name: str = Field(examples=["ana"])
    password: Password | None = Field(None, description="12 to 256 printable characters.")
    valid_until: Instant | None = None
    groups: list[str] = Field([], max_length=100, examples=[["analysts"]])


class UserPatch(Request):
    """What is left out stays. `valid_until` null: the account does not expire."""

    enabled: bool | None = Field(None, examples=[False])
    valid_until: Instant | None = None
    allowlist: Lists | None = None


class NewPassword(Request):
    """Without one, one is made and shown once."""

    password: Password | None = None


class UserRecord(Record):
    id: str
    name: str = Field(examples=["ana"])
    enabled: bool
    valid_until: Shown | None
    allowlist: ListMode
    groups: list[str] = Field(examples=[["analysts"]])
    grants: int = Field(description="How many of its own.")
    version: Version


class UserMade(UserRecord):
    """`password`: the one that was made, shown only now; null when you chose it, and in a repetition."""

    password: str | None = None


class UserPage(Page):
    items: list[UserRecord]


def user_record(snapshot: Snapshot, user: User) -> UserRecord:
    return UserRecord(
        id=user.id,
        name=user.name,
        enabled=user.enabled,
        valid_until=user.valid_until,
        allowlist=user.allowlist,
        groups=[group.name for group in groups_of(snapshot, user)],
        grants=len(snapshot.grants.get(user.id, ())),
        version=user.version,
    )
