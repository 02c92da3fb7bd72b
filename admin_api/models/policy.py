"""Statements and what the policy says about them."""

from typing import Annotated

from pydantic import Field, model_validator

from admin_api.models.fields import Mode, Option, Record, Request
from gateway.access.relations import MAX_NAMES
from gateway.access_mode import AccessMode, GrantOption
from gateway.services.grant_terms import MAX_OF_LIMIT, Terms, read_schemas, read_tables
from gateway.services.policy import HIGHEST_MAJOR, LOWEST_MAJOR, Explanation, Granted
from gateway.services.policy_rules import Rule, record_of

RelationName = Annotated[str, Field(max_length=300)]


class Question(Request):
    """Under the policy of a target, or of one that would list just what is given here."""

    sql: str = Field(description="A statement, or several.", examples=["DELETE FROM orders"])
    mode: Mode = AccessMode.READ_ONLY
    target: str | None = Field(None, description="Under this target's policy.", examples=[None])
    allowed_functions: list[str] = Field([], max_length=1000)
    allowed_schemas: list[str] = Field(["public"], max_length=1000)
    allowed_settings: list[str] = Field([], max_length=1000)
    grant: str | None = Field(
        None,
        max_length=100,
        description="As under this grant: on its target, in its mode where none is given, with all that it carries.",
    )
    options: list[Option] = Field([], max_length=len(GrantOption), description="As if the grant carried them.")
    max_changed_rows: int | None = Field(None, ge=1, description="As if the grant had this ceiling.")
    statement_timeout_ms: int | None = Field(None, ge=1, le=MAX_OF_LIMIT["statement_timeout_ms"], description="The same.")
    max_rows: int | None = Field(None, ge=1, le=MAX_OF_LIMIT["max_rows"], description="The same.")
    max_bytes: int | None = Field(None, ge=1, le=MAX_OF_LIMIT["max_bytes"], description="The same.")
    max_bytes_per_day: int | None = Field(None, ge=1, le=MAX_OF_LIMIT["max_bytes_per_day"], description="The same.")
    schemas: list[RelationName] = Field(
        [], max_length=MAX_NAMES, description="As if the grant opened only these, and `tables`."
    )
    tables: list[RelationName] = Field(
        [], max_length=MAX_NAMES, description="As if the grant opened only these, and `schemas`."
    )
    server_major: int = Field(HIGHEST_MAJOR, ge=LOWEST_MAJOR, le=HIGHEST_MAJOR)

    @property
    def terms(self) -> Terms:
        """What the grant is to carry. Raises ServiceError for a name that is none."""
        return Terms(
            options=frozenset(self.options),
            max_changed_rows=self.max_changed_rows,
            statement_timeout_ms=self.statement_timeout_ms,
            max_rows=self.max_rows,
            max_bytes=self.max_bytes,
            max_bytes_per_day=self.max_bytes_per_day,
            schemas=read_schemas(self.schemas),
            tables=read_tables(self.tables),
        )

    @model_validator(mode="after")
    def _one_grant(self) -> "Question":
        if self.grant is not None and (more := sorted(self.model_fields_set - {"sql", "mode", "grant", "server_major"})):
            raise ValueError(f"grant says it all: leave out {more[0]}")
        return self


class ExplanationRecord(Record):
    allowed: bool
    mode: AccessMode
    rule: str = Field(examples=["write-statement"])
    sqlstate: str
    message: str
    hint: str
    position: int = Field(description="The character that it is about, from 1; 0: none.")
    kind: str
    tables: list[str]
    functions: list[str]
    edited: bool
    sent_as: str | None = Field(description="The text that would reach the server, where it is not the very same.")
    notice: str
    node: str = Field(description="The class or field of the parse tree that decided; empty: none, or the statement's own.")
    row_ceiling: int = Field(
        description="How many rows it may change before it is rolled back; 0: no ceiling, or none counted."
    )
    reported: str = Field(description="The rule that is against it, where the grant only reports; empty: none.")
    max_rows: int | None = Field(description="Of the grant: its reply is cut there, with an error; null: nowhere.")
    max_bytes: int | None = Field(description="The same for bytes.")
    statement_timeout_ms: int | None = Field(description="Of the grant: how long it may run.")
    lifts_read_only: bool = Field(description="It makes or drops a temporary table, and must stand by itself.")


class RuleRecord(Record):
    rule: str = Field(examples=["write-statement"])
    concerns: str
    sqlstate: str
    denies: str
    why: str
    example: str
    given: str = Field(description="What the database holds in the example; empty: any database will do.")


class RuleList(Record):
    items: list[RuleRecord]


def rule_record(rule: Rule) -> RuleRecord:
    return RuleRecord(**record_of(rule))


def explanation_record(found: Explanation, granted: Granted) -> ExplanationRecord:
    return ExplanationRecord(
        allowed=found.allowed,
        mode=found.mode,
        rule=found.rule,
        sqlstate=found.sqlstate,
        message=found.message,
        hint=found.hint,
        position=found.position,
        kind=found.kind,
        tables=list(found.tables),
        functions=list(found.functions),
        edited=found.sent_as is not None,
        sent_as=found.sent_as,
        notice=found.notice,
        node=found.node,
        row_ceiling=found.row_ceiling,
        reported=found.reported,
        max_rows=granted.reading.max_rows,
        max_bytes=granted.reading.max_bytes,
        statement_timeout_ms=granted.statement_timeout_ms,
        lifts_read_only=found.lifts_read_only,
    )
