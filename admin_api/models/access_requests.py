"""Access requests: what is asked, what became of it, and what those who decide look at."""

from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field, model_validator

from admin_api.models.credentials import Endpoint
from admin_api.models.fields import Instant, Mode, Page, Record, Request, Shown, Version
from gateway.access.asking import ModeWanted, Right, RoleWanted, Scope, StatementsWanted
from gateway.access.request_record import Decision, State, Word
from gateway.access_mode import AccessMode
from gateway.ports import DeniedStatement
from gateway.services.access_requests import Asked, ShownRequest
from gateway.statements.asked import MAX_BYTES, MAX_STATEMENTS

_MAX_SECONDS: Final = 366 * 86_400
_SCOPE: Final = (
    "relations: what the statements touch, as they touch it; exact: nothing but these statements, literals included."
)
_FINGERPRINT: Final = "Of what you looked at, as `fingerprint` of the request has it: a yes to anything else is refused."

_Text = Annotated[str, Field(max_length=500)]
_Name = Annotated[str, Field(max_length=200)]


class NewAccessRequest(Request):
    """For a target, or for an environment; `mode`, `database_role`, `statements` or a `code`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={
            "examples": [
                {"target": "shop", "mode": "read_only", "duration_seconds": 7200, "reason": "monthly report"},
                {"target": "shop", "database_role": "reporting", "reason": "ticket 4711", "ticket": "OPS-4711"},
                {
                    "target": "shop",
                    "statements": ["UPDATE orders SET state = 'paid' WHERE id = 7"],
                    "scope": "exact",
                    "reason": "the provider's call was lost",
                },
                {"environment": "staging", "mode": "read_write", "user": "ben", "starts_at": "2030-01-31T18:00:00Z"},
            ]
        }
    )

    target: _Name | None = Field(None, description="Or give `environment`.")
    environment: _Name | None = Field(None, description="Each target that is in it when the request is approved.")
    mode: Mode | None = Field(None, description="To use it in this access mode. Of a role: in which; null: read_only.")
    database_role: str | None = Field(
        None, max_length=63, description="An existing one, where logins are managed.", examples=["reporting"]
    )
    statements: list[Annotated[str, Field(min_length=1, max_length=MAX_BYTES)]] | None = Field(
        None, min_length=1, max_length=MAX_STATEMENTS, description="To run these. What they need is found by the parser."
    )
    scope: Annotated[Scope, Field(strict=False)] = Field(Scope.RELATIONS, description=_SCOPE)
    code: str | None = Field(
        None,
        max_length=40,
        repr=False,
        description="Of a denial: the statement that was refused to you, which the gateway still has.",
    )
    duration_seconds: int | None = Field(None, ge=1, le=_MAX_SECONDS, description="null: as the policy says.", examples=[7200])
    reason: str = Field("", max_length=500, description="For those who decide, and for the audit: one line.")
    starts_at: Instant | None = Field(None, description="null: as soon as it is approved.")
    ticket: _Text | None = Field(None, description="A ticket's reference.", examples=["OPS-4711"])
    user: _Name | None = Field(None, description="For whom; null: whoever asks.")
    break_glass: bool = Field(False, description="In an emergency: give it to yourself now. All are told, and it is reviewed.")

    @model_validator(mode="after")
    def _one_place_and_right(self) -> "NewAccessRequest":
        if self.code is not None:
            if {"target", "environment", "mode", "database_role", "statements"} & self.model_fields_set:
                raise ValueError("a code says which statement, and where: leave out where and what")
            return self
        if (self.target is None) == (self.environment is None):
            raise ValueError("give either target or environment")
        if self.database_role is not None and self.statements is not None:
            raise ValueError("give either database_role or statements")
        if self.statements is not None and self.mode is not None:
            raise ValueError("statements say themselves which mode they need: leave out mode")
        if self.statements is None and "scope" in self.model_fields_set:
            raise ValueError("scope goes with statements")
        return self


class Verdict(Request):
    """What somebody decides about a request."""

    fingerprint: str = Field(pattern="^[0-9a-f]{64}$", description=_FINGERPRINT)
    comment: str = Field("", max_length=500, description="One line, for the requester.")


class NewReview(Request):
    comment: str = Field("", max_length=500, description="One line: what was found.")


class DecisionRecord(Record):
    by: str | None = Field(description="Who, as they were called then; null: a rule.", examples=["ben"])
    word: Word
    at: Shown
    step: int = Field(description="Of the policy, from 1.")
    comment: str
    rule: str | None = Field(description="The rule that decided by itself; null: a person did.", examples=["short-read"])


class ReviewedRecord(Record):
    by: str
    at: Shown
    comment: str


class AccessRequestRecord(Record):
    id: str
    number: int = Field(description="For people; taken wherever the id is.", examples=[17])
    state: State
    requester: str = Field(description="As they were called when they asked.", examples=["ana"])
    holder: str = Field(description="For whom.", examples=["ana"])
    place: str = Field(description="The target's or the environment's name then.", examples=["shop"])
    kind: str = Field(description="target or environment.", examples=["target"])
    mode: AccessMode
    database_role: str | None
    statements: list[str] | None = Field(description="What is asked to be run; null: no such request.")
    scope: Scope | None
    reason: str
    ticket: str | None
    duration_seconds: int
    wanted_from: Shown | None = Field(description="When it is to begin; null: as soon as it is approved.")
    asked_at: Shown
    decide_by: Shown = Field(description="Nobody can decide from then on.")
    starts_at: Shown | None = Field(description="Since when, or from when on, the right is there; null: it was not given.")
    ends_at: Shown | None = Field(description="When it ends by itself.")
    ended_at: Shown | None
    ended_because: str
    break_glass: bool
    awaits_review: bool = Field(description="It was taken in an emergency, and nobody has looked at it yet.")
    review: ReviewedRecord | None
    policy: str = Field(description="The approval policy, as it was when the request was made.", examples=["production"])
    step: int = Field(description="Of the policy, from 1: at which it is, or was last.")
    steps: int
    needed: int = Field(description="How many people have to say yes in this step.")
    said_yes: int = Field(description="How many have.")
    approvers: list[str] = Field(description="Who may decide in this step now; empty: there is nothing to decide.")
    may_decide: bool = Field(description="Whether whoever looks may, now.")
    may_review: bool = Field(description="Whether whoever looks may review this emergency.")
    decisions: list[DecisionRecord]
    fingerprint: str = Field(description="Of what is asked: who decides sends it along.")
    version: Version


class Connection(Record):
    """How its holder uses the right: with their own login and password. `databases`: what to name in a connection string."""

    user: str
    databases: list[str] = Field(examples=[["shop:rw"]])
    gateway: Endpoint


class AccessRequestShown(AccessRequestRecord):
    yours: bool = Field(description="Whoever looks has asked it, or it is for them.")
    connection: Connection | None = Field(description="null: the right is not there, or it is not yours.")


class AccessRequestPage(Page):
    items: list[AccessRequestRecord]


def request_record(shown: ShownRequest) -> AccessRequestRecord:
    request = shown.request
    wanted, review = request.wanted, request.review
    right = wanted.right
    return AccessRequestRecord(
        id=request.id,
        number=request.number,
        state=request.state,
        requester=request.names.requester,
        holder=request.names.holder,
        place=request.names.place,
        kind="target" if wanted.target_id is not None else "environment",
        mode=wanted.mode,
        database_role=right.database_role if isinstance(right, RoleWanted) else None,
        statements=list(right.texts) if isinstance(right, StatementsWanted) else None,
        scope=right.scope if isinstance(right, StatementsWanted) else None,
        reason=wanted.reason,
        ticket=wanted.ticket,
        duration_seconds=wanted.duration_seconds,
        wanted_from=wanted.starts_at,
        asked_at=request.asked_at,
        decide_by=request.decide_by,
        starts_at=request.starts_at,
        ends_at=request.ends_at,
        ended_at=request.ended_at,
        ended_because=request.ended_because,
        break_glass=request.break_glass,
        awaits_review=request.awaits_review,
        review=None if review is None else ReviewedRecord(by=review.name, at=review.at, comment=review.comment),
        policy=request.policy.name,
        step=request.step + 1,
        steps=len(request.policy.steps),
        needed=request.policy.steps[request.step].needed,
        said_yes=sum(each.step == request.step and each.word is Word.YES and each.rule is None for each in request.decisions),
        approvers=list(shown.approvers),
        may_decide=shown.may_decide,
        may_review=shown.may_review,
        decisions=[_decision(each) for each in request.decisions],
        fingerprint=wanted.fingerprint,
        version=request.version,
    )


def asked_of(body: NewAccessRequest, refused: DeniedStatement | None) -> Asked:
    """`refused`: what the body's code stands for."""
    target, right = body.target, _right(body)
    if refused is not None:
        scope = body.scope if "scope" in body.model_fields_set else Scope(refused.scope)
        target, right = refused.target, StatementsWanted((refused.statement,), scope, AccessMode.READ_ONLY)
    return Asked(
        right=right,
        target_name=target,
        environment_name=body.environment,
        for_user=body.user,
        duration_seconds=body.duration_seconds,
        reason=body.reason,
        starts_at=body.starts_at,
        ticket=body.ticket,
        break_glass=body.break_glass,
    )


def _right(body: NewAccessRequest) -> Right:
    mode = body.mode or AccessMode.READ_ONLY
    if body.database_role is not None:
        return RoleWanted(body.database_role, mode)
    return ModeWanted(mode) if body.statements is None else StatementsWanted(tuple(body.statements), body.scope, mode)


def _decision(decision: Decision) -> DecisionRecord:
    return DecisionRecord(
        by=None if decision.rule is not None else decision.name,
        word=decision.word,
        at=decision.at,
        step=decision.step + 1,
        comment=decision.comment,
        rule=decision.rule,
    )
