"""Live sessions."""

from gateway.audit.admin_event import AdminEvent
from gateway.ports import SessionTermination, Store
from gateway.services.naming import check_remark, check_session_id


async def terminate_session(store: Store, *, session_id: str, actor: str, reason: str) -> SessionTermination:
    """End one session, wherever it runs. Its client reads the reason. Whether it lives is the gateway's to know."""
    check_remark("reason", reason)
    check_session_id(session_id)
    termination = SessionTermination(session_id, reason)
    async with store.begin() as work:
        work.put(termination)
        await work.commit(AdminEvent(actor, "session.terminated", session_id, session_id, reason))
    return termination
