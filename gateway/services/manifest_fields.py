"""What stands in a manifest's fields: instants, references to secrets, names; how each is read, and what an editor is told."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from gateway.access.managed import ManagedMode
from gateway.access.model import ListMode, Permission, TlsMode, UserKind
from gateway.access.relations import MAX_NAMES, parse_schema, parse_table, write_name, write_table
from gateway.access.windows import MAX_WINDOWS, Window, parse_window
from gateway.access_mode import AccessMode, GrantOption
from gateway.secret import Secret
from gateway.services.certificates import MAX_CERTIFICATE_NAMES

_FROM_ENV: Final = {
    "type": "object",
    "properties": {"env": {"type": "string", "minLength": 1, "description": "The environment variable that holds it."}},
    "required": ["env"],
    "additionalProperties": False,
}
_FROM_FILE: Final = {
    "type": "object",
    "properties": {
        "file": {
            "type": "string",
            "minLength": 1,
            "description": "A file that holds it, and nothing else (one line end at its end is not part of it). "
            "A relative path is seen from the manifest's folder.",
        }
    },
    "required": ["file"],
    "additionalProperties": False,
}


def _instant(value: object) -> datetime:
    """ISO 8601 as text, or what YAML reads unquoted; UTC unless it says otherwise."""
    match value:
        case datetime():
            found = value
        case date():
            found = datetime(value.year, value.month, value.day)
        case str():
            try:
                found = datetime.fromisoformat(value)
            except ValueError:
                raise ValueError("not an instant such as 2030-01-31T18:00:00Z") from None
        case _:
            raise ValueError("not an instant such as 2030-01-31T18:00:00Z")
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("an instant beyond the calendar") from None


def _secret(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return Secret(value)
    raise ValueError("not resolved: what applies a file replaces {env: NAME} and {file: PATH} by the secret itself")


def _windows(value: object) -> tuple[Window, ...]:
    texts = value if isinstance(value, list) else []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in texts):
        raise ValueError("not a list of windows such as Mon-Fri 08:00-18:00 Europe/Zurich")
    if len(texts) > MAX_WINDOWS:
        raise ValueError(f"more than {MAX_WINDOWS} windows")
    return tuple(sorted(set(map(parse_window, texts)), key=str))


def _schemas(value: object) -> frozenset[str]:
    return frozenset(write_name(parse_schema(text)) for text in _names(value, "schemas"))


def _tables(value: object) -> frozenset[str]:
    return frozenset(write_table(parse_table(text)) for text in _names(value, "tables"))


def _names(value: object, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"not a list of {what}")
    if len(value) > MAX_NAMES:
        raise ValueError(f"more than {MAX_NAMES} {what}")
    return value


def _text(value: object) -> object:
    if isinstance(value, Mapping):
        raise ValueError("not resolved: what applies a file replaces {file: PATH} by the text itself")
    return value


def _word_off(value: object) -> object:
    """YAML takes the bare word off for no."""
    return ManagedMode.OFF.value if value is False else value


Instant = Annotated[
    datetime,
    PlainValidator(_instant),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?)?$"}
    ),
]
SecretReference = Annotated[Secret, PlainValidator(_secret), WithJsonSchema({"anyOf": [_FROM_ENV, _FROM_FILE]})]
VerifierText = Annotated[Secret, PlainValidator(_secret), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1000})]
PemText = Annotated[str, BeforeValidator(_text), WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, _FROM_FILE]})]
Name = Annotated[str, Field(min_length=1, max_length=63)]
# Strict mode would want enum members, which no file can hold.
Mode = Annotated[AccessMode, Field(strict=False)]
CertificateNames = Annotated[
    frozenset[Annotated[str, Field(max_length=600)]], Field(strict=False, max_length=MAX_CERTIFICATE_NAMES)
]
Options = Annotated[frozenset[Annotated[GrantOption, Field(strict=False)]], Field(strict=False)]
Permissions = Annotated[frozenset[Annotated[Permission, Field(strict=False)]], Field(strict=False)]
Managed = Annotated[ManagedMode, Field(strict=False), BeforeValidator(_word_off)]
AccountKind = Annotated[UserKind, Field(strict=False)]
Windows = Annotated[
    tuple[Window, ...],
    PlainValidator(_windows),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "maxItems": MAX_WINDOWS}),
]
_NAMES_SCHEMA: Final = {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": MAX_NAMES}
Schemas = Annotated[frozenset[str], PlainValidator(_schemas), WithJsonSchema(_NAMES_SCHEMA)]
Tables = Annotated[frozenset[str], PlainValidator(_tables), WithJsonSchema(_NAMES_SCHEMA)]
OwnList = Annotated[ListMode, Field(strict=False)]
Tls = Annotated[TlsMode, Field(strict=False)]
