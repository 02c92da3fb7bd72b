"""Grants."""

from datetime import datetime

from pydantic import Field, model_validator

from admin_api.models.fields import Instant, Mode, Page, Record, Request, Shown, Version
from gateway.access_mode import AccessMode
from gateway.services.grants import GroupHolder, Holder, NamedGrant, UserHolder
from gateway.services.lookup import is_live


class NewGrant(Request):
    """To a user or to a group. read_write includes read_only."""

    user: str | None = Field(None, examples=["ana"])
    group: str | None = Field(None)
    target: str = Field(examples=["shop"])
    mode: Mode = Field(examples=["read_only"])
    valid_until: Instant | None = None
    replace: bool = Field(False, description="In place of a live grant of the same kind.")

    @model_validator(mode="after")
    def _one_holder(self) -> "NewGrant":
        if (self.user is None) == (self.group is None):
            raise ValueError("give either user or group")
        return self

    @property
    def holder(self) -> Holder:
        return GroupHolder(self.group) if self.group is not None else UserHolder(self.user or "")


class GrantPatch(Request):
    valid_until: Instant | None = Field(description="null: without end.")


class GrantRecord(Record):
    """Exactly one of `user` and `group` is set."""

    id: str
    user: str | None
    group: str | None
    target: str
    mode: AccessMode
    valid_until: Shown | None
    live: bool = Field(description="It has not ended yet.")
    version: Version


class GrantPage(Page):
    items: list[GrantRecord]


def grant_record(named: NamedGrant, now: datetime) -> GrantRecord:
    grant, holder = named.grant, named.holder
    return GrantRecord(
        id=grant.id,
        user=holder.name if isinstance(holder, UserHolder) else None,
        group=holder.name if isinstance(holder, GroupHolder) else None,
        target=named.target_name,
        mode=grant.mode,
        valid_until=grant.valid_until,
        live=is_live(grant.valid_until, now),
        version=grant.version,
    )
