"""Approval policies: what may be asked for in an environment, and who decides about it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, cast

from pydantic import ConfigDict, Field

from admin_api.models.fields import Mode, Page, Record, Request, Version
from gateway.access.approvals import AutomaticRule, RuleKind
from gateway.access_mode import AccessMode
from gateway.services.approval_policies import Given, NamedBreakGlass, NamedPolicy, NamedStep
from gateway.services.approval_terms import TERMS
from gateway.services.errors import ServiceError

MAX_SECONDS: Final = 366 * 86_400
_MOST: Final = 100
_APPROVERS: Final = "role:NAME (an admin role), group:NAME or user:NAME."
_LISTS: Final = "All of them: what is not in it is taken away."

_Seconds = Annotated[int, Field(ge=1, le=MAX_SECONDS)]
_Approver = Annotated[str, Field(max_length=200, pattern="^(role|group|user):.")]
_Modes = Annotated[list[Mode], Field(min_length=1, max_length=len(AccessMode), description="What may be asked for.")]
_Roles = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=63)]],
    Field(max_length=_MOST, description="Roles of the databases that may be asked for.", examples=[["reporting"]]),
]
_Announce = Annotated[
    list[Annotated[str, Field(max_length=300)]],
    Field(
        max_length=_MOST,
        description="Where approvers are told: slack:CHANNEL, mail:ADDRESS, webhook:NAME.",
        examples=[["slack:C024BE91L"]],
    ),
]


class StepBody(Request):
    """So many different people must say yes; one no is the end."""

    approvers: list[_Approver] = Field(min_length=1, max_length=_MOST, description=_APPROVERS, examples=[["role:dba"]])
    needed: int = Field(1, ge=1, le=_MOST)
    escalates_after_seconds: _Seconds | None = Field(None, description="Then those of `escalation` may decide, too.")
    escalation: list[_Approver] = Field([], max_length=_MOST, description=_APPROVERS)


class RuleBody(Request):
    """What is approved by itself, if it is for no longer than `within_seconds`."""

    kind: Annotated[RuleKind, Field(strict=False)] = Field(
        description="short-read: only reads; again: people approved the same for the same person; on-call: who is on the schedule."
    )
    within_seconds: _Seconds
    since_seconds: int = Field(0, ge=0, le=MAX_SECONDS, description="Of again: how long ago that may be.")


class BreakGlassBody(Request):
    """Who may give it to themselves in an emergency, for how long at most."""

    holders: list[_Approver] = Field(min_length=1, max_length=_MOST, description=_APPROVERS, examples=[["role:on-call"]])
    within_seconds: _Seconds


def _steps(steps: Sequence[StepBody]) -> tuple[NamedStep, ...]:
    return tuple(
        NamedStep(tuple(sorted(each.approvers)), each.needed, each.escalates_after_seconds, tuple(sorted(each.escalation)))
        for each in steps
    )


def _rules(rules: Sequence[RuleBody]) -> tuple[AutomaticRule, ...]:
    return tuple(AutomaticRule(each.kind, each.within_seconds, each.since_seconds) for each in rules)


def _break_glass(glass: BreakGlassBody) -> NamedBreakGlass:
    return NamedBreakGlass(tuple(sorted(glass.holders)), glass.within_seconds)


_OF: Final[Mapping[str, Callable[[Any], object]]] = {
    "modes": frozenset,
    "steps": _steps,
    "rules": _rules,
    "break_glass": _break_glass,
    "database_roles": frozenset,
    "announce": tuple,
}
_NULLABLE: Final = frozenset({"break_glass", "on_call"})

_Steps = Annotated[list[StepBody], Field(min_length=1, max_length=20, description="Passed one after the other.")]
_Rules = Annotated[list[RuleBody], Field(max_length=_MOST, description="The first that holds approves it.")]


class _Terms(Request):
    @property
    def given(self) -> Given:
        """What the body states, as the verbs take it."""
        stated: dict[str, object] = {name: getattr(self, name) for name in TERMS if name in self.model_fields_set}
        for name, of in _OF.items():
            if stated.get(name) is not None:
                stated[name] = of(stated[name])
        for name in stated.keys() - _NULLABLE:
            if stated[name] is None:
                raise ServiceError("approval-policy-invalid", f"{name} cannot be nothing", "Leave it out: it stays.")
        return cast(Given, stated)


class NewApprovalPolicy(_Terms):
    """Nobody ever decides about their own request, whatever it says."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "staging",
                    "environment": "staging",
                    "modes": ["read_only", "read_write"],
                    "steps": [{"approvers": ["group:developers"]}],
                    "rules": [{"kind": "short-read", "within_seconds": 14_400}],
                },
                {
                    "name": "production",
                    "environment": "production",
                    "modes": ["read_write"],
                    "steps": [
                        {"approvers": ["role:dba"], "needed": 2},
                        {"approvers": ["user:cara"], "escalates_after_seconds": 1800, "escalation": ["role:heads"]},
                    ],
                    "max_seconds": 28_800,
                    "reason_required": True,
                    "announce": ["slack:C024BE91L"],
                    "break_glass": {"holders": ["role:on-call"], "within_seconds": 1800},
                },
            ]
        }
    )

    name: str = Field(max_length=200, examples=["production"])
    environment: str = Field(max_length=200, examples=["production"])
    modes: _Modes
    steps: _Steps
    rules: _Rules = Field(default=[])
    default_seconds: _Seconds = Field(3600, description="For how long, where the request does not say.")
    max_seconds: _Seconds = Field(86_400, description="The most that can be asked for.")
    decide_within_seconds: _Seconds = Field(86_400, description="A request that nobody decides about expires then.")
    reason_required: bool = False
    ticket_required: bool = False
    bound_to_approvers: bool = Field(
        False, description="A right ends when one of those who approved it may not approve any more."
    )
    break_glass: BreakGlassBody | None = None
    database_roles: _Roles = Field(default=[])
    announce: _Announce = Field(default=[])
    on_call: str | None = Field(None, max_length=100, description="PagerDuty's id of the schedule that the rule on-call means.")


class ApprovalPolicyPatch(_Terms):
    """What is named is changed. Requests that are under way go by the policy as it was."""

    modes: _Modes | None = Field(None, description=_LISTS)
    steps: _Steps | None = Field(None, description=_LISTS)
    rules: _Rules | None = Field(None, description=_LISTS)
    default_seconds: _Seconds | None = None
    max_seconds: _Seconds | None = None
    decide_within_seconds: _Seconds | None = None
    reason_required: bool | None = None
    ticket_required: bool | None = None
    bound_to_approvers: bool | None = None
    break_glass: BreakGlassBody | None = Field(None, description="null: nobody may.")
    database_roles: _Roles | None = Field(None, description=_LISTS)
    announce: _Announce | None = Field(None, description=_LISTS)
    on_call: str | None = Field(None, max_length=100, description="null: nobody is asked.")


class StepRecord(Record):
    approvers: list[str] = Field(examples=[["role:dba"]])
    needed: int
    escalates_after_seconds: int | None
    escalation: list[str]


class ApprovalRuleRecord(Record):
    kind: RuleKind
    within_seconds: int
    since_seconds: int


class BreakGlassRecord(Record):
    holders: list[str]
    within_seconds: int


class ApprovalPolicyRecord(Record):
    id: str
    name: str
    environment: str
    modes: list[AccessMode]
    steps: list[StepRecord]
    rules: list[ApprovalRuleRecord]
    default_seconds: int
    max_seconds: int
    decide_within_seconds: int
    reason_required: bool
    ticket_required: bool
    bound_to_approvers: bool
    break_glass: BreakGlassRecord | None
    database_roles: list[str]
    announce: list[str]
    on_call: str | None
    version: Version


class ApprovalPolicyPage(Page):
    items: list[ApprovalPolicyRecord]


def policy_record(named: NamedPolicy) -> ApprovalPolicyRecord:
    policy, terms = named.policy, named.terms
    glass = terms.break_glass
    return ApprovalPolicyRecord(
        id=policy.id,
        name=policy.name,
        environment=named.environment,
        modes=sorted(terms.modes),
        steps=[
            StepRecord(
                approvers=list(each.approvers),
                needed=each.needed,
                escalates_after_seconds=each.escalates_after_seconds,
                escalation=list(each.escalation),
            )
            for each in terms.steps
        ],
        rules=[
            ApprovalRuleRecord(kind=each.kind, within_seconds=each.within_seconds, since_seconds=each.since_seconds)
            for each in terms.rules
        ],
        default_seconds=terms.default_seconds,
        max_seconds=terms.max_seconds,
        decide_within_seconds=terms.decide_within_seconds,
        reason_required=terms.reason_required,
        ticket_required=terms.ticket_required,
        bound_to_approvers=terms.bound_to_approvers,
        break_glass=(
            None if glass is None else BreakGlassRecord(holders=list(glass.holders), within_seconds=glass.within_seconds)
        ),
        database_roles=sorted(terms.database_roles),
        announce=list(terms.announce),
        on_call=terms.on_call,
        version=policy.version,
    )
