"""/v1/audit: what was run, denied and changed."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from admin_api.calls import Look, Looking
from admin_api.models.audit import AuditRecords
from admin_api.models.fields import Instant
from admin_api.paging import MAX_LIMIT
from admin_api.problems import ApiError
from admin_api.streams import Event, EventStream
from gateway.services.audit import AuditLog, Filter, Order
from gateway.trails.records import Record

router = APIRouter(prefix="/audit", tags=["audit"])

_PAGE_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 20.0
_MAX_CURSOR: Final = 20_000

OfUser = Annotated[str | None, Query(max_length=200, description="Of this person, and changes about them.")]
OnTarget = Annotated[str | None, Query(max_length=200, description="On this target, and changes about it.")]
OfSession = Annotated[str | None, Query(max_length=200, description="Of this session.")]
OfKind = Annotated[str | None, Query(max_length=200, description="Of this kind; * stands for anything.", examples=["grant.*"])]
WithText = Annotated[str | None, Query(max_length=1000, description="That hold this text anywhere, in any case.")]
Denied = Annotated[bool, Query(description="Only what was turned away.")]


@router.get("", response_model=AuditRecords)
async def search_audit(
    call: Looking,
    user: OfUser = None,
    target: OnTarget = None,
    session: OfSession = None,
    event: OfKind = None,
    text: WithText = None,
    denied: Denied = False,
    since: Annotated[Instant | None, Query(description="Not before this instant.")] = None,
    until: Annotated[Instant | None, Query(description="Before this instant.")] = None,
    order: Annotated[Order, Query(description="By time.")] = Order.NEWEST_FIRST,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="At most so many items.")] = 100,
    after: Annotated[str | None, Query(max_length=_MAX_CURSOR, description="`next` of the page before.")] = None,
) -> Response:
    """Find records: statements, sessions, refusals and operators' changes."""
    wanted = Filter(user=user, target=target, session=session, event=event, text=text, denied=denied, since=since, until=until)
    log, deadline = _log(call), time.monotonic() + _PATIENCE_SECONDS
    searching: asyncio.Semaphore = call.request.app.state.searching
    async with searching:
        page = await log.search(wanted, order=order, limit=limit, after=after, seconds=_PAGE_SECONDS)
        while not page.records and page.next is not None and time.monotonic() < deadline:
            page = await log.search(wanted, order=order, limit=limit, after=page.next, seconds=_PAGE_SECONDS)
    # The fields are JSON already: to check and copy each of them would cost more than the search.
    shown = [record.fields for record in page.records if _may_see(call, record)]
    body = {"items": shown, "next": page.next, "notes": page.notes}
    return Response(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"), media_type="application/json")


@router.get("/stream", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
async def stream_audit(
    call: Looking,
    user: OfUser = None,
    target: OnTarget = None,
    session: OfSession = None,
    event: OfKind = None,
    text: WithText = None,
    denied: Denied = False,
    last_event_id: Annotated[
        str | None, Header(max_length=_MAX_CURSOR, description="The id of the last event that you have: go on after it.")
    ] = None,
) -> Response:
    """Server-sent events "record", each with a record, from now on or from where you were."""
    log = _log(call)
    wanted = Filter(user=user, target=target, session=session, event=event, text=text, denied=denied)
    # Now, not when the stream is first read: nothing is missed in between.
    after = last_event_id or await log.end()
    return EventStream(call, _events(call, log, wanted, after))


async def _events(call: Look, log: AuditLog, wanted: Filter, after: str) -> AsyncGenerator[Event, None]:
    async for followed in log.follow(wanted, after=after):
        if _may_see(call, followed.record):
            yield Event("record", json.dumps(followed.record.fields), followed.cursor)


def _may_see(call: Look, record: Record) -> bool:
    """Operators' changes are for owners; what happened on a target, for who may read its audit."""
    if call.actor.owner:
        return True
    target = record.fields.get("target")
    return isinstance(target, str) and "actor" not in record.fields and call.may_on("audit.search", target)


def _log(call: Look) -> AuditLog:
    if call.context.audit is None:
        raise ApiError(503, "audit-elsewhere", "the audit is read from its files here", "Use: pgbastion audit search")
    return call.context.audit
