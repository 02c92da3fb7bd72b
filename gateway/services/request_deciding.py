"""Deciding about access requests: a person's word, and the answer of an on-call schedule.

Whoever is asked first, the last word is the store's: of any number who decide at once, one is heard, and the others are told.
"""

from dataclasses import replace

from gateway.access import requests
from gateway.access.approvals import Circumstances, RuleKind, automatic
from gateway.access.asking import StatementsWanted
from gateway.access.electorate import approvers_now, person_of, standing
from gateway.access.model import User
from gateway.access.request_record import GIVEN, AccessRequest, Decision, State, Word
from gateway.access.requests import Refused
from gateway.ports import RequestFilter
from gateway.services.change import Change, begin
from gateway.services.naming import check_remark
from gateway.services.request_change import about_detail, refuse, request_name, stage_ended, stage_messages
from gateway.services.request_giving import stage_given
from gateway.services.request_messages import Topic
from gateway.services.request_people import (
    RequestStore,
    acting,
    check_own_hand,
    find_request,
    involves,
    refreshed,
    unknown_request,
)
from gateway.services.request_spans import by_rules_alone_seconds, check_span
from gateway.services.request_statements import Needed, needed_by

_NOT_AN_APPROVER = Refused("not-an-approver", "you may not decide about this request", "Ask somebody of its approvers.")


async def decide_request(
    store: RequestStore, *, request: str | int, word: Word, fingerprint: str, comment: str = "", actor: str, reason: str = ""
) -> AccessRequest:
    """A yes or a no of somebody who may say it, to what has this `fingerprint`. `request`: its id or its number.

    A no of an owner or of an admin of the place ends it, too, although they are no approvers. Raises ServiceError.
    """
    check_remark("comment", comment)
    needed = await needs_of(store, request) if word is Word.YES else None
    async with begin(store, actor, reason or comment) as change:
        found = refreshed(change.whole, await find_request(change, request))
        if word is Word.NO and change.who.user_id is None:
            after = _dismissed(change, found, comment)
        else:
            after = _decided(
                change, found, Decision(person_of(change.whole, acting(change)), word, change.now, fingerprint, comment=comment)
            )
        if after.state in GIVEN:
            await _check_room(change, after)
            after = stage_given(change, after, needed)
        elif after.state is State.DENIED:
            stage_ended(change, after)
        else:
            _stage_heard(change, found, after)
        return replace(after, version=await change.commit())


async def approve_on_call(
    store: RequestStore, *, request_id: str, schedule: str, actor: str = "system", reason: str = ""
) -> AccessRequest:
    """The schedule says that who asked is on call now: approved by the rule, if the request still waits and the policy has it.

    Else the request as it is. Raises ServiceError for a request that is not there.
    """
    needed = await needs_of(store, request_id)
    async with begin(store, actor, reason) as change:
        change.require("requests.on-call")
        found = await change.access_request(request_id)
        if found is None:
            raise unknown_request(request_id)
        found = requests.as_of(found, change.now)
        own = found.requester.user_id == found.holder.user_id
        if found.state is not State.PENDING or found.policy.on_call != schedule or not own:
            return found
        policy = next((each for each in change.whole.approval_policies.values() if each.id == found.policy.id), None)
        if policy is None or policy.on_call != schedule:
            return found  # an admin has switched it off since
        earlier = await change.access_requests(RequestFilter(holder_id=found.holder.user_id, limit=1000))
        about = Circumstances(on_call=True, before_seconds=by_rules_alone_seconds(found, earlier, change.now))
        only = replace(policy, rules=tuple(each for each in policy.rules if each.kind is RuleKind.ON_CALL))
        if automatic(only, found.wanted, about, change.now) is None:
            return found
        check_span(found, earlier, change.now)
        given = requests.approve_by_rule(found, RuleKind.ON_CALL.value, change.now)
        if isinstance(given, Refused):
            raise refuse(given)
        after = stage_given(change, given, needed, rule=RuleKind.ON_CALL.value)
        return replace(after, version=await change.commit())


async def needs_of(store: RequestStore, key: str | int) -> Needed | None:
    """What the statements of a request need now; None: it is for none, or its target is gone. Raises ServiceError."""
    found = await store.access_request(key)
    if found is None or not isinstance(found.wanted.right, StatementsWanted):
        return None
    snapshot = await store.read()
    target = next((each for each in snapshot.targets.values() if each.id == found.wanted.target_id), None)
    right = found.wanted.right
    return None if target is None else await needed_by(right.texts, right.scope, target)


def _decided(change: Change, request: AccessRequest, decision: Decision) -> AccessRequest:
    user = acting(change)
    change.require("requests.decide", user_id=user.id)
    check_own_hand(change, user)
    decision = replace(decision, name=user.name)
    after = requests.decide(request, decision, change.now, standing(change.whole, request, change.now))
    if isinstance(after, AccessRequest) and user.id not in approvers_now(change.whole, request, change.now):
        after = _NOT_AN_APPROVER
    if (
        isinstance(after, Refused)
        and after.rule == _NOT_AN_APPROVER.rule
        and _may_dismiss(change, request, decision.word, user)
    ):
        return _dismissed(change, request, decision.comment)
    if isinstance(after, Refused):
        raise refuse(after)
    return after


def _may_dismiss(change: Change, request: AccessRequest, word: Word, user: User) -> bool:
    may = change.who.may("requests.revoke", environment_id=request.policy.environment_id)
    return word is Word.NO and may and not involves(request, user.id)


def _dismissed(change: Change, request: AccessRequest, comment: str) -> AccessRequest:
    place = request.policy.environment_id
    change.require_in("requests.revoke", place)
    after = requests.dismiss(request, comment, change.now)
    if isinstance(after, Refused):
        raise refuse(after)
    return after


async def _check_room(change: Change, given: AccessRequest) -> None:
    """Raises ServiceError when what was given meanwhile makes it too long."""
    earlier = await change.access_requests(RequestFilter(holder_id=given.holder.user_id, limit=1000))
    check_span(given, earlier, change.now)


def _stage_heard(change: Change, before: AccessRequest, after: AccessRequest) -> None:
    """A yes that is not the last one. Where another step begins, those whose turn it is are told."""
    change.carries_out(after)
    said = after.decisions[-1]
    detail = about_detail(after) | {"word": said.word.value, "step": said.step + 1, "comment": said.comment}
    change.note("access_request.decided", after.id, request_name(after), detail)
    if after.step != before.step:
        stage_messages(change, after, Topic.ESCALATED)
