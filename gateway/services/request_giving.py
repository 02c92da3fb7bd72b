"""What an approved request leads to: grants, one for each target, for exactly what was asked, and for as long."""

import uuid
from typing import Final

from gateway.access.asking import ModeWanted, RoleWanted, StatementsWanted
from gateway.access.managed import ManagedMode
from gateway.access.model import Grant, Snapshot, Target
from gateway.access.request_record import AccessRequest, Word
from gateway.access.requested import Backer, Only
from gateway.access.requests import Refused, fail
from gateway.audit.admin_event import DetailValue
from gateway.services.change import Change
from gateway.services.errors import ServiceError
from gateway.services.naming import SYSTEM
from gateway.services.request_change import (
    about_detail,
    refuse,
    request_name,
    shown_at,
    stage_ended,
    stage_messages,
)
from gateway.services.request_messages import Topic
from gateway.services.request_statements import Needed

_MOST_TARGETS: Final = 1000


def stage_given(change: "Change", request: AccessRequest, needed: Needed | None, *, rule: str | None = None) -> AccessRequest:
    """A request that was approved, or taken in an emergency, just now: with its grants. What cannot be carried out is errored.

    `needed`: what its statements need, if it is for statements. `rule`: which one approved it; None: people did.
    """
    grants = grants_of(change.whole, request, needed)
    if isinstance(grants, str):
        failed = fail(request, grants, change.now)
        if isinstance(failed, Refused):
            raise refuse(failed)
        stage_ended(change, failed)
        return failed
    change.carries_out(request)
    action = "break_glass" if request.break_glass else "approved"
    detail = {**about_detail(request), "starts_at": shown_at(request.starts_at), "ends_at": shown_at(request.ends_at)}
    by = None if rule is None else SYSTEM
    detail |= {"rule": rule} if rule is not None else {"approvers": tuple(sorted(each.name for each in request.decisions))}
    detail["fingerprint"] = request.wanted.fingerprint
    change.note(f"access_request.{action}", request.id, request_name(request), detail, by=by)
    for grant, target in grants:
        change.carries_out(grant)
        name = f"{request.names.holder} on {target.name}"
        change.note("grant.created", grant.id, name, _grant_detail(request, grant, target), by=by)
    stage_messages(change, request, Topic.BREAK_GLASS if request.break_glass else Topic.APPROVED)
    return request


def grants_of(snapshot: Snapshot, request: AccessRequest, needed: Needed | None) -> list[tuple[Grant, Target]] | str:
    """New ones, each with its target; or why the request cannot be carried out any more.

    `needed`: what its statements need, if it is for statements. Raises ServiceError when that is not what they need any more.
    """
    if all(user.id != request.holder.user_id for user in snapshot.users.values()):
        return "its holder's account is gone"
    targets = _targets(snapshot, request)
    if isinstance(targets, str):
        return targets
    found = []
    for target in targets:
        grant = _grant(request, target, needed)
        if isinstance(grant, str):
            return grant
        found.append((grant, target))
    return found


def role_obstacle(target: Target, right: RoleWanted, listed: frozenset[str]) -> str | None:
    """Why nobody can be made a member of this database role there; None: one can. `listed`: those that the policy opens."""
    if target.managed is ManagedMode.OFF:
        return f'people have no database roles of their own on target "{target.name}"'
    return None if right.database_role in listed else f'the database role "{right.database_role}" is not open to requests'


def _targets(snapshot: Snapshot, request: AccessRequest) -> list[Target] | str:
    wanted, place = request.wanted, request.policy.environment_id
    here = [each for each in snapshot.targets.values() if each.environment_id == place]
    if wanted.target_id is None:
        targets = sorted(here, key=lambda each: each.name)
        if not targets:
            return "there is no target in its environment"
        return targets if len(targets) <= _MOST_TARGETS else f"its environment holds more than {_MOST_TARGETS} targets"
    found = [each for each in here if each.id == wanted.target_id]
    return found or "its target is gone, or in another environment"


def _grant(request: AccessRequest, target: Target, needed: Needed | None) -> Grant | str:
    wanted = request.wanted
    only: Only | None = None
    database_role: str | None = None
    match wanted.right:
        case RoleWanted() as right:
            database_role = right.database_role
            if (obstacle := role_obstacle(target, right, request.policy.database_roles)) is not None:
                return obstacle
        case StatementsWanted(mode=mode) as right:
            if needed is None or not needed.fits(right, target):
                text = "what these statements need was changed meanwhile"
                raise ServiceError("changed-meanwhile", text, "Look at the request again, then decide anew.")
            if needed.mode is not mode:
                return "its statements need another access mode by now"
            only = needed.only
        case ModeWanted():
            pass
    return Grant(
        id=str(uuid.uuid4()),
        holder_id=request.holder.user_id,
        target_id=target.id,
        mode=wanted.mode,
        valid_until=request.ends_at,
        valid_from=request.starts_at,
        request_id=request.id,
        request_number=request.number,
        backers=_backers(request),
        only=only,
        database_role=database_role,
    )


def _backers(request: AccessRequest) -> tuple[Backer, ...]:
    if not request.policy.bound_to_approvers:
        return ()
    yes = [each for each in request.decisions if each.word is Word.YES and each.rule is None]
    steps = request.policy.steps
    return tuple(sorted({Backer(each.person.user_id, tuple(sorted(steps[each.step].all))) for each in yes}))


def _grant_detail(request: AccessRequest, grant: Grant, target: Target) -> dict[str, DetailValue]:
    """As that of a grant which somebody made, and the request's number."""
    detail: dict[str, DetailValue] = {
        "user": request.names.holder,
        "target": target.name,
        "mode": grant.mode.value,
        "valid_from": shown_at(grant.valid_from),
        "valid_until": shown_at(grant.valid_until),
        "request": request.number,
    }
    return detail | ({"self": True} if request.break_glass else {})
