"""Who may decide about a request, and what is decided by a rule. Pure.

A policy is data, per environment and access mode. Its steps are passed one after the other; in each, so many different people must
say yes, and one no is the end. When nobody has decided for a while, more people may. Who was no approver when a request was made
never becomes one for it: nobody is made an approver for the one case.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from gateway.access.asking import ModeWanted, Wanted
from gateway.access_mode import AccessMode


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as of now. `identities`: what else says that two accounts are one human's: addresses, subjects at a provider.

    `one_of`: ids of the admin roles and groups that they are in.
    """

    user_id: str
    identities: frozenset[str] = frozenset()
    one_of: frozenset[str] = frozenset()

    @property
    def ids(self) -> frozenset[str]:
        """By which a policy may name them."""
        return self.one_of | {self.user_id}

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

    @property
    def all(self) -> frozenset[str]:
        return self.approvers | self.escalation

    def is_late(self, since: datetime, now: datetime) -> bool:
        """Whether more people may decide by now, in a step that began then."""
        after = self.escalates_after_seconds
        return after is not None and now >= since + timedelta(seconds=after)


@dataclass(frozen=True, slots=True)
class Electors:
    """Ids of the users who were approvers of one step when the request was made: at once, and after the step's escalation."""

    approvers: frozenset[str]
    escalation: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        return self.approvers | self.escalation


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
    """`bound_to_approvers`: a right ends when one of those who approved it may not approve any more.

    `database_roles`: the existing ones that may be asked for. `announce`: where approvers are told, as destinations
    ("slack:C024BE91L", "mail:dba@example.com", "webhook:siem"). `on_call`: the schedule whose people RuleKind.ON_CALL means.
    """

    id: str
    name: str
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
    database_roles: frozenset[str] = frozenset()
    announce: tuple[str, ...] = ()
    on_call: str | None = None
    version: int = 0

    def __post_init__(self) -> None:
        if not self.steps or any(step.needed < 1 for step in self.steps):
            raise ValueError("a policy has at least one step, and each needs at least one person")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What automatic rules look at. `approved_before_at`: when the same was last approved by people, for the same holder.

    `on_call`: None: nobody could say, or nobody asked: then it counts as no. `before_seconds`: for how long rules alone have given
    the same without a gap: a rule does not prolong what a rule gave.
    """

    approved_before_at: datetime | None = None
    on_call: bool | None = None
    before_seconds: float = 0.0


def may_decide(person: Person, step: Step, electors: Electors, *, is_late: bool) -> bool:
    """One of these now, by name or as a member, and one when the request was made."""
    at_once = person.user_id in electors.approvers and not person.ids.isdisjoint(step.approvers)
    later = person.user_id in electors.escalation and not person.ids.isdisjoint(step.escalation)
    return at_once or (is_late and later)


def automatic(policy: ApprovalPolicy, wanted: Wanted, about: Circumstances, now: datetime) -> AutomaticRule | None:
    """The first rule that approves it, if any: none for more time than it gives."""
    for rule in policy.rules:
        if wanted.duration_seconds + about.before_seconds <= rule.within_seconds and _holds(rule, wanted, about, now):
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
            return about.on_call is True and wanted.starts_at is None
