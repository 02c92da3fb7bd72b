"""What hangs on accounts, targets, environments and policies ends with them: requests that are open, and the rights they led to.

Asked by every commit, so that no verb can forget it. A new account or target under an old name inherits nothing.
"""

from typing import TYPE_CHECKING

from gateway.access.approvals import ApprovalPolicy
from gateway.access.model import Environment, Grant, Target, User
from gateway.access.request_record import GIVEN, AccessRequest, State
from gateway.access.requests import as_of, fail, revoke
from gateway.ports import RequestFilter
from gateway.services.request_change import stage_ended

if TYPE_CHECKING:
    from gateway.services.change import Change


async def end_with_rows(change: "Change") -> None:
    """Before a commit: what hangs on accounts, targets and environments that go, or on a grant that is revoked, ends with them."""
    changed = {row.id for row in change.staged if isinstance(row, AccessRequest)}
    for request, why in await _hanging(change):
        if request.id not in changed:
            changed.add(request.id)
            _end(change, as_of(request, change.now), why)


def _end(change: "Change", request: AccessRequest, why: str) -> None:
    match request.state:
        case State.PENDING:
            ended = fail(request, why, change.now)
        case State.APPROVED | State.ACTIVE:
            ended = revoke(request, why, change.now)
        case _:
            return  # it is over, and the sweeper writes it down
    if isinstance(ended, AccessRequest):
        stage_ended(change, ended)


async def _hanging(change: "Change") -> list[tuple[AccessRequest, str]]:
    """Open requests, each with the reason for which it ends."""
    open_ = frozenset({State.PENDING}) | GIVEN
    found: list[tuple[AccessRequest, str]] = []
    for row in change.gone:
        match row:
            case User():
                of = await change.access_requests(RequestFilter(states=open_, person_id=row.id))
                gone = [each for each in of if each.state is State.PENDING or each.holder.user_id == row.id]
                found += [(each, f'the account of "{row.name}" was deleted') for each in gone]
            case Target():
                of = await change.access_requests(RequestFilter(states=open_, target_id=row.id))
                found += [(each, f'target "{row.name}" was deleted') for each in of]
            case Environment():
                of = await change.access_requests(RequestFilter(states=open_, environments=frozenset({row.id})))
                gone = [each for each in of if each.state is State.PENDING]
                found += [(each, f'environment "{row.name}" was deleted') for each in gone]
            case ApprovalPolicy():
                pending = frozenset({State.PENDING})
                of = await change.access_requests(RequestFilter(pending, environments=frozenset({row.environment_id})))
                found += [(each, f'approval policy "{row.name}" was deleted') for each in of if each.policy.id == row.id]
            case Grant(request_id=str() as request_id):
                one = await change.access_request(request_id)
                found += [] if one is None else [(one, change.reason)]
    return found
