"""What those who decide about an access request look at, and what can be asked for."""

from pydantic import Field

from admin_api.models.access_requests import AccessRequestRecord, request_record
from admin_api.models.fields import Page, Record
from gateway.access_mode import AccessMode
from gateway.services.access_requests import Askable, Brief, Opened, ShownRequest


class AskableRecord(Record):
    target: str | None = Field(description="null: each target of the environment.", examples=["shop"])
    environment: str = Field(examples=["production"])
    mode: AccessMode
    database_roles: list[str] = Field(description="Roles of the database that can be asked for there.")
    default_seconds: int
    max_seconds: int
    reason_required: bool
    ticket_required: bool
    break_glass_seconds: int | None = Field(
        description="For how long you may give it to yourself in an emergency; null: you may not."
    )


class AskablePage(Page):
    items: list[AskableRecord]


class OpenedRecord(Record):
    """What it would open on one target."""

    target: str
    mode: AccessMode
    now: AccessMode | None = Field(description="The widest that the holder has there already; null: nothing.")
    is_new: bool = Field(description="It is more than they have.")
    database_role: str | None


class StatementRecord(Record):
    sql: str
    kind: str = Field(examples=["UPDATE"])
    operations: list[str] = Field(description="What it does to what.", examples=[["update public.orders"]])
    refused_read_only: str = Field(description="The rule that refuses it in a read-only session; empty: it may run there.")
    why: str = Field(description="That rule's message.")


class ReviewRecord(Record):
    request: AccessRequestRecord
    opened: list[OpenedRecord]
    without_gap_seconds: int = Field(description="How long they would have the right, with what they have of it already.")
    statements: list[StatementRecord] = Field(description="Of a request for statements, as the gateway would let them through.")
    operations: list[str] = Field(description="All that it would allow to be done; empty: see the request's scope.")
    obstacle: str = Field(description="Why it cannot be carried out; empty: it can.")
    approved_before: int = Field(description="How many requests of the holder's were.")
    denied_before: int
    history: list[AccessRequestRecord] = Field(description="The holder's other requests that you may see, the newest first.")


def askable_record(found: Askable) -> AskableRecord:
    return AskableRecord(
        target=found.target,
        environment=found.environment,
        mode=found.mode,
        database_roles=list(found.database_roles),
        default_seconds=found.default_seconds,
        max_seconds=found.max_seconds,
        reason_required=found.reason_required,
        ticket_required=found.ticket_required,
        break_glass_seconds=found.break_glass_seconds,
    )


def review_record(brief: Brief, shown: ShownRequest) -> ReviewRecord:
    return ReviewRecord(
        request=request_record(shown),
        opened=[_opened(each) for each in brief.opened],
        without_gap_seconds=brief.without_gap_seconds,
        statements=[
            StatementRecord(
                sql=each.text,
                kind=each.kind,
                operations=[_operation(*operation) for operation in each.operations],
                refused_read_only=each.not_read_only,
                why=each.why_not,
            )
            for each in brief.statements
        ],
        operations=[_operation(each.command, each.schema, each.table) for each in brief.operations],
        obstacle=brief.obstacle,
        approved_before=brief.approved_before,
        denied_before=brief.denied_before,
        history=[request_record(ShownRequest(each, (), may_decide=False, may_review=False)) for each in brief.history],
    )


def _opened(each: Opened) -> OpenedRecord:
    return OpenedRecord(target=each.target, mode=each.mode, now=each.now, is_new=each.is_new, database_role=each.database_role)


def _operation(command: str, schema: str, table: str) -> str:
    return f"{command} {schema}.{table}" if schema else f"{command} {table}"
