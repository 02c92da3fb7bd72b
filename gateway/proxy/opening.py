"""From a lease to an open upstream session: the client's wishes judged, the secret opened, PostgreSQL logged in to and checked."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.access.model import Lease, TlsMode
from gateway.access_mode import AccessMode
from gateway.audit import events
from gateway.proxy.catalogs import CatalogUnavailable, Hold
from gateway.proxy.seats import Seat
from gateway.proxy.upstream import Place, UpstreamConnection
from gateway.proxy.upstream_plan import major_of, plan_of
from gateway.proxy.worker import Worker
from gateway.secret import Secret
from gateway.session.conversation import Conversation, Facts
from gateway.session.startup_settings import Wishes, label_of, read_wishes
from gateway.session.upstream_errors import explain, explain_no_catalog
from gateway.session.upstream_login import UpstreamPlan, UpstreamRefused, Welcome
from gateway.statements.catalog import Catalog
from gateway.wire.backend import ErrorFields
from gateway.wire.startup import StartupMessage

_LATEST_MAJOR: Final = 18
_log: Final = structlog.stdlib.get_logger("gateway.upstream")


@dataclass(frozen=True, slots=True)
class Opened:
    """An upstream session that waits for its client."""

    connection: UpstreamConnection
    welcome: Welcome
    place: Place
    wishes: Wishes
    label: str
    pinned: dict[str, str]
    server_major: int
    seat: Seat
    hold: Hold | None

    @property
    def catalog(self) -> Catalog | None:
        """What is in the database as of now; None in a mode that does not ask."""
        return self.hold.now if self.hold is not None else None

    def abandon(self) -> None:
        """Nobody is let in after all."""
        self.connection.transport.abort()
        self.let_go()
        self.seat.leave()

    def let_go(self) -> None:
        """Nobody is judged any more. May be said twice."""
        if self.hold is not None:
            self.hold.leave()

    def weaknesses(self, lease: Lease) -> list[str]:
        """What is weaker than the default, for the audit."""
        weak = []
        if lease.target.tls is not TlsMode.VERIFY_FULL:
            weak.append(f"tls {lease.target.tls.value}")
        if self.welcome.used_md5:
            weak.append("md5 password")
        return weak


async def open_session(worker: Worker, session_id: str, startup: StartupMessage, lease: Lease) -> Opened | ErrorFields:
    """What went wrong as fields for the client; the audit and the log say more. Cancelling it leaves nothing open."""
    wishes = read_wishes(startup, worker.policies.policy_of(lease, _LATEST_MAJOR))
    if isinstance(wishes, ErrorFields):
        return wishes
    seat = await worker.seats.take(session_id, lease)
    if isinstance(seat, ErrorFields):
        return seat
    try:
        opened = await _log_in(worker, session_id, lease, wishes, seat)
    except BaseException:
        seat.leave()
        raise
    if isinstance(opened, ErrorFields):
        seat.leave()
    return opened


async def _log_in(worker: Worker, session_id: str, lease: Lease, wishes: Wishes, seat: Seat) -> Opened | ErrorFields:
    secret = worker.vault.open(lease.role)
    label = label_of(lease.user.name, session_id)
    plan = plan_of(lease.target, lease.role, lease.mode, label, wishes, worker.settings.limits.scram_iterations_max)
    try:
        connection, welcome, place = await _dial(worker, lease, secret, plan)
    except UpstreamRefused as refused:
        facts: dict[str, events.FieldValue] = {
            "session": session_id,
            "user": lease.user.name,
            "target": lease.target.name,
            "kind": refused.kind,
            "sqlstate": refused.sqlstate,
            "detail": refused.detail,
        }
        worker.audit(events.event("upstream_refused", facts))
        worker.counters.upstream_failed(refused.kind)
        worker.health.failed(lease.target.id, lease.mode, refused.kind)
        _log.warning("upstream refused a session", **facts)
        return explain(refused, lease.target.name, session_id)
    try:
        hold = await _hold_catalog(worker, lease)
    except CatalogUnavailable as unavailable:
        connection.transport.abort()
        worker.counters.upstream_failed(unavailable.kind)
        return explain_no_catalog(lease.target.name)
    except BaseException:
        connection.transport.abort()
        raise
    worker.health.answered(lease.target.id, lease.mode)
    seat.opened(place, welcome.process_id, welcome.key)
    return Opened(connection, welcome, place, wishes, label, plan.pinned, major_of(welcome), seat, hold)


async def _hold_catalog(worker: Worker, lease: Lease) -> Hold | None:
    """Only a session that may not write is judged by what is in the database. Raises CatalogUnavailable."""
    if lease.mode is not AccessMode.READ_ONLY:
        return None
    return await worker.catalogs.hold(lease.target, lease.mode, lease.role)


async def _dial(worker: Worker, lease: Lease, secret: Secret, plan: UpstreamPlan) -> tuple[UpstreamConnection, Welcome, Place]:
    try:
        async with asyncio.timeout(worker.settings.limits.upstream_connect_timeout_seconds):
            return await worker.dialer.open(lease.target, lease.role, secret, plan)
    except TimeoutError:
        raise UpstreamRefused("unreachable", "no answer in time") from None


def converse(worker: Worker, session_id: str, address: str, lease: Lease, opened: Opened) -> Conversation:
    """The shared state of both sides, when the session is let in."""
    facts = Facts(
        session_id=session_id,
        user=lease.user.name,
        target=lease.target.name,
        label=opened.label,
        pinned=opened.pinned,
        nonce=secrets.token_hex(8),
        max_message_bytes=worker.settings.limits.max_message_bytes,
        max_prepared_statements=worker.settings.limits.max_prepared_statements,
        inline_bytes=worker.settings.policy.judge_inline_bytes,
    )
    policy = worker.policies.policy_of(lease, opened.server_major, opened.catalog)
    full = events.session_fragment(
        session_id, lease.user.name, address, lease.target.name, lease.mode.value, opened.wishes.application_name
    )
    short = events.session_fragment_short(session_id, lease.user.name)
    return Conversation(facts, worker.policies.in_force(policy), full, short, worker.counters.tallies[lease.mode])
