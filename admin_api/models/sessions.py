"""Live sessions."""

from dataclasses import asdict

from pydantic import Field, model_validator

from admin_api.models.fields import Page, Record, Request
from gateway.ports import SessionFacts


class SessionRecord(Record):
    session: str
    user: str
    target: str
    mode: str = Field(examples=["read_only"])
    options: list[str] = Field(description="What the grant that it stands on adds or takes away.", examples=[["no-ddl"]])
    max_changed_rows: int | None = Field(description="How many rows a statement may change; null: any number.")
    address: str
    application: str
    state: str = Field(examples=["idle", "active", "idle in transaction"])
    started_at: str
    worker: int
    statements: int
    grant: str = Field(description="The id of the grant that it stands on.")
    valid_until: str | None = Field(description="When that right ends; another may carry the session on then.")
    proof: str = Field(description="What its person came with.", examples=["password", "credential 1f3c9a2e-..."])
    max_sessions: int | None = Field(description="Of each person on that grant; this and what follows: null: no limit.")
    statement_timeout_ms: int | None = Field(description="How long a statement may run.")
    idle_timeout_seconds: int | None = Field(description="How long it may be idle.")
    idle_in_transaction_timeout_seconds: int | None = Field(description="The same while a transaction is open.")
    max_rows: int | None = Field(description="A statement that shows more rows is cut there.")
    max_bytes: int | None = Field(description="The same for the bytes of its rows.")
    max_bytes_per_day: int | None = Field(description="How many bytes of rows the person may be sent in a day (UTC).")
    schemas: list[str] = Field(description="All that is open, with `tables`; neither: what the upstream login may read.")
    tables: list[str] = Field(description="As `schemas`: schema.table.", examples=[["public.orders"]])


class SessionPage(Page):
    items: list[SessionRecord]


class Whom(Request):
    """Exactly one: the sessions of this user, those on this target, or all there are."""

    user: str | None = Field(None, examples=["ana"])
    target: str | None = None
    all: bool = False

    @model_validator(mode="after")
    def _one_choice(self) -> "Whom":
        if (self.user is not None) + (self.target is not None) + self.all != 1:
            raise ValueError("give exactly one of user, target and all: true")
        return self

    def fits(self, session: SessionFacts) -> bool:
        return self.all or session.user == self.user or session.target == self.target


class Terminated(Record):
    """`live`: false when no gateway could be asked whether there is such a session; it ends as soon as one sees this."""

    session: str
    reason: str
    live: bool


class TerminatedMany(Record):
    sessions: list[str] = Field(description="The ids. Empty in a repetition: they were in the first answer.")


class Cancelled(Record):
    session: str


def session_record(facts: SessionFacts) -> SessionRecord:
    return SessionRecord(**asdict(facts))
