"""/v1/targets/{name}/outside-use and /v1/targets/{name}/observation"""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Doing, Looking, gone, told
from admin_api.models.outside_use import (
    NewObservation,
    ObservationRecord,
    OutsideUseRecord,
    observation_record,
    outside_use_record,
)
from gateway.ports import OutsideLook, TargetObservation
from gateway.services.outside_history import history_of, judge
from gateway.services.outside_use import look_now, observe, stop_observing, uses_of
from gateway.services.target_admins import admin_of

router = APIRouter()


@router.get("/{name}/outside-use", response_model=OutsideUseRecord)
async def show_outside_use(
    call: Looking, name: str, days: Annotated[int, Query(ge=1, le=400, description="What was seen in so many days.")] = 7
) -> Response:
    """Say who uses the target's database without the gateway: now, and as it was seen over time; may the admin password change?"""
    target = call.find_target("targets.outside-use", name)
    store, at = call.context.store, call.now
    begin = at - timedelta(days=days)
    now = await look_now(store, call.context.sealer, call.gateway, call.whole, target, at)
    # Of who is there without our workers' word, some are our own: that is no look to go by.
    seen = OutsideLook(at, uses_of(now.others)) if now.gateway_known else None
    history = history_of(await store.outside_looks(target.id, begin), seen, begin, at)
    admin = await admin_of(store, target)
    rotated = admin.rotated_at is not None
    verdict = judge(name, now.admin, history, at, gateway_known=now.gateway_known, rotated=rotated)
    return told(outside_use_record(name, now, begin, history, verdict, await store.target_observation(target.id)))


@router.put("/{name}/observation", response_model=ObservationRecord)
async def start_observing(call: Doing, name: str, body: NewObservation) -> Response:
    """Look at the target's database again and again for others who use it, by its admin login."""
    await observe(call.store, name=name, every_seconds=body.every_seconds, keep_days=body.keep_days, **call.why)
    return told(observation_record(TargetObservation("", body.every_seconds, body.keep_days)))


@router.delete("/{name}/observation", status_code=204)
async def end_observing(call: Doing, name: str) -> Response:
    """Look no more. What was seen stays until it is too old."""
    await stop_observing(call.store, name=name, **call.why)
    return gone()
