"""Allowlist entries."""

from datetime import datetime

from pydantic import Field, model_validator

from admin_api.models.fields import Instant, Page, Record, Request, Shown, Version
from gateway.services.allowlist import Everybody, Level, NamedEntry, OfTarget, OfUser, level_text
from gateway.services.lookup import is_live


class LevelPart(Request):
    """Whose list: a user's, a target's, or with neither everybody's."""

    user: str | None = Field(None, examples=["ana"])
    target: str | None = None

    @model_validator(mode="after")
    def _one_owner(self) -> "LevelPart":
        if self.user is not None and self.target is not None:
            raise ValueError("give either user or target")
        return self

    @property
    def level(self) -> Level:
        if self.user is not None:
            return OfUser(self.user)
        return OfTarget(self.target) if self.target is not None else Everybody()


class NewEntry(Request):
    network: str = Field(max_length=100, description="An address or a network.", examples=["10.1.0.0/16"])
    level: LevelPart = LevelPart()
    label: str = Field("", description="What it is, for people.", examples=["office"])
    valid_until: Instant | None = None


class EntryRecord(Record):
    id: str
    level: str = Field(description='"global", "user NAME" or "target NAME"', examples=["user ana"])
    network: str = Field(examples=["10.1.0.0/16"])
    label: str
    valid_until: Shown | None
    live: bool = Field(description="It has not ended yet.")
    version: Version


class EntryPage(Page):
    items: list[EntryRecord]


def entry_record(named: NamedEntry, now: datetime) -> EntryRecord:
    entry = named.entry
    return EntryRecord(
        id=entry.id,
        level=level_text(named.level),
        network=str(entry.network),
        label=entry.label,
        valid_until=entry.valid_until,
        live=is_live(entry.valid_until, now),
        version=entry.version,
    )
