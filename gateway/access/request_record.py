"""An access request as it is known: its states, who decided what, what became of it. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from gateway.access.approvals import ApprovalPolicy, Electors, Person
from gateway.access.asking import Wanted


class State(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    ACTIVE = "active"
    DENIED = "denied"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    RELINQUISHED = "relinquished"
    REVOKED = "revoked"
    ERRORED = "errored"


GIVEN: Final = frozenset({State.APPROVED, State.ACTIVE})
ENDED: Final = frozenset(State) - GIVEN - {State.PENDING}


class Word(StrEnum):
    """An approver's."""

    YES = "approve"
    NO = "deny"


@dataclass(frozen=True, slots=True)
class Decision:
    """`fingerprint`: of what the person looked at. `rule`: which rule decided; None: the person did. `name`: theirs, then."""

    person: Person
    word: Word
    at: datetime
    fingerprint: str
    step: int = 0
    comment: str = ""
    rule: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """What people were called, and the target or environment, when the request was made. `place`: the latter's."""

    requester: str = ""
    holder: str = ""
    place: str = ""


NO_NAMES: Final = Names()


@dataclass(frozen=True, slots=True)
class Review:
    """Somebody has looked at what was done in an emergency."""

    user_id: str
    name: str
    at: datetime
    comment: str = ""


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """`holder`: for whom, as of the asking. `step_since`: when the present step began. `starts_at` and `ends_at` are set with the
    approval, and never moved later. `policy`: as it was when the request was made; changing it changes nothing under way.

    `electorate`: who could decide then, of each step of the policy. `number`: 1, 2, 3 ..., for people; the store gives it with the
    first commit (0: not stored yet). `escalated_step`: the last step of which more people were told; `told_expiring`: that the end
    is near was said.
    """

    id: str
    requester: Person
    holder: Person
    wanted: Wanted
    policy: ApprovalPolicy
    electorate: tuple[Electors, ...]
    state: State
    asked_at: datetime
    decide_by: datetime
    step: int
    step_since: datetime
    decisions: tuple[Decision, ...] = ()
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    ended_at: datetime | None = None
    ended_because: str = ""
    break_glass: bool = False
    names: Names = NO_NAMES
    number: int = 0
    escalated_step: int = -1
    told_expiring: bool = False
    review: Review | None = None
    version: int = 0

    @property
    def awaits_review(self) -> bool:
        """A right taken in an emergency is looked at by somebody else afterwards."""
        return self.break_glass and self.review is None

    @property
    def approver_ids(self) -> frozenset[str]:
        """People whose yes carries it."""
        return frozenset(each.person.user_id for each in self.decisions if each.word is Word.YES and each.rule is None)
