"""Who may decide about a request, and what is decided by a rule. Pure.

A policy is data, per environment and access mode. Its steps are passed one after the other; in each, so many different people must
say yes, and one no is the end. When nobody has decided for a while, more people may.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from gateway.access.asking import ModeWanted, Wanted
from gateway.access_mode import AccessMode


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as of now. `identities`: what else says that two accounts are one human's: verified addresses, subjects at a
    provider. `member_since`: by the id of each admin role and group that they are in.
    """

    user_id: str
    identities: frozenset[str] = frozenset()
    member_since: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def known_as(self) -> frozenset[str]:
        """Two people whose sets meet are one."""
        return self.identities | {self.user_id}


@dataclass(frozen=True, slots=True)
class Step:
    """`approvers`: ids of admin roles, groups and users. After `escalates_after_seconds`, `escalation` may decide, too."""

    approvers: frozenset[str]
    needed: int = 1
    escalates_after_seconds: int | None = None
    escalation: frozenset[str] = frozenset()

    def who(self, since: datetime, now: datetime) -> frozenset[str]:
        """Ids of who may decide now, in a step that began then."""
        after = self.escalates_after_seconds
        late = after is not None and now >= since + timedelta(seconds=after)
        return self.approvers | self.escalation if late else self.approvers


class RuleKind(StrEnum):
    """What is approved by itself: what is short and only reads, what was approved before, whoever is on call."""

    SHORT_READ = "short-read"
    AGAIN = "again"
    ON_CALL = "on-call"


@dataclass(frozen=True, slots=True)
class AutomaticRule:
    """`within_seconds`: how long a right it may give; for AGAIN, how long ago the former yes may be is `since_seconds`."""

    kind: RuleKind
    within_seconds: int
    since_seconds: int = 0


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Who (ids of admin roles, groups, users) may give the right to themselves, how long at most, in an emergency."""

    holders: frozenset[str]
    within_seconds: int


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """`bound_to_approvers`: a right ends when one of those who approved it may not approve any more."""

    id: str
    environment_id: str
    modes: frozenset[AccessMode]
    steps: tuple[Step, ...]
    rules: tuple[AutomaticRule, ...] = ()
    default_seconds: int = 3600
    max_seconds: int = 86_400
    decide_within_seconds: int = 86_400
    reason_required: bool = False
    ticket_required: bool = False
    bound_to_approvers: bool = False
    break_glass: BreakGlass | None = None
    version: int = 0

    def __post_init__(self) -> None:
        if not self.steps or any(step.needed < 1 for step in self.steps):
            raise ValueError("a policy has at least one step, and each needs at least one person")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What automatic rules look at. `approved_before_at`: when the same was last approved by people, for the same holder.

    `on_call`: None: nobody could say, or nobody asked: then it counts as no.
    """

    approved_before_at: datetime | None = None
    on_call: bool | None = None


def may_decide(person: Person, allowed: frozenset[str], asked_at: datetime) -> bool:
    """By name, or by a membership that is older than the request: nobody is made an approver for the one case."""
    if person.user_id in allowed:
        return True
    return any(group in allowed and since <= asked_at for group, since in person.member_since.items())


def automatic(policy: ApprovalPolicy, wanted: Wanted, about: Circumstances, now: datetime) -> AutomaticRule | None:
    """The first rule that approves it, if any: none for more time than it gives."""
    for rule in policy.rules:
        if wanted.duration_seconds <= rule.within_seconds and _holds(rule, wanted, about, now):
            return rule
    return None


def _holds(rule: AutomaticRule, wanted: Wanted, about: Circumstances, now: datetime) -> bool:
    match rule.kind:
        case RuleKind.SHORT_READ:
            return isinstance(wanted.right, ModeWanted) and wanted.mode is AccessMode.READ_ONLY
        case RuleKind.AGAIN:
            before = about.approved_before_at
            return before is not None and timedelta() <= now - before <= timedelta(seconds=rule.since_seconds)
        case RuleKind.ON_CALL:
            return about.on_call is True
