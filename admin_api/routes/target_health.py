"""/v1/target-health: how targets answered sessions lately."""

from fastapi import APIRouter
from starlette.responses import Response

from admin_api.calls import Looking
from admin_api.models.targets import HealthPage, health_record
from admin_api.paging import Paged

router = APIRouter(prefix="/target-health", tags=["targets"])


@router.get("", response_model=HealthPage)
async def list_target_health(call: Looking, page: Paged) -> Response:
    """Each login of each target: whether sessions could be opened lately, and why not. Asks the running gateway."""
    seen = {(found.target, found.mode): found for found in await call.context.gateway.target_health()}
    records = [
        health_record(target.name, mode, seen.get((target.name, mode.value)))
        for target in call.whole.targets.values()
        if call.may_on("targets.health", target.name)
        for mode in target.roles
    ]
    items, following = page.of(records, lambda record: (record.target, record.mode.value))
    return call.show_list(HealthPage(items=items, next=following))
