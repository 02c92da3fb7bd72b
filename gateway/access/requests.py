"""The way of a request from the question to the end. Pure: each function takes a request and gives the next one, or says why not.

    pending --> approved --> active --> expired | relinquished | revoked | errored
       |            `-> cancelled | expired | relinquished | revoked | errored
       `-> denied | cancelled | expired | errored

What has ended never changes again. `approved` is a right that begins later. Time itself moves a request (`as_of`), only forwards.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from gateway.access.approvals import ApprovalPolicy, Electors, Person, may_decide
from gateway.access.asking import Wanted
from gateway.access.request_record import ENDED, GIVEN, AccessRequest, Decision, Review, State, Word
from gateway.durations import write_duration


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and for whom."""

    requester: Person
    holder: Person


@dataclass(frozen=True, slots=True)
class Refused:
    """`rule` is a stable kebab-case id."""

    rule: str
    message: str
    hint: str


Next: TypeAlias = AccessRequest | Refused


def ask(
    request_id: str, people: Asking, wanted: Wanted, policy: ApprovalPolicy, electorate: tuple[Electors, ...], now: datetime
) -> Next:
    """A pending request, or which part of the policy it does not meet. Raises ValueError when it is for somebody else,
    or when the electorate is of other steps.
    """
    if wanted.holder_id != people.holder.user_id:
        raise ValueError("the holder is not who the right is wanted for")
    if len(electorate) != len(policy.steps):
        raise ValueError("each step has its electors")
    if wanted.duration_seconds > policy.max_seconds:
        return Refused(
            "request-too-long", f"at most {write_duration(policy.max_seconds)} can be asked for here", "Ask for less."
        )
    if policy.reason_required and not wanted.reason.strip():
        return Refused("reason-required", "a request for this needs a reason", "Say what it is for.")
    if policy.ticket_required and not (wanted.ticket or "").strip():
        return Refused("ticket-required", "a request for this needs a ticket's reference", "Name the ticket.")
    if wanted.mode not in policy.modes:
        return Refused("request-not-open", f"{wanted.mode.value} cannot be asked for here", "Ask an admin for a grant.")
    decide_by = now + timedelta(seconds=policy.decide_within_seconds)
    state = State.PENDING
    return AccessRequest(request_id, people.requester, people.holder, wanted, policy, electorate, state, now, decide_by, 0, now)


def decide(request: AccessRequest, decision: Decision, now: datetime, standing: frozenset[str]) -> Next:
    """One person's word. The last yes that is needed gives the right; the first no ends the request.

    `standing`: user ids of those who decided before and may still; the yes of others does not count any more, and a step that
    lacks one by that is waited for again.
    """
    request = as_of(request, now)
    refused = _no_decision(request, decision, now)
    if refused is not None:
        return refused
    decision = replace(decision, at=now, step=request.step)
    heard = replace(request, decisions=(*request.decisions, decision))
    if decision.word is Word.NO:
        return _ended(heard, State.DENIED, decision.comment, now)
    return _counted(heard, standing | {decision.person.user_id}, now)


def approve_by_rule(request: AccessRequest, rule: str, now: datetime) -> Next:
    """What a rule of the policy says yes to: whoever calls this has asked `approvals.automatic`."""
    request = as_of(request, now)
    if request.state is not State.PENDING:
        return _not_pending(request)
    decision = Decision(request.requester, Word.YES, now, request.wanted.fingerprint, request.step, rule=rule)
    return _given(replace(request, decisions=(*request.decisions, decision)), now)


def break_glass(request: AccessRequest, now: datetime) -> Next:
    """The requester gives themselves the right, if the policy lets them, for themselves, now, and for a short time."""
    request = as_of(request, now)
    glass, person = request.policy.break_glass, request.requester
    if request.state is not State.PENDING:
        return _not_pending(request)
    if glass is None or person.ids.isdisjoint(glass.holders):
        return Refused("break-glass-not-open", "you may not give yourself this right", "Wait for an approver.")
    if request.holder.user_id != person.user_id or request.wanted.starts_at is not None:
        return Refused(
            "break-glass-not-open", "a right taken in an emergency is one's own and begins now", "Ask in the usual way."
        )
    if request.wanted.duration_seconds > glass.within_seconds:
        return Refused("request-too-long", f"in an emergency, {write_duration(glass.within_seconds)} at most", "Ask for less.")
    if not request.wanted.reason.strip():
        return Refused("reason-required", "a right taken in an emergency needs a reason", "Say what happened.")
    return _given(replace(request, break_glass=True), now)


def dismiss(request: AccessRequest, reason: str, now: datetime) -> Next:
    """Denied by an admin, who need not be an approver: it gives nobody anything."""
    request = as_of(request, now)
    return _not_pending(request) if request.state is not State.PENDING else _ended(request, State.DENIED, reason, now)


def cancel(request: AccessRequest, now: datetime, because: str = "") -> Next:
    """Taken back before it began."""
    request = as_of(request, now)
    if request.state not in {State.PENDING, State.APPROVED}:
        return Refused("request-not-open", f"the request is {request.state.value}", "A right that is given is given back.")
    return _ended(request, State.CANCELLED, because, now)


def relinquish(request: AccessRequest, now: datetime) -> Next:
    """Given back by its holder."""
    return _end_given(as_of(request, now), State.RELINQUISHED, "", now)


def revoke(request: AccessRequest, reason: str, now: datetime) -> Next:
    """Taken away by an admin."""
    return _end_given(as_of(request, now), State.REVOKED, reason, now)


def fail(request: AccessRequest, reason: str, now: datetime) -> Next:
    """What was approved could not be carried out."""
    request = as_of(request, now)
    return _not_pending(request) if request.state in ENDED else _ended(request, State.ERRORED, reason, now)


def look_back(request: AccessRequest, person: Person, review: Review, now: datetime) -> Next:
    """Somebody else has looked at what was done in an emergency. Whoever calls this has asked whether they may."""
    request = as_of(request, now)
    if not request.break_glass:
        return Refused("review-not-due", "the request was approved in the usual way", "There is nothing to review.")
    if request.review is not None:
        return Refused("reviewed-already", f"it was reviewed by {request.review.name}", "There is nothing left to review.")
    if not person.known_as.isdisjoint(request.requester.known_as | request.holder.known_as):
        return Refused("self-approval", "nobody reviews their own emergency", "Ask another approver.")
    if request.state not in ENDED:
        return Refused("review-not-due", "the right is still there", "Review it once it has ended, or revoke it.")
    return replace(request, review=review)


def as_of(request: AccessRequest, now: datetime) -> AccessRequest:
    """What time alone has made of it."""
    match request.state:
        case State.PENDING if now >= request.decide_by:
            return _ended(request, State.EXPIRED, "nobody decided in time", now)
        case State.APPROVED | State.ACTIVE if request.ends_at is not None and now >= request.ends_at:
            return _ended(request, State.EXPIRED, "its time is over", now)
        case State.APPROVED if request.starts_at is not None and now >= request.starts_at:
            return replace(request, state=State.ACTIVE)
        case _:
            return request


def _no_decision(request: AccessRequest, decision: Decision, now: datetime) -> Refused | None:
    if request.state is not State.PENDING:
        return _not_pending(request)
    if decision.fingerprint != request.wanted.fingerprint:
        return Refused("request-changed", "what you looked at is not what is asked for", "Look at the request again.")
    person = decision.person
    if not person.known_as.isdisjoint(request.requester.known_as | request.holder.known_as):
        return Refused("self-approval", "nobody decides about their own request", "Ask another approver.")
    step = request.policy.steps[request.step]
    if not may_decide(person, step, request.electorate[request.step], is_late=step.is_late(request.step_since, now)):
        return Refused("not-an-approver", "you may not decide about this request", "Ask somebody of its approvers.")
    if any(not person.known_as.isdisjoint(each.person.known_as) for each in request.decisions):
        return Refused("decided-already", "you have decided about this request", "Another person must.")
    return None


def _counted(request: AccessRequest, standing: frozenset[str], now: datetime) -> AccessRequest:
    for number, step in enumerate(request.policy.steps):
        yes = {each.person.user_id for each in request.decisions if each.step == number and each.word is Word.YES}
        if len(yes & standing) < step.needed:
            return request if number == request.step else replace(request, step=number, step_since=now)
    return _given(request, now)


def _given(request: AccessRequest, now: datetime) -> AccessRequest:
    starts_at = max(now, request.wanted.starts_at or now)
    ends_at = starts_at + timedelta(seconds=request.wanted.duration_seconds)
    return as_of(replace(request, state=State.APPROVED, starts_at=starts_at, ends_at=ends_at), now)


def _end_given(request: AccessRequest, state: State, reason: str, now: datetime) -> Next:
    if request.state not in GIVEN:
        return Refused("request-not-given", f"the request is {request.state.value}", "There is no right to end.")
    return _ended(request, state, reason, now)


def _ended(request: AccessRequest, state: State, reason: str, now: datetime) -> AccessRequest:
    return replace(request, state=state, ended_at=now, ended_because=reason)


def _not_pending(request: AccessRequest) -> Refused:
    return Refused("request-not-pending", f"the request is {request.state.value}", "Nothing is left to decide.")
