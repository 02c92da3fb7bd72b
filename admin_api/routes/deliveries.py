"""/v1/deliveries: what was to be told elsewhere, by webhook, Slack, e-mail and to people, and what became of it."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Looking, Making, told
from admin_api.models.webhooks import DeliveryPage, DeliveryRecord, delivery_record
from admin_api.paging import Paged, encode
from admin_api.problems import ApiError
from gateway.audit.admin_event import AdminEvent
from gateway.ports import OutboxMessage, OutboxState
from gateway.ports.outbox import MessageFilter
from gateway.services import deliveries
from gateway.services.errors import ServiceError
from gateway.services.webhooks import find_webhook

router = APIRouter(prefix="/deliveries", tags=["webhooks"])


@router.get("", response_model=DeliveryPage)
async def list_deliveries(
    call: Looking,
    page: Paged,
    webhook: Annotated[str | None, Query(description="Only to this webhook.")] = None,
    kind: Annotated[str | None, Query(description="Only to such: webhook, slack, mail, person, on-call.")] = None,
    state: Annotated[OutboxState | None, Query(description="Only in this state.")] = None,
    request: Annotated[str | None, Query(description="Only about the access request of this id.")] = None,
) -> Response:
    """List deliveries, the newest first. They are the owners' to see."""
    call.require("webhooks.list")
    destination = None if webhook is None else find_webhook(call.snapshot, webhook).destination
    before = None if page.after is None else _sequence(page.after)
    wanted = MessageFilter(state, destination, kind, request, before, page.limit + 1)
    found = await deliveries.list_deliveries(call.context.store.outbox, wanted)
    items, more = found[: page.limit], len(found) > page.limit
    following = encode((str(items[-1].sequence),)) if more else None
    return call.show_list(DeliveryPage(items=[delivery_record(each, call.whole) for each in items], next=following))


@router.post("/{delivery}/redeliver", response_model=DeliveryRecord)
async def redeliver(call: Making, delivery: str) -> Response:
    """Send it again, under the same id: a receiver that has it already knows that."""
    outbox = call.context.store.outbox

    async def answer(message: OutboxMessage) -> Response:
        return told(delivery_record(message, await call.after()))

    async def again(event: AdminEvent) -> Response:
        found = await outbox.message(event.object_id)
        if found is None:
            raise ServiceError("delivery-unknown", "this delivery is kept no more")
        return await answer(found)

    return await call.run(lambda store: deliveries.redeliver(store, outbox, message_id=delivery, **call.why), answer, again)


def _sequence(after: tuple[str, ...]) -> int:
    if len(after) != 1 or not after[0].isascii() or not after[0].isdigit() or len(after[0]) > 9:
        raise ApiError(422, "cursor-invalid", "this cursor does not come from this listing", "Begin without `after`.")
    return int(after[0])
