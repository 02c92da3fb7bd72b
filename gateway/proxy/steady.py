"""Whether a session's usual requests and replies take the compiled short way (see `steady_c`)."""

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.compiled import twin_of
from gateway.proxy.account import Account
from gateway.proxy.audit_trail import AuditTrail
from gateway.session.conversation import Conversation

if TYPE_CHECKING:
    from gateway.proxy.live import LiveSession
    from gateway.proxy.steady_c import Common, Steady
    from gateway.proxy.worker import Worker

_twin: Final = twin_of(__name__)


def steady_of(
    session: "LiveSession",
    shared: Conversation,
    account: Account,
    worker: "Worker",
    client: asyncio.Transport,
    upstream: asyncio.Transport,
) -> "Steady | None":
    """None: it was not built, or this trail has no journal that it could write to. Its callbacks go first."""
    if worker.common is None:
        worker.common = _common_of(worker)
    if worker.common is None or _twin is None:
        return None
    steady: Steady = _twin.Steady(session, shared, worker.common, account, client, upstream)
    shared.beside = steady
    return steady


def _common_of(worker: "Worker") -> "Common | None":
    trail = worker.trail
    if _twin is None or not isinstance(trail, AuditTrail) or trail.journal is None:
        return None
    common: Common = _twin.Common(trail, worker.counters, trail.journal, trail.stamp, worker.registry.unasked)
    return common
