"""Grants."""

from datetime import datetime
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field, model_validator

from admin_api.models.fields import Instant, Mode, Option, Page, Record, Request, Shown, Version
from gateway.access.relations import MAX_NAMES, write_name, write_table
from gateway.access.requested import Operation
from gateway.access.validity import When, has_ended, validity
from gateway.access.windows import MAX_WINDOWS
from gateway.access_mode import AccessMode, GrantOption
from gateway.services.grant_terms import (
    MAX_CHANGED_ROWS,
    MAX_OF_LIMIT,
    TERMS,
    Given,
    read_schemas,
    read_tables,
    read_windows,
)
from gateway.services.grants import GroupHolder, Holder, NamedGrant, UserHolder

_OPTIONS: Final = "temporary-tables: for read_only sessions. The others: for read_write ones, and only in read_write grants."
_CEILING: Final = "For read_write grants: a statement that changes more rows is rolled back; null: any number."
_WINDOWS: Final = "When within the week it may be used: days, from-to and a time zone; none: at any hour."
_SESSIONS: Final = "At most so many sessions of each person at a time; null: no limit of the grant's own."
_STATEMENT: Final = "How long a statement may run; sessions can only lower it. Null: no limit."
_IDLE: Final = "A session in which nothing runs and nothing is sent for so long ends; null: never."
_IDLE_IN_TRANSACTION: Final = "The same while a transaction is open; null: never."
_ROWS: Final = "A statement that shows more rows is cut there, with an error; null: any number."
_BYTES: Final = "The same for the bytes of its rows; null: any number."
_BYTES_PER_DAY: Final = "How many bytes of rows each person may be sent in a day (UTC); null: any number."
_SCHEMAS: Final = "The only schemas whose tables are open, besides `tables`; neither: what the upstream login may read."
_TABLES: Final = "The only tables and views that are open: schema.table, as SQL writes it."
_Name = Annotated[str, Field(max_length=300)]


class _Terms(Request):
    """What a grant carries. Durations are as their names say."""

    valid_until: Instant | None = Field(None, description="null: without end.")
    options: list[Option] = Field(default=[], max_length=len(GrantOption), description=_OPTIONS, examples=[["no-ddl"]])
    max_changed_rows: int | None = Field(None, ge=1, le=MAX_CHANGED_ROWS, description=_CEILING, examples=[1000])
    valid_from: Instant | None = Field(None, description="null: at once.")
    windows: list[Annotated[str, Field(max_length=200)]] = Field(
        default=[], max_length=MAX_WINDOWS, description=_WINDOWS, examples=[["Mon-Fri 08:00-18:00 Europe/Zurich"]]
    )
    max_sessions: int | None = Field(None, ge=1, le=MAX_OF_LIMIT["max_sessions"], description=_SESSIONS, examples=[10])
    statement_timeout_ms: int | None = Field(
        None, ge=1, le=MAX_OF_LIMIT["statement_timeout_ms"], description=_STATEMENT, examples=[30_000]
    )
    idle_timeout_seconds: int | None = Field(
        None, ge=1, le=MAX_OF_LIMIT["idle_timeout_seconds"], description=_IDLE, examples=[3600]
    )
    idle_in_transaction_timeout_seconds: int | None = Field(
        None, ge=1, le=MAX_OF_LIMIT["idle_in_transaction_timeout_seconds"], description=_IDLE_IN_TRANSACTION, examples=[300]
    )
    max_rows: int | None = Field(None, ge=1, le=MAX_OF_LIMIT["max_rows"], description=_ROWS, examples=[10_000])
    max_bytes: int | None = Field(None, ge=1, le=MAX_OF_LIMIT["max_bytes"], description=_BYTES, examples=[100_000_000])
    max_bytes_per_day: int | None = Field(
        None, ge=1, le=MAX_OF_LIMIT["max_bytes_per_day"], description=_BYTES_PER_DAY, examples=[1_000_000_000]
    )
    schemas: list[_Name] = Field(default=[], max_length=MAX_NAMES, description=_SCHEMAS, examples=[["reports"]])
    tables: list[_Name] = Field(default=[], max_length=MAX_NAMES, description=_TABLES, examples=[["public.orders"]])

    @property
    def given(self) -> Given:
        """What the body states. Raises ServiceError for a window or a name that is none."""
        stated: Given = Given(**{name: getattr(self, name) for name in TERMS if name in self.model_fields_set})  # type: ignore[typeddict-item]
        if "options" in stated:
            stated["options"] = frozenset(self.options)
        if "windows" in stated:
            stated["windows"] = read_windows(self.windows)
        if "schemas" in stated:
            stated["schemas"] = read_schemas(self.schemas)
        if "tables" in stated:
            stated["tables"] = read_tables(self.tables)
        return stated


class NewGrant(_Terms):
    """To a user or to a group. read_write includes read_only."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user": "ana", "target": "shop", "mode": "read_only", "valid_until": "2030-01-31T18:00:00Z"},
                {"group": "ops", "target": "shop", "mode": "read_write", "options": ["no-ddl"], "max_changed_rows": 1000},
                {
                    "group": "analysts",
                    "target": "shop",
                    "mode": "read_only",
                    "windows": ["Mon-Fri 08:00-18:00 Europe/Zurich"],
                    "max_sessions": 10,
                    "statement_timeout_ms": 30_000,
                },
                {
                    "group": "analysts",
                    "target": "shop",
                    "mode": "read_only",
                    "max_rows": 10_000,
                    "max_bytes_per_day": 1_000_000_000,
                    "tables": ["public.orders"],
                },
            ]
        }
    )

    user: str | None = Field(None, examples=["ana"])
    group: str | None = Field(None)
    target: str = Field(examples=["shop"])
    mode: Mode = Field(examples=["read_only"])
    replace: bool = Field(False, description="In place of those of the same kind that have not ended.")
    beside: bool = Field(False, description="Beside those of the same kind; of several that may be used, the widest counts.")

    @model_validator(mode="after")
    def _one_holder(self) -> "NewGrant":
        if (self.user is None) == (self.group is None):
            raise ValueError("give either user or group")
        if self.replace and self.beside:
            raise ValueError("give either replace or beside")
        return self

    @property
    def holder(self) -> Holder:
        return GroupHolder(self.group) if self.group is not None else UserHolder(self.user or "")


class GrantPatch(_Terms):
    """What is left out stays; options, windows, schemas and tables are given whole."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={"minProperties": 1, "examples": [{"options": ["no-ddl"], "max_changed_rows": None}]}
    )

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
    valid_from: Shown | None
    valid_until: Shown | None
    windows: list[str] = Field(examples=[["Mon-Fri 08:00-18:00 Europe/Zurich"]])
    options: list[GrantOption] = Field(examples=[["no-ddl"]])
    max_changed_rows: int | None = Field(description="How many rows a statement may change; null: any number.")
    max_sessions: int | None = Field(description=_SESSIONS)
    statement_timeout_ms: int | None = Field(description=_STATEMENT)
    idle_timeout_seconds: int | None = Field(description=_IDLE)
    idle_in_transaction_timeout_seconds: int | None = Field(description=_IDLE_IN_TRANSACTION)
    max_rows: int | None = Field(description=_ROWS)
    max_bytes: int | None = Field(description=_BYTES)
    max_bytes_per_day: int | None = Field(description=_BYTES_PER_DAY)
    schemas: list[str] = Field(description=_SCHEMAS, examples=[["reports"]])
    tables: list[str] = Field(description=_TABLES, examples=[["public.orders"]])
    request_id: str | None = Field(description="The access request that led to it; it is changed by that alone.")
    database_role: str | None = Field(description="The existing role whose rights its sessions have in the database.")
    only_statements: int | None = Field(description="Nothing but so many statements may be run; null: no such limit.")
    only_operations: list[str] = Field(
        description="Nothing but these may be done; none: no such limit.", examples=[["update public.orders"]]
    )
    live: bool = Field(description="It has not ended yet.")
    state: When = Field(description="live: it may be used now; not-yet: it has not begun; closed: outside its windows; ended.")
    changes_at: Shown | None = Field(description="When that state changes: of one that may not be used, when it may be.")
    version: Version


class GrantPage(Page):
    items: list[GrantRecord]


def operation_text(operation: Operation) -> str:
    return f"{operation.command.value} {operation.schema}.{operation.table}"


def grant_record(named: NamedGrant, now: datetime) -> GrantRecord:
    grant, holder, found = named.grant, named.holder, validity(named.grant, now)
    return GrantRecord(
        id=grant.id,
        user=holder.name if isinstance(holder, UserHolder) else None,
        group=holder.name if isinstance(holder, GroupHolder) else None,
        target=named.target_name,
        mode=grant.mode,
        valid_from=grant.valid_from,
        valid_until=grant.valid_until,
        windows=[str(window) for window in grant.windows],
        options=sorted(grant.options),
        max_changed_rows=grant.max_changed_rows,
        max_sessions=grant.limits.max_sessions,
        statement_timeout_ms=grant.limits.statement_timeout_ms,
        idle_timeout_seconds=grant.limits.idle_timeout_seconds,
        idle_in_transaction_timeout_seconds=grant.limits.idle_in_transaction_timeout_seconds,
        max_rows=grant.reading.max_rows,
        max_bytes=grant.reading.max_bytes,
        max_bytes_per_day=grant.reading.max_bytes_per_day,
        schemas=sorted(map(write_name, grant.reading.schemas)),
        tables=sorted(map(write_table, grant.reading.tables)),
        request_id=grant.request_id,
        database_role=grant.database_role,
        only_statements=len(grant.only.statements) if grant.only is not None and grant.only.statements else None,
        only_operations=[] if grant.only is None else [operation_text(each) for each in sorted(grant.only.operations)],
        live=not has_ended(grant, now),
        state=found.when,
        changes_at=found.until,
        version=grant.version,
    )
