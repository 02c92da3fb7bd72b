"""Statements and what the policy says about them."""

from pydantic import Field

from admin_api.models.fields import Mode, Option, Record, Request
from gateway.access_mode import AccessMode, GrantOption
from gateway.services.policy import HIGHEST_MAJOR, LOWEST_MAJOR, Explanation
from gateway.services.policy_rules import Rule, record_of


class Question(Request):
    """Under the policy of a target, or of one that would list just what is given here."""

    sql: str = Field(description="A statement, or several.", examples=["DELETE FROM orders"])
    mode: Mode = AccessMode.READ_ONLY
    target: str | None = Field(None, description="Under this target's policy.", examples=[None])
    allowed_functions: list[str] = Field([], max_length=1000)
    allowed_schemas: list[str] = Field(["public"], max_length=1000)
    allowed_settings: list[str] = Field([], max_length=1000)
    options: list[Option] = Field([], max_length=len(GrantOption), description="As if the grant carried them.")
    max_changed_rows: int | None = Field(None, ge=1, description="As if the grant had this ceiling.")
    server_major: int = Field(HIGHEST_MAJOR, ge=LOWEST_MAJOR, le=HIGHEST_MAJOR)


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


def explanation_record(found: Explanation) -> ExplanationRecord:
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
        lifts_read_only=found.lifts_read_only,
    )
