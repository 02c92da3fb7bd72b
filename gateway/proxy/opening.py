"""From a lease to an open upstream session: the client's wishes judged, PostgreSQL logged in to and checked."""

import asyncio
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import structlog

from gateway.access.model import Lease, TlsMode
from gateway.access_mode import AccessMode
from gateway.audit import events
from gateway.proxy.catalogs import CatalogUnavailable, Hold
from gateway.proxy.seats import Seat
from gateway.proxy.upstream import Place, UpstreamConnection
from gateway.proxy.upstream_plan import major_of, plan_of
from gateway.proxy.waiting import WaitingSession
from gateway.proxy.worker import Worker
from gateway.session.conversation import Conversation, Facts
from gateway.session.hand_over import named_ahead
from gateway.session.startup_settings import Wishes, label_of, pinned_settings, read_wishes
from gateway.session.upstream_errors import explain, explain_no_catalog
from gateway.session.upstream_login import UpstreamPlan, UpstreamRefused, Welcome
from gateway.statements.catalog import Catalog
from gateway.wire.backend import ErrorFields
from gateway.wire.startup import StartupMessage

_LATEST_MAJOR: Final = 18
_log: Final = structlog.stdlib.get_logger("gateway.upstream")


@dataclass(frozen=True, slots=True)
class Opened:
    """An upstream session that waits for its client. `session_id` is that of the session from here on.

    `ahead`: it was opened before its client came, and its id with it.
    """

    session_id: str
    connection: UpstreamConnection
    welcome: Welcome
    place: Place
    wishes: Wishes
    pinned: dict[str, str]
    server_major: int
    seat: Seat
    hold: Hold | None
    ahead: bool

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


@dataclass(frozen=True, slots=True)
class _Connected:
    """Logged in, and named for its client."""

    session_id: str
    connection: UpstreamConnection
    welcome: Welcome
    place: Place
    pinned: dict[str, str]
    ahead: bool = False


async def open_session(worker: Worker, session_id: str, startup: StartupMessage, lease: Lease) -> Opened | ErrorFields:
    """What went wrong as fields for the client; the audit and the log say more. Cancelling it leaves nothing open."""
    wishes = read_wishes(startup, worker.policies.policy_of(lease, _LATEST_MAJOR))
    if isinstance(wishes, ErrorFields):
        return wishes
    worker.volume_of(lease)  # what was sent today is asked for while upstream is logged in to
    waiting = worker.ahead.take(lease, wishes)
    try:
        plan = None if waiting is None else _begin_take_over(worker, lease, wishes, waiting)
        seat = await worker.seats.take(session_id, lease)
    except BaseException:
        if waiting is not None:
            waiting.drop()
        raise
    if isinstance(seat, ErrorFields):
        if waiting is not None:
            waiting.drop()
        return seat
    try:
        taken = None if waiting is None or plan is None else await _take_over(worker, lease, waiting, plan)
        found = taken or await _log_in(worker, session_id, lease, wishes)
        opened = found if isinstance(found, ErrorFields) else await _complete(worker, lease, wishes, seat, found)
    except BaseException:
        seat.leave()
        raise
    if isinstance(opened, ErrorFields):
        seat.leave()
    return opened


def _plan(worker: Worker, session_id: str, lease: Lease, wishes: Wishes) -> UpstreamPlan:
    label = label_of(lease.user.name, session_id)
    return plan_of(lease.target, lease.role, lease.mode, label, wishes, worker.settings.limits.scram_iterations_max)


def _begin_take_over(worker: Worker, lease: Lease, wishes: Wishes, waiting: WaitingSession) -> UpstreamPlan:
    plan = _plan(worker, waiting.session_id, lease, wishes)
    waiting.begin(plan.application_name, plan.pinned)
    return plan


async def _take_over(worker: Worker, lease: Lease, waiting: WaitingSession, plan: UpstreamPlan) -> _Connected | None:
    """None: it was not what it should be, and is closed."""
    try:
        welcome = await waiting.finish()
    except UpstreamRefused as refused:
        worker.ahead.failed(lease, refused)
        return None
    return _Connected(waiting.session_id, waiting.connection, welcome, waiting.place, plan.pinned, ahead=True)


async def _log_in(worker: Worker, session_id: str, lease: Lease, wishes: Wishes) -> _Connected | ErrorFields:
    try:
        own = await worker.own_logins.lease_of(session_id, lease)
        if isinstance(own, ErrorFields):
            return own
        plan = _plan(worker, session_id, own, wishes)
        try:
            connection, welcome, place = await _dial(worker, own, plan)
        except UpstreamRefused as first:
            again = await worker.own_logins.after_refusal(session_id, own, lease, first)
            if again is None:
                raise
            if isinstance(again, ErrorFields):
                return again
            plan = _plan(worker, session_id, again, wishes)
            connection, welcome, place = await _dial(worker, again, plan)
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
    return _Connected(session_id, connection, welcome, place, plan.pinned)


async def _complete(worker: Worker, lease: Lease, wishes: Wishes, seat: Seat, found: _Connected) -> Opened | ErrorFields:
    connection, welcome = found.connection, found.welcome
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
    seat.opened(found.place, welcome.process_id, welcome.key)
    return Opened(
        found.session_id,
        connection,
        welcome,
        found.place,
        wishes,
        found.pinned,
        major_of(welcome),
        seat,
        hold,
        found.ahead,
    )


async def _hold_catalog(worker: Worker, lease: Lease) -> Hold | None:
    """Only a session that may not write is judged by what is in the database. Raises CatalogUnavailable."""
    if lease.mode is not AccessMode.READ_ONLY:
        return None
    # Not `lease.role`: that may be a database role which an access request was for. Its sessions have the settings of this one.
    return await worker.catalogs.hold(lease.target, lease.mode, lease.target.roles[lease.mode])


async def _dial(worker: Worker, lease: Lease, plan: UpstreamPlan) -> tuple[UpstreamConnection, Welcome, Place]:
    try:
        async with asyncio.timeout(worker.settings.limits.upstream_connect_timeout_seconds):
            return await worker.dialer.open(lease.target, lease.role, plan)
    except TimeoutError:
        raise UpstreamRefused("unreachable", "no answer in time") from None


def converse(worker: Worker, session_id: str, address: str, lease: Lease, opened: Opened) -> Conversation:
    """The shared state of both sides, when the session is let in."""
    facts = _facts(
        lease.user.name,
        lease.target.name,
        lease.mode,
        opened.pinned["session_authorization"],
        worker.settings.limits.max_message_bytes,
        worker.settings.limits.max_prepared_statements,
        worker.settings.policy.judge_inline_bytes,
        by_password=lease.proof is None,
    )
    naming = named_ahead(session_id, opened.welcome.statuses["application_name"], _new_nonce()) if opened.ahead else None
    policy = worker.policies.policy_of(lease, opened.server_major, opened.catalog)
    short = events.session_fragment_short(session_id, lease.user.name)
    rest = events.session_fragment_rest(address, lease.target.name, lease.mode.value, opened.wishes.application_name[:256])
    tally = worker.counters.tallies[lease.mode]
    shared = Conversation(facts, session_id, worker.policies.in_force(policy), short, rest, tally, naming)
    shared.volume = worker.volume_of(lease)
    return shared


def _new_nonce() -> str:
    return secrets.token_hex(8)


@lru_cache(1024)
def _facts(
    user: str,
    target: str,
    mode: AccessMode,
    login: str,
    max_message_bytes: int,
    max_prepared_statements: int,
    inline_bytes: int,
    *,
    by_password: bool,
) -> Facts:
    """The same object for all sessions that are alike."""
    return Facts(
        user,
        target,
        pinned_settings(mode, login),
        _new_nonce,
        max_message_bytes,
        max_prepared_statements,
        inline_bytes,
        login,
        by_password,
    )
