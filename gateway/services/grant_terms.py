"""What a grant carries besides its holder, target and access mode: when it may be used, its options, its limits. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Final, TypedDict

from gateway.access.model import Grant, Reading, SessionLimits
from gateway.access.relations import MAX_NAMES, RelationNameError, parse_schema, parse_table, write_name, write_table
from gateway.access.windows import MAX_WINDOWS, Window, WindowError, parse_window
from gateway.access_mode import OPTIONS_OF, AccessMode, GrantOption
from gateway.audit.admin_event import DetailValue
from gateway.services.change import shown
from gateway.services.errors import ServiceError

MAX_CHANGED_ROWS: Final = 1_000_000_000
"""The highest ceiling that can be set; more is no ceiling."""

MAX_OF_LIMIT: Final = {
    "max_sessions": 1_000_000,
    "statement_timeout_ms": 2**31 - 1,  # PostgreSQL's own
    "idle_timeout_seconds": 31 * 86_400,
    "idle_in_transaction_timeout_seconds": 31 * 86_400,
    "max_rows": 2**53 - 1,  # what JSON carries exactly
    "max_bytes": 2**53 - 1,
    "max_bytes_per_day": 2**53 - 1,
}
"""How far the limits of sessions, and of what they are sent, can be set. All begin at 1."""

_LIMIT_WORDS: Final = {
    "max_sessions": "the most sessions at a time",
    "statement_timeout_ms": "a statement's time in milliseconds",
    "idle_timeout_seconds": "an idle session's time in seconds",
    "idle_in_transaction_timeout_seconds": "the seconds for which a transaction may be idle",
    "max_rows": "the most rows that a statement may send",
    "max_bytes": "the most bytes that a statement may send",
    "max_bytes_per_day": "the most bytes that a person may be sent in a day",
}
_NAMES_HINT: Final = 'A table is schema.table; names with capitals or signs stand in double quotes: "Sales"."Orders 2030".'
_ALLOWED: Final = {
    mode: options if mode is AccessMode.READ_ONLY else frozenset(GrantOption) for mode, options in OPTIONS_OF.items()
}
"""A read_write grant includes read_only, so that it may carry what means something there."""


class Given(TypedDict, total=False):
    """Some of the fields of `Terms`, as arguments of a verb. What is not given stays, or has its default."""

    valid_until: datetime | None
    options: frozenset[GrantOption]
    max_changed_rows: int | None
    valid_from: datetime | None
    windows: tuple[Window, ...]
    max_sessions: int | None
    statement_timeout_ms: int | None
    idle_timeout_seconds: int | None
    idle_in_transaction_timeout_seconds: int | None
    max_rows: int | None
    max_bytes: int | None
    max_bytes_per_day: int | None
    schemas: frozenset[str]
    tables: frozenset[str]


@dataclass(frozen=True, slots=True)
class Terms:
    """Of instants, None: without beginning or end; of limits, none. No windows: at any hour. `schemas` and `tables` are names as
    SQL writes them, from `read_schemas` and `read_tables`; neither: whatever the database role may read.
    """

    valid_until: datetime | None = None
    options: frozenset[GrantOption] = frozenset()
    max_changed_rows: int | None = None
    valid_from: datetime | None = None
    windows: tuple[Window, ...] = ()
    max_sessions: int | None = None
    statement_timeout_ms: int | None = None
    idle_timeout_seconds: int | None = None
    idle_in_transaction_timeout_seconds: int | None = None
    max_rows: int | None = None
    max_bytes: int | None = None
    max_bytes_per_day: int | None = None
    schemas: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()


TERMS: Final = tuple(field.name for field in fields(Terms))
"""The fields of `Terms`, in the order in which people read them."""


def terms_of(grant: Grant) -> Terms:
    limits, reading = grant.limits, grant.reading
    return Terms(
        valid_until=grant.valid_until,
        options=grant.options,
        max_changed_rows=grant.max_changed_rows,
        valid_from=grant.valid_from,
        windows=grant.windows,
        max_sessions=limits.max_sessions,
        statement_timeout_ms=limits.statement_timeout_ms,
        idle_timeout_seconds=limits.idle_timeout_seconds,
        idle_in_transaction_timeout_seconds=limits.idle_in_transaction_timeout_seconds,
        max_rows=reading.max_rows,
        max_bytes=reading.max_bytes,
        max_bytes_per_day=reading.max_bytes_per_day,
        schemas=frozenset(map(write_name, reading.schemas)),
        tables=frozenset(map(write_table, reading.tables)),
    )


def with_terms(grant: Grant, terms: Terms) -> Grant:
    return replace(
        grant,
        valid_until=terms.valid_until,
        options=terms.options,
        max_changed_rows=terms.max_changed_rows,
        valid_from=terms.valid_from,
        windows=terms.windows,
        limits=SessionLimits(
            max_sessions=terms.max_sessions,
            statement_timeout_ms=terms.statement_timeout_ms,
            idle_timeout_seconds=terms.idle_timeout_seconds,
            idle_in_transaction_timeout_seconds=terms.idle_in_transaction_timeout_seconds,
        ),
        reading=Reading(
            max_rows=terms.max_rows,
            max_bytes=terms.max_bytes,
            max_bytes_per_day=terms.max_bytes_per_day,
            schemas=frozenset(map(parse_schema, terms.schemas)),
            tables=frozenset(map(parse_table, terms.tables)),
        ),
    )


def read_windows(texts: Sequence[str]) -> tuple[Window, ...]:
    """As people write them: `Mon-Fri 08:00-18:00 Europe/Zurich`. Raises ServiceError."""
    if len(texts) > MAX_WINDOWS:
        raise ServiceError("window-invalid", f"a grant has at most {MAX_WINDOWS} windows", "Join days: Mon-Fri,Sun.")
    try:
        return tuple(sorted(set(map(parse_window, texts)), key=str))
    except WindowError as error:
        raise ServiceError("window-invalid", str(error), "Days, from-to and a time zone: Mon-Fri 08:00-18:00 UTC.") from error


def read_schemas(texts: Sequence[str]) -> frozenset[str]:
    """As SQL writes names; quoted only where they must be, afterwards. Raises ServiceError."""
    try:
        return frozenset(write_name(parse_schema(text)) for text in texts)
    except RelationNameError as error:
        raise ServiceError("relations-invalid", str(error), _NAMES_HINT) from error


def read_tables(texts: Sequence[str]) -> frozenset[str]:
    """The same for `schema.table`."""
    try:
        return frozenset(write_table(parse_table(text)) for text in texts)
    except RelationNameError as error:
        raise ServiceError("relations-invalid", str(error), _NAMES_HINT) from error


def check_terms(mode: AccessMode, terms: Terms) -> None:
    """All but the end: only who changes it knows whether it may be in the past. Raises ServiceError."""
    check_ceiling(terms.max_changed_rows)
    for name, most in MAX_OF_LIMIT.items():
        _check_limit(name, getattr(terms, name), most)
    if terms.valid_from is not None and terms.valid_until is not None and terms.valid_from >= terms.valid_until:
        raise ServiceError("never-valid", "it would end before it begins", "Give a later end, or an earlier beginning.")
    for names in (terms.schemas, terms.tables):
        if len(names) > MAX_NAMES:
            raise ServiceError("relations-invalid", f"a grant lists at most {MAX_NAMES} of each", "Grant whole schemas.")
    others = sorted(terms.options - _ALLOWED[mode])
    if not others and (mode is AccessMode.READ_WRITE or terms.max_changed_rows is None):
        return
    what = f"the option {others[0]}" if others else "a ceiling for changed rows"
    raise ServiceError(
        "option-not-for-mode",
        f"{what} means nothing in a {mode} grant",
        f"It is for read_write grants. A {mode} grant may carry: {', '.join(sorted(_ALLOWED[mode]))}.",
    )


def check_ceiling(rows: int | None) -> None:
    if rows is not None and not 1 <= rows <= MAX_CHANGED_ROWS:
        raise ServiceError(
            "max-changed-rows-invalid",
            f"{rows} cannot be the most rows that a statement may change",
            f"Give 1 to {MAX_CHANGED_ROWS}, or nothing for any number. Where no row may change, read_only is the mode.",
        )


def _check_limit(name: str, limit: int | None, most: int) -> None:
    if limit is not None and not 1 <= limit <= most:
        text = f"{limit} cannot be {_LIMIT_WORDS[name]}"
        raise ServiceError("limit-invalid", text, f"Give 1 to {most}, or nothing for no limit of the grant's own.")


def terms_detail(terms: Terms) -> dict[str, DetailValue]:
    """For the audit. What was there before limits of sessions were is always told, of the others what is set."""
    detail: dict[str, DetailValue] = {
        "valid_until": shown(terms.valid_until),
        "options": tuple(sorted(terms.options)),
        "max_changed_rows": terms.max_changed_rows,
    }
    if terms.valid_from is not None:
        detail["valid_from"] = shown(terms.valid_from)
    if terms.windows:
        detail["windows"] = tuple(map(str, terms.windows))
    if terms.schemas:
        detail["schemas"] = tuple(sorted(terms.schemas))
    if terms.tables:
        detail["tables"] = tuple(sorted(terms.tables))
    return detail | {name: limit for name in MAX_OF_LIMIT if (limit := getattr(terms, name)) is not None}


def before_detail(terms: Terms) -> dict[str, DetailValue]:
    """For the audit: what was there before a change."""
    return {f"before_{name}": value for name, value in terms_detail(terms).items()}
