"""Asking for access: what is asked is checked against the policy of the place, and answered at once where a rule or an emergency
says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gateway.access import requests
from gateway.access.approvals import ApprovalPolicy, Circumstances, RuleKind, automatic
from gateway.access.asking import ModeWanted, Right, RoleWanted, StatementsWanted, Wanted
from gateway.access.electorate import electorate, is_living, person_of, policy_for
from gateway.access.model import Target, User
from gateway.access.request_record import AccessRequest, Names, State
from gateway.access.requests import Asking, Refused
from gateway.access_mode import AccessMode
from gateway.durations import write_duration
from gateway.ports import RequestFilter, Store
from gateway.services.change import Change, begin, new_id
from gateway.services.errors import ServiceError
from gateway.services.naming import check_remark
from gateway.services.request_change import refuse, stage_created, stage_ended, stage_messages
from gateway.services.request_giving import role_obstacle, stage_given
from gateway.services.request_messages import Topic, messages_of
from gateway.services.request_people import acting
from gateway.services.request_spans import approved_before_at, by_rules_alone_seconds, check_span
from gateway.services.request_statements import Needed, needed_by

SHORTEST_SECONDS: Final = 60
_MOST_PENDING: Final = 20
_LONGEST_WAIT: Final = timedelta(days=366)
_MAX_TICKET: Final = 200
_IDENTIFIER_BYTES: Final = 63


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks for, with the names that people know. Exactly one of `target_name` and `environment_name` is given.

    `right`: of statements the mode is worked out, whatever stands there. `for_user`: whom it is for; None: whoever asks.
    `duration_seconds`: None: as the policy says. `starts_at`: None: as soon as it is approved. `break_glass`: an emergency: the
    right is taken now, everybody is told, and somebody else looks at it afterwards.
    """

    right: Right
    target_name: str | None = None
    environment_name: str | None = None
    for_user: str | None = None
    duration_seconds: int | None = None
    reason: str = ""
    starts_at: datetime | None = None
    ticket: str | None = None
    break_glass: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    environment_id: str
    name: str
    target: Target | None


async def create_request(store: Store, *, asked: Asked, actor: str, reason: str = "") -> AccessRequest:
    """Ask; the request as it is then: pending, or given at once by a rule or in an emergency.

    The very same that waits for an answer already is not asked twice: it is given back. What cannot be asked for looks as what is
    not there. Raises ServiceError.
    """
    _check(asked)
    needed = await _needed(store, asked)
    async with begin(store, actor, reason or asked.reason) as change:
        requester = acting(change)
        change.require("requests.create", user_id=requester.id)
        holder = _holder(change, asked, requester)
        request = _new(change, asked, needed, requester, holder)
        pending = await change.access_requests(RequestFilter(frozenset({State.PENDING}), requester_id=requester.id))
        pending = [each for each in pending if requests.as_of(each, change.now).state is State.PENDING]
        same = [each for each in pending if each.wanted.likeness == request.wanted.likeness]
        if not asked.break_glass:
            for each in same:
                return _again(each, request)
            if len(pending) >= _MOST_PENDING:
                text = f"{len(pending)} of your requests wait for an answer"
                raise ServiceError("too-many-requests", text, "Cancel those that you need no more: pgbastion request list")
        earlier = await change.access_requests(RequestFilter(holder_id=holder.id, limit=1000))
        request = replace(request, number=await change.next_request_number())
        if not asked.break_glass:
            found = _answered(change, request, needed, earlier)
        else:
            found = _taken(change, request, needed, same, earlier)
        return replace(found, version=await change.commit())


def _again(there: AccessRequest, wanted: AccessRequest) -> AccessRequest:
    if there.wanted.fingerprint == wanted.wanted.fingerprint:
        return there
    raise ServiceError(
        "request-exists",
        f"request {there.number} for the same waits for an answer already",
        f"Wait, or take it back first: pgbastion request cancel {there.number}",
    )


async def _needed(store: Store, asked: Asked) -> Needed | None:
    """What the statements need; None: no statements are asked for, or nothing can be asked for there. Raises ServiceError."""
    if not isinstance(asked.right, StatementsWanted):
        return None
    snapshot = await store.read()
    target = snapshot.targets.get(asked.target_name or "")
    if target is None or all(each.environment_id != target.environment_id for each in snapshot.approval_policies.values()):
        return None
    return await needed_by(asked.right.texts, asked.right.scope, target)


def _answered(change: Change, request: AccessRequest, needed: Needed | None, earlier: Sequence[AccessRequest]) -> AccessRequest:
    """The request, pending or approved by a rule, staged."""
    check_span(request, earlier, change.now)
    policy, wanted = request.policy, request.wanted
    about = Circumstances(
        approved_before_at(request, earlier), before_seconds=by_rules_alone_seconds(request, earlier, change.now)
    )
    rule = automatic(policy, wanted, about, change.now)
    if rule is None:
        stage_created(change, request)
        stage_messages(change, request, Topic.CREATED)
        _ask_who_is_on_call(change, request)
        return request
    given = requests.approve_by_rule(request, rule.kind.value, change.now)
    if isinstance(given, Refused):
        raise refuse(given)
    stage_created(change, request)
    return stage_given(change, given, needed, rule=rule.kind.value)


def _taken(
    change: Change,
    request: AccessRequest,
    needed: Needed | None,
    pending: Sequence[AccessRequest],
    earlier: Sequence[AccessRequest],
) -> AccessRequest:
    """The right taken in an emergency, staged; what waited for an answer is taken back."""
    given = requests.break_glass(request, change.now)
    if isinstance(given, Refused):
        raise refuse(given)
    check_span(given, earlier, change.now)
    stage_created(change, request)
    given = stage_given(change, given, needed)
    for each in pending:
        ended = requests.cancel(each, change.now, f"taken in an emergency as request {request.number}")
        if isinstance(ended, AccessRequest):
            stage_ended(change, ended)
    return given


def _ask_who_is_on_call(change: Change, request: AccessRequest) -> None:
    """The answer comes as `approve_on_call`."""
    policy, wanted = request.policy, request.wanted
    rules = [rule for rule in policy.rules if rule.kind is RuleKind.ON_CALL and wanted.duration_seconds <= rule.within_seconds]
    own_and_now = request.requester.user_id == request.holder.user_id and wanted.starts_at is None
    if policy.on_call is not None and rules and own_and_now:
        for message in messages_of(change.whole, request, Topic.ON_CALL, change.now, only_to=[f"on-call:{policy.on_call}"]):
            change.carries_out(message)


def _new(change: Change, asked: Asked, needed: Needed | None, requester: User, holder: User) -> AccessRequest:
    """Not stored yet, and without a number. Raises ServiceError."""
    snapshot, now = change.whole, change.now
    place = _place(change, asked)
    right = _right(asked.right, place, needed)
    policy = policy_for(snapshot, place.environment_id, right.mode)
    if policy is None or not _is_open(right, place, policy):
        raise _not_askable(place.name, right.mode)
    if holder.read_only and right.mode is AccessMode.READ_WRITE:
        raise ServiceError("user-read-only", f'user "{holder.name}" may only read, whatever is approved', "Ask to read.")
    if asked.starts_at is not None and not now < asked.starts_at <= now + _LONGEST_WAIT:
        raise ServiceError("starts-at-invalid", "a right begins in the future, within a year", "Leave it out: at once.")
    wanted = Wanted(
        holder_id=holder.id,
        right=right,
        duration_seconds=asked.duration_seconds or policy.default_seconds,
        reason=asked.reason.strip(),
        target_id=None if place.target is None else place.target.id,
        environment_id=place.environment_id if place.target is None else None,
        starts_at=asked.starts_at,
        ticket=None if asked.ticket is None else asked.ticket.strip() or None,
    )
    people = Asking(person_of(snapshot, requester), person_of(snapshot, holder))
    found = requests.ask(new_id(), people, wanted, policy, electorate(snapshot, policy, now), now)
    if isinstance(found, Refused):
        raise refuse(found)
    return replace(found, names=Names(requester.name, holder.name, place.name))


def _holder(change: Change, asked: Asked, requester: User) -> User:
    holder = requester if asked.for_user is None else change.whole.users.get(asked.for_user)
    if holder is None or not is_living(change.whole, holder, change.now):
        raise ServiceError("user-unknown", f'there is no user "{asked.for_user}"')
    return holder


def _place(change: Change, asked: Asked) -> _Place:
    if asked.target_name is not None:
        target = change.whole.targets.get(asked.target_name)
        if target is None:
            raise _not_askable(asked.target_name, asked.right.mode)
        return _Place(target.environment_id, target.name, target)
    environment = change.whole.environments.get(asked.environment_name or "")
    if environment is None:
        raise _not_askable(asked.environment_name or "", asked.right.mode)
    return _Place(environment.id, environment.name, None)


def _right(right: Right, place: _Place, needed: Needed | None) -> Right:
    if isinstance(right, ModeWanted):
        return right
    if place.target is None:
        text = "statements and database roles are asked for on one target, not on an environment"
        raise ServiceError("target-missing", text, "Name the target.")
    if isinstance(right, RoleWanted):
        return right
    if needed is None:
        raise _not_askable(place.name, right.mode)
    if not needed.fits(right, place.target):
        raise ServiceError("changed-meanwhile", f'target "{place.name}" was changed meanwhile', "Try again.")
    return replace(right, mode=needed.mode)


def _is_open(right: Right, place: _Place, policy: ApprovalPolicy) -> bool:
    if not isinstance(right, RoleWanted) or place.target is None:
        return not isinstance(right, RoleWanted)
    return role_obstacle(place.target, right, policy.database_roles) is None


def _not_askable(name: str, mode: AccessMode) -> ServiceError:
    """One text for what is not there, and for what nobody opened."""
    text = f'{mode} access to "{name}" cannot be asked for'
    return ServiceError("not-askable", text, "See what can be: pgbastion request targets")


def _check(asked: Asked) -> None:
    if (asked.target_name is None) == (asked.environment_name is None):
        raise ServiceError("place-missing", "a request is for one target or one environment", "Name one of the two.")
    if asked.duration_seconds is not None and asked.duration_seconds < SHORTEST_SECONDS:
        raise ServiceError(
            "request-too-short", f"a right is given for {write_duration(SHORTEST_SECONDS)} at least", "Ask for more."
        )
    check_remark("reason", asked.reason)
    ticket = asked.ticket or ""
    if len(ticket) > _MAX_TICKET or not ticket.isprintable():
        raise ServiceError("ticket-invalid", f"a ticket's reference is one line of at most {_MAX_TICKET} characters")
    if asked.starts_at is not None and asked.starts_at.tzinfo is None:
        raise ServiceError("starts-at-invalid", "an instant needs a time zone", "As in 2030-01-31T18:00:00Z.")
    match asked.right:
        case RoleWanted(database_role) if not _is_identifier(database_role):
            raise ServiceError("database-role-invalid", "a database role's name has 1 to 63 bytes")
        case _:
            pass


def _is_identifier(name: str) -> bool:
    return 1 <= len(name.encode("utf-8", "replace")) <= _IDENTIFIER_BYTES and name.isprintable()
