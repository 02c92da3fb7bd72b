"""The kinds of fields that several resources share, and how they are written."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, WithJsonSchema

from gateway.access.model import ListMode, TlsMode, TokenScope, UserKind
from gateway.access_mode import AccessMode, GrantOption
from gateway.secret import Secret

_NO_INSTANT: Final = "write an instant with its offset, such as 2030-01-31T18:00:00Z"
_EXAMPLE: Final = "2030-01-31T18:00:00Z"


class Request(BaseModel):
    """A body. Strict: "5432" is no port."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Record(BaseModel):
    """An object as it is shown."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, hide_input_in_errors=True)


class Page(BaseModel):
    """One page of a listing. `next`: pass it as `after` for the page that follows; null: this is the last."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, hide_input_in_errors=True)

    next: str | None = None


def when(instant: datetime | None) -> str | None:
    """ISO 8601 in UTC, to the second."""
    return None if instant is None else instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _instant(value: object) -> datetime:
    if not isinstance(value, str) or len(value) > 40:
        raise ValueError(_NO_INSTANT)
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None:
            raise ValueError
        return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(_NO_INSTANT) from None


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": [_EXAMPLE]}),
]
"""Given by a request: an ISO instant with its offset."""

Shown = Annotated[
    datetime,
    PlainSerializer(when, return_type=str | None),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": [_EXAMPLE]}),
]
"""Shown in a record."""

Password = Annotated[SecretStr, Field(strict=False)]
Mode = Annotated[AccessMode, Field(strict=False)]
Option = Annotated[GrantOption, Field(strict=False)]
Kind = Annotated[UserKind, Field(strict=False, description="A person's account, or a program's.")]
Lists = Annotated[ListMode, Field(strict=False, description="inherit: the own list is ignored; restrict: only what it lists.")]
Tls = Annotated[TlsMode, Field(strict=False)]
Scope = Annotated[TokenScope, Field(strict=False, description="admin: everything; read: only GET.")]
Version = Annotated[int, Field(description="The store's revision in which it last changed; also its ETag.")]


def secret(given: SecretStr | None) -> Secret | None:
    return None if given is None else Secret(given.get_secret_value())
