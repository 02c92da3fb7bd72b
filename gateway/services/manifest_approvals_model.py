"""The section of a manifest that is about what can be asked for, and who decides about it."""

from typing import Annotated

from pydantic import Field

from gateway.access.approvals import RuleKind
from gateway.services.manifest_fields import Mode, Name
from gateway.services.manifest_part import Part

_MOST = 100
_APPROVERS = "role:NAME (an admin role), group:NAME or user:NAME"

_Approvers = Annotated[
    frozenset[Annotated[str, Field(max_length=200, pattern="^(role|group|user):.")]], Field(strict=False, max_length=_MOST)
]


class StepPart(Part):
    """So many different people must say yes, and one no is the end."""

    approvers: _Approvers = Field(description=f"Who may decide: {_APPROVERS}.")
    needed: int = Field(1, description="How many of them must say yes.")
    escalates_after_seconds: int | None = Field(None, description="Then those of `escalation` may decide, too; null: never.")
    escalation: _Approvers = Field(default=frozenset(), description=f"Who, then: {_APPROVERS}.")


class RulePart(Part):
    """What is approved by itself."""

    kind: Annotated[RuleKind, Field(strict=False)] = Field(
        description="short-read: only reads; again: people approved the same for the same person; on-call: who is on the schedule."
    )
    within_seconds: int = Field(description="For how long at most.")
    since_seconds: int = Field(0, description="Of again: how long ago people may have approved the same.")


class BreakGlassPart(Part):
    """Who may give a right to themselves in an emergency, for how long at most."""

    holders: _Approvers = Field(description=f"Who: {_APPROVERS}.")
    within_seconds: int = Field(description="For how long at most.")


class ApprovalPolicyPart(Part):
    """What of an environment can be asked for, and who decides. Nobody ever decides about their own request."""

    name: Name = Field(description="The policy's name.")
    environment: Name | None = Field(None, description="Where it holds; a policy keeps its place. A new one needs it.")
    modes: Annotated[frozenset[Mode], Field(strict=False)] = Field(
        default=frozenset(), description="What may be asked for: read_only, read_write. A new policy needs it."
    )
    steps: list[StepPart] = Field(default=[], description="Passed one after the other. A new policy needs one.")
    rules: list[RulePart] = Field(default=[], max_length=_MOST, description="The first that holds approves it.")
    default_seconds: int = Field(3600, description="For how long, where the request does not say.")
    max_seconds: int = Field(86_400, description="The most that can be asked for, without a gap.")
    decide_within_seconds: int = Field(86_400, description="A request that nobody decides about expires then.")
    reason_required: bool = Field(False, description="Whether a request needs a reason.")
    ticket_required: bool = Field(False, description="Whether it needs a ticket's reference.")
    bound_to_approvers: bool = Field(
        False, description="Whether a right ends when one of those who approved it may not approve any more."
    )
    break_glass: BreakGlassPart | None = Field(None, description="null: nobody may.")
    database_roles: Annotated[frozenset[str], Field(strict=False, max_length=_MOST)] = Field(
        default=frozenset(), description="Roles of the databases that may be asked for, where logins are managed."
    )
    announce: list[Annotated[str, Field(max_length=300)]] = Field(
        default=[], max_length=_MOST, description="Where approvers are told: slack:CHANNEL, mail:ADDRESS, webhook:NAME."
    )
    on_call: str | None = Field(None, max_length=100, description="PagerDuty's id of the schedule that the rule on-call means.")
