"""One transition of an access request, staged whole: the request, the end of its grants, audit events and messages.

The right to decide was asked for before; what follows from it takes no other. Everything here is one transaction's.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Final

from gateway.access.asking import ModeWanted, RoleWanted, StatementsWanted
from gateway.access.model import Grant
from gateway.access.request_record import AccessRequest, State
from gateway.access.requests import Refused
from gateway.audit.admin_event import DetailValue
from gateway.ports import GrantEnding
from gateway.services.errors import ServiceError
from gateway.services.request_messages import TOPIC_OF, Topic, messages_of

if TYPE_CHECKING:
    from gateway.services.change import Change

_ENDED_WORDS: Final = {
    State.EXPIRED: "has expired",
    State.RELINQUISHED: "was given back",
    State.REVOKED: "was revoked",
    State.ERRORED: "could not be carried out",
}


def request_name(request: AccessRequest) -> str:
    """What the audit and people call it."""
    return f"request {request.number}"


def refuse(refused: Refused) -> ServiceError:
    return ServiceError(refused.rule, refused.message, refused.hint)


def stage_created(change: "Change", request: AccessRequest) -> None:
    """A request that is new. Who is to be told of it depends on what comes next."""
    change.carries_out(request)
    change.note("access_request.created", request.id, request_name(request), {**about_detail(request), **_asked(request)})


def stage_ended(change: "Change", request: AccessRequest, *, by: str | None = None) -> None:
    """A request that ended just now, with its grants; their sessions read why."""
    change.carries_out(request)
    detail = about_detail(request) | {"because": request.ended_because}
    change.note(f"access_request.{request.state.value}", request.id, request_name(request), detail, by=by)
    text = ending_text(request, by or change.actor)
    targets = {target.id: target.name for target in change.whole.targets.values()}
    gone = {row.id for row in change.gone if isinstance(row, Grant)}
    for grant in held_by(change, request):
        if grant.id not in gone:
            change.takes_back(grant)
            if request.state is not State.EXPIRED:
                name = f"{request.names.holder} on {targets.get(grant.target_id, request.names.place)}"
                change.note("grant.revoked", grant.id, name, {"request": request.number}, by=by)
        change.carries_out(GrantEnding(grant.id, text))
    stage_messages(change, request, TOPIC_OF[request.state])
    if request.awaits_review:
        stage_messages(change, request, Topic.REVIEW_DUE)


def stage_messages(change: "Change", request: AccessRequest, topic: Topic) -> None:
    for message in messages_of(change.whole, request, topic, change.now):
        change.carries_out(message)


def held_by(change: "Change", request: AccessRequest) -> list[Grant]:
    """The grants that the request led to, as far as they are there."""
    held = change.whole.grants.get(request.holder.user_id, ())
    return [grant for grant in held if grant.request_id == request.id]


def ending_text(request: AccessRequest, by: str) -> str:
    """As the sessions that stood on it read it: "request 17 was revoked by ana: reason"."""
    words = _ENDED_WORDS.get(request.state, f"is {request.state.value}")
    who = f" by {by.partition(':')[2]}" if request.state is State.REVOKED and by.startswith("user:") else ""
    why = f": {request.ended_because}" if request.ended_because and request.state in (State.REVOKED, State.ERRORED) else ""
    return f"{request_name(request)} {words}{who}{why}"


def about_detail(request: AccessRequest) -> dict[str, DetailValue]:
    """For the audit: who, for whom, where, what. Statements by their number: their texts are in the request."""
    wanted = request.wanted
    detail: dict[str, DetailValue] = {
        "requester": request.names.requester,
        "holder": request.names.holder,
        "target" if wanted.target_id is not None else "environment": request.names.place,
        "mode": wanted.mode.value,
        "duration_seconds": wanted.duration_seconds,
        "policy": request.policy.name,
    }
    match wanted.right:
        case RoleWanted(database_role):
            detail["database_role"] = database_role
        case StatementsWanted(texts, scope):
            detail |= {"statements": len(texts), "scope": scope.value}
        case ModeWanted():
            pass
    if wanted.ticket is not None:
        detail["ticket"] = wanted.ticket
    return detail


def _asked(request: AccessRequest) -> dict[str, DetailValue]:
    return {"decide_by": shown_at(request.decide_by), "fingerprint": request.wanted.fingerprint}


def shown_at(instant: datetime | None) -> str | None:
    """As details have it: ISO 8601."""
    return None if instant is None else instant.isoformat()
