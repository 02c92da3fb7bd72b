"""Outside /v1, for machines: /healthz, /readyz, /metrics. No token, but the allowlist holds."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from fastapi import APIRouter, Request
from starlette.responses import Response

from admin_api.calls import context_of, told
from admin_api.counts import ApiCounts
from admin_api.metrics import CONTENT_TYPE, Seen, render
from admin_api.models.health import Alive, Ready
from gateway.access.model import Snapshot
from gateway.ports import GatewayUnavailable, SessionFacts
from gateway.ports.outbox import OutboxCounts
from gateway.store.errors import StoreError

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=Alive)
async def show_health() -> Response:
    """Whether this process answers."""
    return told(Alive())


@router.get("/readyz", response_model=Ready, responses={503: {"model": Ready, "description": "Not ready"}})
async def show_readiness(request: Request) -> Response:
    """Whether people can log in: the store answers, and all workers do."""
    context = context_of(request)
    fresh = context.fresh()
    if fresh:
        try:
            await context.read()
        except StoreError:
            fresh = False
    try:
        workers = len(await context.gateway.counters())
    except GatewayUnavailable:
        workers = 0
    expected = context.settings.now.listen.workers
    record = Ready(ready=fresh and workers >= expected, store=fresh, workers=workers, workers_expected=expected)
    return told(record, 200 if record.ready else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def show_metrics(request: Request) -> Response:
    """For Prometheus, in its text format."""
    context = context_of(request)
    counts: ApiCounts = request.app.state.counts
    workers: list[Mapping[str, float]] = []
    sessions: list[SessionFacts] = []
    with suppress(GatewayUnavailable):  # `pgbastion_up` says so
        workers, sessions = await asyncio.gather(context.gateway.counters(), context.gateway.sessions())
    snapshot: Snapshot | None = None
    with suppress(StoreError):
        snapshot = await context.read()
    outbox: OutboxCounts | None = None
    with suppress(StoreError):
        outbox = await context.store.outbox.count()
    seen = Seen(
        workers=workers,
        sessions=sessions,
        targets=list(snapshot.targets) if snapshot is not None else [],
        workers_expected=context.settings.now.listen.workers,
        store_fresh=snapshot is not None and context.fresh(),
        counts=counts,
        outbox=outbox,
        now=context.clock(),
    )
    return Response(render(seen), media_type=CONTENT_TYPE)
