"""/v1/sessions: who is connected now."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from admin_api.calls import Doing, Look, Looking, Making, told
from admin_api.models.sessions import Cancelled, SessionPage, SessionRecord, Terminated, TerminatedMany, Whom, session_record
from admin_api.paging import Paged
from admin_api.session_watch import SessionWatch
from admin_api.streams import EventStream
from gateway.audit.admin_event import AdminEvent
from gateway.ports import GatewayUnavailable, SessionFacts, SessionTermination, Store
from gateway.services.errors import ServiceError
from gateway.services.sessions import cancel_session, terminate_session, terminate_sessions
from gateway.services.visible import may_on

router = APIRouter(prefix="/sessions", tags=["sessions"])


@router.get("", response_model=SessionPage)
async def list_sessions(
    call: Looking,
    page: Paged,
    user: Annotated[str | None, Query(description="Only this user's.")] = None,
    target: Annotated[str | None, Query(description="Only on this target.")] = None,
    state: Annotated[str | None, Query(description="Only in this state: idle, active, idle in transaction.")] = None,
) -> Response:
    """List live sessions of all workers, oldest first."""
    found = [
        session
        for session in await call.gateway.sessions()
        if user in (None, session.user) and target in (None, session.target) and state in (None, session.state)
        if call.may_on("sessions.list", session.target)
    ]
    items, following = page.of(found, lambda session: (session.started_at, session.session))
    return call.show_list(SessionPage(items=[session_record(session) for session in items], next=following))


@router.post("/terminate", response_model=TerminatedMany)
async def terminate_many(call: Making, body: Whom) -> Response:
    """End the sessions of a user, of a target or all of them. Rights stay: whoever has them may connect again."""

    async def end(store: Store) -> list[str]:
        snapshot, actor = await call.rights()
        found = [each for each in await call.gateway.sessions() if body.fits(each)]
        places = {each.session: each.target for each in found if may_on(actor, "sessions.list", snapshot, each.target)}
        if places:
            await terminate_sessions(store, session_ids=list(places), targets=places, **call.why)
        return list(places)

    async def answer(ids: list[str]) -> Response:
        return told(TerminatedMany(sessions=ids))

    async def again(_event: AdminEvent) -> Response:
        return told(TerminatedMany(sessions=[]))

    return await call.run(end, answer, again)


@router.get("/stream", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
async def stream_sessions(
    call: Looking,
    user: Annotated[str | None, Query(description="Only this user's.")] = None,
    target: Annotated[str | None, Query(description="Only on this target.")] = None,
) -> Response:
    """Server-sent events "added", "changed" and "removed", each with a session; first of all those that there are."""
    watch = _watch(call)
    await watch.look()  # said before the stream begins

    def wanted(each: SessionFacts) -> bool:
        return user in (None, each.user) and target in (None, each.target) and call.may_on("sessions.list", each.target)

    return EventStream(call, watch.events(wanted))


@router.get("/{session_id}", response_model=SessionRecord)
async def show_session(call: Looking, session_id: str) -> Response:
    """Show one live session."""
    for session in await call.gateway.sessions():
        if session.session == session_id and call.may_on("sessions.list", session.target):
            return told(session_record(session))
    raise _unknown(session_id)


@router.post("/{session_id}/cancel", response_model=Cancelled)
async def cancel(call: Doing, session_id: str) -> Response:
    """Cancel what a session runs now. The session stays."""
    snapshot, actor = await call.rights()
    if not actor.owner:  # else what there is could be told from the kind of refusal
        live = {each.session: each.target for each in await call.gateway.sessions()}
        if session_id not in live or not may_on(actor, "sessions.list", snapshot, live[session_id]):
            raise _unknown(session_id)
    await cancel_session(call.store, call.gateway, session_id=session_id, **call.why)
    return told(Cancelled(session=session_id))


@router.post("/{session_id}/terminate", response_model=Terminated)
async def terminate(call: Making, session_id: str) -> Response:
    """End one session. Its client reads the reason."""
    live = True

    async def end(store: Store) -> SessionTermination:
        nonlocal live
        snapshot, actor = await call.rights()
        known: dict[str, str] = {}
        try:
            known = {
                each.session: each.target
                for each in await call.gateway.sessions()
                if may_on(actor, "sessions.list", snapshot, each.target)
            }
        except GatewayUnavailable:
            live = False  # written down all the same: it holds as soon as the gateway sees it
        else:
            if session_id not in known:
                raise _unknown(session_id)
        return await terminate_session(store, session_id=session_id, targets=known, **call.why)

    async def answer(_termination: SessionTermination) -> Response:
        return told(Terminated(session=session_id, reason=call.reason, live=live))

    async def again(event: AdminEvent) -> Response:
        return told(Terminated(session=event.object_id, reason=event.reason, live=False))

    return await call.run(end, answer, again)


def _watch(call: Look) -> SessionWatch:
    """One of a process, for all streams."""
    state = call.request.app.state
    if not hasattr(state, "session_watch"):
        state.session_watch = SessionWatch(call.gateway)
    watch: SessionWatch = state.session_watch
    return watch


def _unknown(session_id: str) -> ServiceError:
    return ServiceError("session-unknown", f"there is no live session {session_id}", "See: GET /v1/sessions")
