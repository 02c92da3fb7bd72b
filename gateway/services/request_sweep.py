"""What time makes of access requests, written down: with its audit events and messages. Rights end without it, by their grants.

A look says what is due, and when the next thing will be. Each thing is a transaction of its own that looks once more, so that any
number of gateways may sweep one store: whoever comes second finds nothing to do.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gateway.access import requests
from gateway.access.electorate import still_backs
from gateway.access.model import Snapshot
from gateway.access.request_record import GIVEN, AccessRequest, State
from gateway.ports import RequestFilter
from gateway.services.change import Change, begin
from gateway.services.errors import ServiceError
from gateway.services.naming import SYSTEM
from gateway.services.request_change import about_detail, request_name, stage_ended, stage_messages
from gateway.services.request_messages import Topic
from gateway.services.request_people import RequestStore

_OPEN: Final = frozenset({State.PENDING}) | GIVEN
_NOTICE: Final = timedelta(minutes=10)
_NOTICE_PART: Final = 5  # of a short right: its last fifth
_AGAIN: Final = timedelta(seconds=1)  # what another was faster with, or what the store's clock does not see yet


@dataclass(frozen=True, slots=True)
class Swept:
    """`numbers`: of the requests that changed. `next_at`: when there is something to do by the clock alone; None: never."""

    numbers: tuple[int, ...]
    next_at: datetime | None


async def sweep_requests(store: RequestStore, *, now: Callable[[], datetime]) -> Swept:
    """Write down what is due: what began, ended, or waits for more people; that an end is near. Raises what the store raises, and
    what is wrong with a request, once all others are done.
    """
    found = await store.access_requests(RequestFilter(states=_OPEN))
    if not found:
        return Swept((), None)
    snapshot, at = await store.read(), now()
    changed: list[int] = []
    later: list[datetime] = []
    broken: list[Exception] = []
    for each in found:
        due = _due_at(snapshot, each, at)
        if due is not None and due <= at:
            try:
                if await _write_down(store, each.id):
                    changed.append(each.number)
            except (ServiceError, ValueError, LookupError, TypeError) as error:
                broken.append(error)  # one request that cannot be written down holds up no other
            due = now() if each.number in changed else at + _AGAIN
        if due is not None:
            later.append(due)
    if broken:
        raise broken[0]
    return Swept(tuple(changed), min(later, default=None))


async def _write_down(store: RequestStore, request_id: str) -> bool:
    async with begin(store, SYSTEM, "") as change:
        present = await change.access_request(request_id)
        if present is None or not _sweep(change, present):
            return False
        await change.commit()
        return True


def _due_at(snapshot: Snapshot, request: AccessRequest, now: datetime) -> datetime | None:
    """When there is something to write down of it, without anybody's doing; None: never."""
    if request.state is State.PENDING:
        return min(request.decide_by, _escalates_at(request) or request.decide_by)
    if request.state not in GIVEN or request.starts_at is None or request.ends_at is None:
        return None
    if _lost_backer(snapshot, request, now) is not None:
        return now
    if request.state is State.APPROVED:
        return request.starts_at
    return _notice_at(request) or request.ends_at


def _sweep(change: Change, request: AccessRequest) -> bool:
    """Stage what is due of it now. False: nothing is."""
    now = change.now
    after = requests.as_of(request, now)
    if request.state not in _OPEN:
        return False
    if after.state is State.EXPIRED:
        stage_ended(change, after, by=SYSTEM)
        return True
    lost = _lost_backer(change.whole, after, now)
    revoked = None if lost is None else requests.revoke(after, f"{lost}, who approved it, may not approve any more", now)
    if isinstance(revoked, AccessRequest):
        stage_ended(change, revoked, by=SYSTEM)
        return True
    topics = [Topic.ACTIVE] if after.state is not request.state else []
    escalates_at, notice_at = _escalates_at(after), _notice_at(after)
    if escalates_at is not None and now >= escalates_at:
        after = replace(after, escalated_step=after.step)
        topics.append(Topic.ESCALATED)
    if notice_at is not None and now >= notice_at:
        after = replace(after, told_expiring=True)
        topics.append(Topic.EXPIRING)
    if topics:
        change.carries_out(after)
    for topic in topics:
        change.note(topic.text, after.id, request_name(after), about_detail(after))
        stage_messages(change, after, topic)
    return bool(topics)


def _escalates_at(request: AccessRequest) -> datetime | None:
    """When more people may decide, and are to be told; None: never, or they were."""
    step = request.policy.steps[request.step]
    told = request.state is not State.PENDING or request.escalated_step >= request.step
    if told or not step.escalation or step.escalates_after_seconds is None:
        return None
    return request.step_since + timedelta(seconds=step.escalates_after_seconds)


def _notice_at(request: AccessRequest) -> datetime | None:
    """When it is to be said that the end is near; None: not of this one, or it was said."""
    if request.state is not State.ACTIVE or request.told_expiring or request.starts_at is None or request.ends_at is None:
        return None
    return request.ends_at - min(_NOTICE, (request.ends_at - request.starts_at) / _NOTICE_PART)


def _lost_backer(snapshot: Snapshot, request: AccessRequest, now: datetime) -> str | None:
    """The name of somebody on whose right to approve it stands and who has lost that; None: there is none."""
    if request.state not in GIVEN or not request.policy.bound_to_approvers:
        return None
    for grant in snapshot.grants.get(request.holder.user_id, ()):
        for backer in grant.backers if grant.request_id == request.id else ():
            if not still_backs(snapshot, backer, now):
                decided = {each.person.user_id: each.name for each in request.decisions}
                return decided.get(backer.user_id, "somebody")
    return None
