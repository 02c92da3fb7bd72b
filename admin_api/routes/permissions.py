"""/v1/permissions: who may do what as an admin, and why."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Look, Looking, told
from admin_api.models.fields import Instant
from admin_api.models.permissions import (
    AccessReport,
    ReasonsRecord,
    RightsRecord,
    VerbList,
    reach_record,
    reasons_record,
    rights_record,
    verb_list,
)
from gateway.access.permissions import all_verbs
from gateway.services.access_report import report
from gateway.services.rights_shown import rights_of, why

router = APIRouter(prefix="/permissions", tags=["permissions"])


@router.get("/verbs", response_model=VerbList)
async def list_verbs(_call: Looking) -> Response:
    """List every verb with the permissions that allow it."""
    return told(verb_list(list(all_verbs().values())))


@router.get("/report", response_model=AccessReport)
async def show_report(
    call: Looking,
    since: Annotated[Instant | None, Query(description="Only what was open after this instant.")] = None,
    until: Annotated[Instant | None, Query(description="Only what was open before this instant.")] = None,
) -> Response:
    """Say who could reach what, when, by which grant: those that there are, and of the past those in the record of changes."""
    call.require("permissions.report")
    events = await call.context.store.read_events()
    found = report(call.whole, events, since=since, until=until, now=call.now)
    return told(AccessReport(items=[reach_record(each) for each in found]))


@router.get("/users/{user}", response_model=RightsRecord)
async def show_rights(call: Looking, user: str) -> Response:
    """Say what somebody may do in each environment: explicitly or implied, by which admin role."""
    _check(call, user)
    return told(rights_record(rights_of(call.whole, user, call.now)))


@router.get("/users/{user}/why/{verb}", response_model=ReasonsRecord)
async def explain_verb(
    call: Looking,
    user: str,
    verb: str,
    target: Annotated[str | None, Query(description="On this target.")] = None,
    environment: Annotated[str | None, Query(description="In this environment.")] = None,
) -> Response:
    """Say whether somebody may do this there, by which admin role, or which permission it takes and who can give it."""
    _check(call, user)
    whole = call.whole if call.actor.owner else call.snapshot
    return told(reasons_record(why(whole, user, verb, target=target, environment=environment, now=call.now)))


def _check(call: Look, name: str) -> None:
    """Everybody may see what they may themselves; of others, owners."""
    known = call.whole.users.get(name)
    if known is None or known.id != call.actor.user_id:
        call.require("permissions.others")
