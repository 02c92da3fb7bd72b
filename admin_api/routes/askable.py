"""/v1/askable: what one may ask for."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Looking
from admin_api.models.request_reviews import AskablePage, askable_record
from admin_api.paging import Paged
from gateway.services.access_requests import Askable
from gateway.services.access_requests import askable as find_askable

router = APIRouter(prefix="/askable", tags=["access requests"])


@router.get("", response_model=AskablePage)
async def list_askable(
    call: Looking, page: Paged, environment: Annotated[str | None, Query(description="Only in this environment.")] = None
) -> Response:
    """List what the caller may ask for: by place and access mode, with roles of databases, and for how long."""
    found = await find_askable(call.context.store, actor=call.caller.actor, now=call.now)
    wanted = [each for each in found if environment in (None, each.environment)]
    items, following = page.of(wanted, _key)
    return call.show_list(AskablePage(items=[askable_record(each) for each in items], next=following))


def _key(each: Askable) -> tuple[str, ...]:
    return (each.environment, each.target or "", each.mode.value)
