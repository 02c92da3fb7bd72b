"""/v1/access-requests"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Look, Looking, Making, Once, made, shown
from admin_api.endpoint import endpoint_of
from admin_api.known import until_known
from admin_api.models.access_requests import (
    AccessRequestPage,
    AccessRequestShown,
    Connection,
    NewAccessRequest,
    NewReview,
    Verdict,
    asked_of,
    request_record,
)
from admin_api.models.credentials import Endpoint, database_name
from admin_api.models.request_reviews import ReviewRecord, review_record
from admin_api.paging import Key, Paged, encode
from admin_api.problems import ApiError
from gateway.access.model import Snapshot
from gateway.access.request_record import ENDED, GIVEN, AccessRequest, State, Word
from gateway.audit.admin_event import AdminEvent
from gateway.ports import DeniedStatement
from gateway.services import access_requests
from gateway.services.access_requests import Listing, ShownRequest, WhichRequests, show_request
from gateway.services.actor import Actor
from gateway.services.errors import ServiceError
from gateway.services.request_people import RequestStore

router = APIRouter(prefix="/access-requests", tags=["access requests"])

_OPEN: Final = frozenset(State) - ENDED
_MAX_DIGITS: Final = 9  # as many as every store has for a number
_CODE_HINT: Final = "It is kept for an hour. Ask with the statement itself: pgbastion request create TARGET --sql FILE"


@router.get("", response_model=AccessRequestPage)
async def list_access_requests(
    call: Looking,
    page: Paged,
    which: Annotated[
        WhichRequests, Query(description="All that you may see; yours; those that you may decide about now, or review.")
    ] = WhichRequests.ALL,
    live: Annotated[bool | None, Query(description="Only those that are not over, or only those that are.")] = None,
    state: Annotated[State | None, Query(description="Only in this state.")] = None,
    user: Annotated[str | None, Query(description="Only by this user or for this user.")] = None,
    target: Annotated[str | None, Query(description="Only for this target.")] = None,
    environment: Annotated[str | None, Query(description="Only in this environment.")] = None,
) -> Response:
    """List access requests, the newest first: one's own, those that one may decide about, those of environments that one sees."""
    states = frozenset({state}) if state is not None else frozenset[State]()
    if live is not None:
        states = (states or frozenset(State)) & (_OPEN if live else ENDED)
        if not states:
            return call.show_list(AccessRequestPage(items=[]))
    listing = Listing(which, states, user, target, environment, before=_number(page.after), limit=page.limit + 1)
    found = await access_requests.list_requests(call.context.store, listing, actor=call.caller.actor, now=call.now)
    items, more = found[: page.limit], len(found) > page.limit
    following = encode((str(items[-1].request.number),)) if more else None
    return call.show_list(AccessRequestPage(items=[request_record(each) for each in items], next=following))


@router.post("", response_model=AccessRequestShown, status_code=201)
async def create_access_request(call: Making, body: NewAccessRequest) -> Response:
    """Ask. It is answered as it is then: pending, or given at once, by a rule or in an emergency."""
    asked = asked_of(body, None if body.code is None else await _refused(call, body.code))

    async def answer(request: AccessRequest) -> Response:
        record, version = await _record(call, request.id)
        return made(record, version, f"/v1/access-requests/{record.number}")

    async def again(event: AdminEvent) -> Response:
        record, version = await _record(call, event.object_id)
        return made(record, version, f"/v1/access-requests/{record.number}")

    return await call.run(lambda store: access_requests.create_request(store, asked=asked, **call.why), answer, again)


@router.get("/{request}", response_model=AccessRequestShown)
async def show_access_request(call: Looking, request: str) -> Response:
    """Show one, by its number or its id: for its holder, while the right is there, with how to connect."""
    found = await show_request(call.context.store, request=_key(request), actor=call.caller.actor, now=call.now)
    record = await _shown(call, call.whole, call.actor, found)
    return call.show_list(record)  # who may decide, and what time makes of it, changes without the row


@router.get("/{request}/review", response_model=ReviewRecord)
async def review_access_request(call: Looking, request: str) -> Response:
    """What those who decide look at: what would be new, statements and what they do, what the holder asked for before."""
    key, actor, now = _key(request), call.caller.actor, call.now
    brief = await access_requests.review_of(call.context.store, request=key, actor=actor, now=now)
    found = await show_request(call.context.store, request=brief.request.id, actor=actor, now=now)
    return call.show_list(review_record(brief, found))


@router.post("/{request}/approve", response_model=AccessRequestShown)
async def approve_access_request(call: Making, request: str, body: Verdict) -> Response:
    """Say yes, to what has this fingerprint. Nobody decides about their own."""
    return await _decide(call, request, Word.YES, body)


@router.post("/{request}/deny", response_model=AccessRequestShown)
async def deny_access_request(call: Making, request: str, body: Verdict) -> Response:
    """Say no: it is the end of it."""
    return await _decide(call, request, Word.NO, body)


@router.post("/{request}/cancel", response_model=AccessRequestShown)
async def cancel_access_request(call: Making, request: str) -> Response:
    """Take one's own back before it begins."""
    key = _key(request)
    return await _changed(call, lambda store: access_requests.cancel_request(store, request=key, **call.why))


@router.post("/{request}/relinquish", response_model=AccessRequestShown)
async def relinquish_access_request(call: Making, request: str) -> Response:
    """Give the right back early. Sessions that stand on it end."""
    key = _key(request)
    return await _changed(call, lambda store: access_requests.relinquish_request(store, request=key, **call.why))


@router.post("/{request}/revoke", response_model=AccessRequestShown)
async def revoke_access_request(call: Making, request: str) -> Response:
    """Take the right away. Sessions that stand on it end, and read the reason."""
    key = _key(request)
    return await _changed(call, lambda store: access_requests.revoke_request(store, request=key, **call.why))


@router.post("/{request}/review", response_model=AccessRequestShown)
async def review_break_glass(call: Making, request: str, body: NewReview) -> Response:
    """Say that one has looked at what was done in an emergency."""
    key = _key(request)
    return await _changed(
        call, lambda store: access_requests.review_break_glass(store, request=key, comment=body.comment, **call.why)
    )


async def _decide(call: Once, request: str, word: Word, body: Verdict) -> Response:
    key = _key(request)
    return await _changed(
        call,
        lambda store: access_requests.decide_request(
            store, request=key, word=word, fingerprint=body.fingerprint, comment=body.comment, **call.why
        ),
    )


async def _changed(call: Once, verb: Callable[[RequestStore], Awaitable[AccessRequest]]) -> Response:
    async def answer(request: AccessRequest) -> Response:
        return shown(*await _record(call, request.id))

    async def again(event: AdminEvent) -> Response:
        return shown(*await _record(call, event.object_id))

    return await call.run(verb, answer, again)


async def _record(call: Once, request_id: str) -> tuple[AccessRequestShown, int]:
    """As it is after the change, and its version."""
    found = await show_request(call.context.store, request=request_id, actor=call.caller.actor, now=call.now)
    return await _shown(call, *await call.rights(), found), found.request.version


async def _shown(call: Look | Once, snapshot: Snapshot, actor: Actor, found: ShownRequest) -> AccessRequestShown:
    request = found.request
    connection = None
    if request.state in GIVEN and actor.user_id == request.holder.user_id:
        await until_known(call.gateway, request.version)
        connection = _connection(call, snapshot, request)
    yours = actor.user_id is not None and actor.user_id in (request.requester.user_id, request.holder.user_id)
    return AccessRequestShown(**dict(request_record(found)), yours=yours, connection=connection)


def _connection(call: Look | Once, snapshot: Snapshot, request: AccessRequest) -> Connection | None:
    gateway: Endpoint | None = None
    with suppress(ServiceError):  # nobody said how clients verify it: they know how they connect
        gateway = endpoint_of(call.context.settings.now)
    names = {target.id: target.name for target in snapshot.targets.values()}
    held = [grant for grant in snapshot.grants.get(request.holder.user_id, ()) if grant.request_id == request.id]
    databases = sorted(database_name(names[grant.target_id], grant.mode) for grant in held if grant.target_id in names)
    user = next((each.name for each in snapshot.users.values() if each.id == request.holder.user_id), None)
    if gateway is None or user is None or not databases:
        return None
    return Connection(user=user, databases=databases, gateway=gateway)


async def _refused(call: Once, code: str) -> DeniedStatement:
    """What a denial's code stands for: of the caller's own denials only."""
    _, actor = await call.rights()
    found = None if actor.user_id is None else await call.gateway.denied_statement(code, actor.user_id)
    if found is None:
        raise ApiError(404, "denial-unknown", "the gateway has no refused statement of yours by this code", _CODE_HINT)
    return found


def _key(request: str) -> str | int:
    """A number, or an id."""
    return int(request) if request.isascii() and request.isdigit() and len(request) <= _MAX_DIGITS else request


def _number(after: Key | None) -> int | None:
    """Where the page before ended. Raises ApiError for another listing's cursor."""
    if after is None:
        return None
    if len(after) != 1 or not isinstance(number := _key(after[0]), int):
        raise ApiError(422, "cursor-invalid", "this cursor does not come from this listing", "Begin without `after`.")
    return number
