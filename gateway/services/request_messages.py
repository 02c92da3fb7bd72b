"""What is told of an access request, and to whom: messages for the outbox, staged in the transaction of what they tell of. Pure.

A message names facts, never a statement's text nor a secret: it leaves the gateway.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

from gateway.access.asking import RoleWanted, StatementsWanted
from gateway.access.electorate import approvers_now, reviewers
from gateway.access.model import Snapshot
from gateway.access.request_record import AccessRequest, State, Word
from gateway.access.webhooks import told
from gateway.ports import OutboxMessage

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_MOST_PEOPLE: Final = 50


class Topic(StrEnum):
    """What happened to a request. Destinations get it as `access_request.<topic>`."""

    CREATED = "created"
    ESCALATED = "escalated"
    APPROVED = "approved"
    ACTIVE = "active"
    DENIED = "denied"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    RELINQUISHED = "relinquished"
    REVOKED = "revoked"
    ERRORED = "errored"
    EXPIRING = "expiring"
    BREAK_GLASS = "break_glass"
    REVIEW_DUE = "review_due"
    ON_CALL = "on_call"

    @property
    def text(self) -> str:
        return f"access_request.{self.value}"


TOPIC_OF: Final = {
    State.ACTIVE: Topic.ACTIVE,
    State.DENIED: Topic.DENIED,
    State.CANCELLED: Topic.CANCELLED,
    State.EXPIRED: Topic.EXPIRED,
    State.RELINQUISHED: Topic.RELINQUISHED,
    State.REVOKED: Topic.REVOKED,
    State.ERRORED: Topic.ERRORED,
}


def messages_of(
    snapshot: Snapshot, request: AccessRequest, topic: Topic, now: datetime, *, only_to: Iterable[str] | None = None
) -> list[OutboxMessage]:
    """One for each destination. `snapshot`: who is who now. `only_to`: these destinations, and no others."""
    payload = json.dumps(_payload(snapshot, request, topic, now), ensure_ascii=False, sort_keys=True)
    if only_to is None:
        to = _destinations(snapshot, request, topic, now)
        only_to = told(snapshot.webhooks.values(), to, topic.text, request.policy.environment_id)
    return [
        OutboxMessage(str(uuid.uuid4()), topic.text, destination, payload, now, now, request.id)
        for destination in dict.fromkeys(only_to)
    ]


def _destinations(snapshot: Snapshot, request: AccessRequest, topic: Topic, now: datetime) -> list[str]:
    announced = list(request.policy.announce)
    own = [f"person:{each}" for each in sorted({request.requester.user_id, request.holder.user_id})]
    match topic:
        case Topic.CREATED | Topic.ESCALATED:
            return [*announced, *own, *_each(approvers_now(snapshot, request, now))]
        case Topic.BREAK_GLASS:
            return [*announced, *own, *_each(reviewers(snapshot, request, now))]
        case Topic.REVIEW_DUE:
            return [*announced, *_each(reviewers(snapshot, request, now))]
        case Topic.EXPIRING:
            return own
        case _:
            return [*announced, *own]


def _each(user_ids: frozenset[str]) -> list[str]:
    return [f"person:{each}" for each in sorted(user_ids)[:_MOST_PEOPLE]]


def _payload(snapshot: Snapshot, request: AccessRequest, topic: Topic, now: datetime) -> Json:
    names = {user.id: user.name for user in snapshot.users.values()}
    return {"type": topic.text, "at": _instant(now), "request": _facts(request, names, approvers_now(snapshot, request, now))}


def _facts(request: AccessRequest, names: Mapping[str, str], approvers: frozenset[str]) -> Json:
    wanted, right, review = request.wanted, request.wanted.right, request.review
    step = request.policy.steps[request.step]
    return {
        "id": request.id,
        "number": request.number,
        "state": request.state.value,
        "requester": request.names.requester,
        "holder": request.names.holder,
        "place": request.names.place,
        "kind": "target" if wanted.target_id is not None else "environment",
        "mode": wanted.mode.value,
        "database_role": right.database_role if isinstance(right, RoleWanted) else None,
        "statements": len(right.texts) if isinstance(right, StatementsWanted) else 0,
        "scope": right.scope.value if isinstance(right, StatementsWanted) else None,
        "reason": wanted.reason,
        "duration_seconds": wanted.duration_seconds,
        "wanted_from": _instant(wanted.starts_at),
        "asked_at": _instant(request.asked_at),
        "decide_by": _instant(request.decide_by),
        "starts_at": _instant(request.starts_at),
        "ends_at": _instant(request.ends_at),
        "ended_at": _instant(request.ended_at),
        "ended_because": request.ended_because,
        "ticket": wanted.ticket,
        "fingerprint": wanted.fingerprint,
        "policy": request.policy.name,
        "step": request.step + 1,
        "steps": len(request.policy.steps),
        "needed": step.needed,
        "said_yes": sum(each.step == request.step and each.word is Word.YES for each in request.decisions),
        "decisions": [
            {
                "by": None if each.rule is not None else each.name,
                "word": each.word.value,
                "at": _instant(each.at),
                "comment": each.comment,
                "rule": each.rule,
            }
            for each in request.decisions
        ],
        "break_glass": request.break_glass,
        "awaits_review": request.awaits_review,
        "review": None if review is None else {"by": review.name, "at": _instant(review.at), "comment": review.comment},
        "approvers": sorted(names[each] for each in approvers if each in names),
    }


def _instant(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
