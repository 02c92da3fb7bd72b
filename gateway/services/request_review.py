"""What those who decide look at: what is asked and why, the person's history, and what it would open that is not open now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from gateway.access import requests
from gateway.access.approvals import AutomaticRule
from gateway.access.asking import RoleWanted
from gateway.access.authorize import reachable
from gateway.access.extension import chained, is_like, span_of, wanted_span
from gateway.access.model import Denial, Snapshot, Target, User
from gateway.access.request_record import AccessRequest, State
from gateway.access.requested import Operation
from gateway.access_mode import AccessMode
from gateway.ports import RequestFilter
from gateway.services.actor import resolve_actor
from gateway.services.errors import ServiceError
from gateway.services.request_deciding import needs_of
from gateway.services.request_people import RequestStore, may_see, unknown_request
from gateway.services.request_statements import Needed

if TYPE_CHECKING:
    from gateway.statements.asked import AskedStatement

_HISTORY: Final = 20


@dataclass(frozen=True, slots=True)
class Opened:
    """What it would open on one target. `now`: the widest access mode that the holder has there already; None: none.

    `is_new`: whether that is more than they have.
    """

    target: str
    mode: AccessMode
    now: AccessMode | None
    is_new: bool
    database_role: str | None = None


@dataclass(frozen=True, slots=True)
class Brief:
    """`history`: the holder's other requests, the newest first. `without_gap_seconds`: how long they would have the right, with
    what they have of it. `statements` and `operations`: of a request for statements; `obstacle`: why these cannot be carried out.
    """

    request: AccessRequest
    opened: tuple[Opened, ...]
    history: tuple[AccessRequest, ...]
    denied_before: int
    approved_before: int
    without_gap_seconds: int
    statements: "tuple[AskedStatement, ...]" = ()
    operations: tuple[Operation, ...] = ()
    obstacle: str = ""
    rules: tuple[AutomaticRule, ...] = ()


async def review_of(store: RequestStore, *, request: str | int, actor: str, now: datetime) -> Brief:
    """For whoever may see the request. Raises ServiceError: unknown and hidden look the same."""
    snapshot = await store.read()
    who = resolve_actor(actor, snapshot, now)
    found = await store.access_request(request)
    if found is None or not may_see(snapshot, who, found):
        raise unknown_request(request)
    found = requests.as_of(found, now)
    earlier = await store.access_requests(RequestFilter(holder_id=found.holder.user_id, limit=1000))
    others = [requests.as_of(each, now) for each in earlier if each.id != found.id and may_see(snapshot, who, each)]
    needed: Needed | None = None
    obstacle = ""
    try:
        needed = await needs_of(store, found.id)
    except ServiceError as error:
        obstacle = error.message
    return Brief(
        found,
        tuple(_opened(snapshot, found, now)),
        tuple(others[:_HISTORY]),
        denied_before=sum(each.state is State.DENIED for each in others),
        approved_before=sum(each.starts_at is not None for each in others),
        without_gap_seconds=_without_gap(found, earlier, now),
        statements=() if needed is None else needed.statements,
        operations=() if needed is None else tuple(sorted(needed.only.operations)),
        obstacle=obstacle,
        rules=found.policy.rules,
    )


def _without_gap(request: AccessRequest, earlier: Sequence[AccessRequest], now: datetime) -> int:
    like = [each for each in earlier if each.id != request.id and is_like(each, request.wanted, request.policy.environment_id)]
    span = span_of(request) or wanted_span(request.wanted, now)
    return int(chained(span, [found for each in like if (found := span_of(each)) is not None]).seconds)


def _opened(snapshot: Snapshot, request: AccessRequest, now: datetime) -> list[Opened]:
    holder = next((user for user in snapshot.users.values() if user.id == request.holder.user_id), None)
    if holder is None:
        return []
    wanted = request.wanted
    role = wanted.right.database_role if isinstance(wanted.right, RoleWanted) else None
    targets = [each for each in snapshot.targets.values() if _is_meant(request, each)]
    found = []
    for target in sorted(targets, key=lambda each: each.name):
        has = _has(snapshot, holder, target, now)
        narrower = has is None or (has is AccessMode.READ_ONLY and wanted.mode is AccessMode.READ_WRITE)
        found.append(Opened(target.name, wanted.mode, has, narrower or role is not None, role))
    return found


def _is_meant(request: AccessRequest, target: Target) -> bool:
    wanted = request.wanted
    if wanted.target_id is not None:
        return target.id == wanted.target_id
    return target.environment_id == wanted.environment_id


def _has(snapshot: Snapshot, holder: User, target: Target, now: datetime) -> AccessMode | None:
    for mode in (AccessMode.READ_WRITE, AccessMode.READ_ONLY):
        if not isinstance(reachable(snapshot, user=holder, target_name=target.name, mode=mode, now=now), Denial):
            return mode
    return None
