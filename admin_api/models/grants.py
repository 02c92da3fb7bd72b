"""Grants."""

from datetime import datetime
from typing import ClassVar, Final

from pydantic import ConfigDict, Field, model_validator

from admin_api.models.fields import Instant, Mode, Option, Page, Record, Request, Shown, Version
from gateway.access_mode import AccessMode, GrantOption
from gateway.services.grant_terms import MAX_CHANGED_ROWS
from gateway.services.grants import GroupHolder, Holder, NamedGrant, UserHolder
from gateway.services.lookup import is_live

_OPTIONS: Final = "temporary-tables: for read_only sessions. The others: for read_write ones, and only in read_write grants."
_CEILING: Final = "For read_write grants: a statement that changes more rows is rolled back; null: any number."


class NewGrant(Request):
    """To a user or to a group. read_write includes read_only."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user": "ana", "target": "shop", "mode": "read_only", "valid_until": "2030-01-31T18:00:00Z"},
                {"group": "ops", "target": "shop", "mode": "read_write", "options": ["no-ddl"], "max_changed_rows": 1000},
            ]
        }
    )

    user: str | None = Field(None, examples=["ana"])
    group: str | None = Field(None)
    target: str = Field(examples=["shop"])
    mode: Mode = Field(examples=["read_only"])
    valid_until: Instant | None = None
    options: list[Option] = Field(default=[], max_length=len(GrantOption), description=_OPTIONS, examples=[["no-ddl"]])
    max_changed_rows: int | None = Field(None, ge=1, le=MAX_CHANGED_ROWS, description=_CEILING, examples=[1000])
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
    """What is left out stays."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={"minProperties": 1, "examples": [{"options": ["no-ddl"], "max_changed_rows": None}]}
    )

    valid_until: Instant | None = Field(None, description="null: without end.")
    options: list[Option] = Field(
        default=[], max_length=len(GrantOption), description=f"All that it is to have. {_OPTIONS}", examples=[["no-ddl"]]
    )
    max_changed_rows: int | None = Field(None, ge=1, le=MAX_CHANGED_ROWS, description=_CEILING, examples=[1000])

    @model_validator(mode="after")
    def _something(self) -> "GrantPatch":
        if not self.model_fields_set:
            raise ValueError("say what to change")
        return self


class GrantRecord(Record):
    """Exactly one of `user` and `group` is set."""

    id: str
    user: str | None
    group: str | None
    target: str
    mode: AccessMode
    valid_until: Shown | None
    options: list[GrantOption] = Field(examples=[["no-ddl"]])
    max_changed_rows: int | None = Field(description="How many rows a statement may change; null: any number.")
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
        options=sorted(grant.options),
        max_changed_rows=grant.max_changed_rows,
        live=is_live(grant.valid_until, now),
        version=grant.version,
    )
