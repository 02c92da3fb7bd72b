"""Live sessions."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from gateway.ports import LiveGateway, SessionTermination, Store
from gateway.services.change import begin
from gateway.services.errors import ServiceError
from gateway.services.naming import check_session_id

_NOWHERE: Final[Mapping[str, str]] = MappingProxyType({})


async def terminate_session(
    store: Store, *, session_id: str, targets: Mapping[str, str] = _NOWHERE, actor: str, reason: str
) -> SessionTermination:
    """End one session, wherever it runs. Its client reads the reason. Whether it lives is the gateway's to know."""
    (termination,) = await terminate_sessions(store, session_ids=(session_id,), targets=targets, actor=actor, reason=reason)
    return termination


async def terminate_sessions(
    store: Store, *, session_ids: Sequence[str], targets: Mapping[str, str] = _NOWHERE, actor: str, reason: str
) -> tuple[SessionTermination, ...]:
    """End all of these in one change, each with its own audit event. At least one, or it is an error.

    `targets`: on which target each is, by its id, as the gateway says; only owners end one of which this is not known.
    """
    ids = tuple(dict.fromkeys(session_ids))
    if not ids:
        raise ServiceError("session-unknown", "there is no such session to end", "See: pgbastion sessions list")
    for session_id in ids:
        check_session_id(session_id)
    terminations = tuple(SessionTermination(session_id, reason) for session_id in ids)
    async with begin(store, actor, reason) as change:
        for termination in terminations:
            target = change.snapshot.targets.get(targets.get(termination.session_id, ""))
            change.require("sessions.terminate", target=target)
            change.also_put(termination)
            change.note("session.terminated", termination.session_id, termination.session_id)
        await change.commit()
    return terminations


async def cancel_session(store: Store, gateway: LiveGateway, *, session_id: str, actor: str, reason: str) -> None:
    """Cancel what a session runs now; the session stays. Written down first.

    Raises GatewayUnavailable: then it may have been cancelled or not.
    """
    check_session_id(session_id)
    found = next((live for live in await gateway.sessions() if live.session == session_id), None)
    if found is None:
        raise ServiceError("session-unknown", f"there is no live session {session_id}", "See: pgbastion sessions list")
    async with begin(store, actor, reason) as change:
        change.require("sessions.cancel", target=change.snapshot.targets.get(found.target))
        change.note("session.cancelled", session_id, session_id)
        await change.commit()
    await gateway.cancel(session_id)
