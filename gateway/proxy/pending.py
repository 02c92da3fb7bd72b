"""A connection that has not been let in yet: startup packet, SCRAM, authorization, upstream login; then it becomes a LiveSession.

Everything before the proof is bounded by one absolute deadline and costs no store call. The right is asked for twice: after the
proof, and again in the very step that answers AuthenticationOk, so that a revocation in between is never missed.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from sys import intern
from typing import Final, Protocol, cast

import structlog

from gateway.access.authorize import authorize, parse_database_name
from gateway.access.model import Denial, Lease, User
from gateway.access.proof import Credential
from gateway.audit import events
from gateway.proxy import rights_clock
from gateway.proxy.answers import Answers
from gateway.proxy.candidate import Candidate, candidate_of
from gateway.proxy.client_certificates import certificate_of, why_revoked
from gateway.proxy.live import LiveSession
from gateway.proxy.opening import Opened, open_session
from gateway.proxy.standing import Introduction, proved_by, still_holds
from gateway.proxy.tls import ServerIdentity
from gateway.proxy.worker import Worker
from gateway.session.effects import fatal
from gateway.session.greeting import Begin, Cancel, Greeting, injected
from gateway.session.login import Login, Proved, WrongPassword, negotiation
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields, build_error
from gateway.wire.errors import SilentClose, WireError
from gateway.wire.startup import CancelRequest, StartupMessage

_EARLY_LIMIT: Final = 64 * 1024
_CLOSE_SECONDS: Final = 0.5
_ALPN: Final = "postgresql"
_NOT_READY: Final = fatal(sqlstate.CANNOT_CONNECT_NOW, "the gateway is not ready to accept connections", "Try again later.")
_answers: Final = Answers()
_log: Final = structlog.stdlib.get_logger("gateway.login")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the greeter found out. `identity`: the certificate that this connection's TLS uses, None in the clear."""

    address: IPv4Address | IPv6Address
    identity: ServerIdentity | None
    direct_tls: bool = False
    injected: bool = False
    begin: Begin | None = None


class Door(Protocol):
    """The greeter, as the connection that it let in sees it."""

    def left(self) -> None:
        """This connection is no longer pending, for whatever reason; may be said twice."""
        ...

    def proved(self) -> None:
        """The person is known: what comes now has limits of its own, not the deadline before login."""
        ...

    def cancel(self, request: CancelRequest) -> None: ...


class PendingSession(asyncio.Protocol):
    """From the first byte inside its transport to the live session, or to a refusal."""

    def __init__(self, worker: Worker, arrival: Arrival, door: Door) -> None:
        self._worker = worker
        self._arrival = arrival
        self._door = door
        self._greeting = Greeting(tls_offered=False, encrypted=True)
        self._startup: StartupMessage | None = None
        self._login: Login | None = None
        self._candidate: Candidate | None = None
        self._early = b""
        self._concluding: asyncio.Task[None] | None = None
        self._done = False
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.connected = False
        self.session_id = secrets.token_hex(8)

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.connected = True
        arrival = self._arrival
        if arrival.direct_tls:
            tls = transport.get_extra_info("ssl_object")
            if tls is None or tls.selected_alpn_protocol() != _ALPN:
                self._close()
                return
        if arrival.injected:
            self._guarded(self._raise_injected)
        elif arrival.begin is not None:
            begin = arrival.begin
            self._guarded(lambda: self._begin(begin))

    def data_received(self, data: bytes) -> None:
        if not self._done:
            self._guarded(lambda: self._received(data))

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except SilentClose:
            self._close()
        except WireError as broken:
            self._worker.counters.refused("protocol-violation")
            self._fail(fatal(broken.sqlstate, broken.message))

    def _raise_injected(self) -> None:
        raise injected()

    def _received(self, data: bytes) -> None:
        if self._concluding is not None:
            self._early += data
            if len(self._early) > _EARLY_LIMIT:
                self._transport.pause_reading()
        elif self._login is not None:
            out, outcome = self._login.feed(data)
            if out:
                self._transport.write(out)
            if outcome is not None:
                self._conclude_soon(outcome)
        else:
            match self._greeting.feed(data):
                case Begin() as begin:
                    self._begin(begin)
                case Cancel(request):
                    self._door.cancel(request)
                    self._close()
                case _:
                    pass

    def eof_received(self) -> bool:
        self._close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()
        if self._concluding is not None:
            self._concluding.cancel()

    def expire(self) -> None:
        """The deadline: closed without a word, as PostgreSQL does."""
        if not self._done:
            self._transport.abort()

    # -- the proof -----------------------------------------------------------------------------------------------------

    def _begin(self, begin: Begin) -> None:
        self._startup = startup = begin.startup
        worker, address = self._worker, self._arrival.address
        if self._arrival.identity is None and worker.settings.tls.mode == "require":
            worker.counters.refused("tls-required")
            hint = "Connect with sslmode=verify-full and the gateway's CA file (or at least sslmode=require)."
            self._fail(fatal(sqlstate.INVALID_AUTHORIZATION, "this gateway requires TLS", hint))
            return
        if worker.draining or not worker.knows_rights:
            worker.counters.refused("not-ready")
            self._fail(_NOT_READY)
            return
        wait = worker.logins.refused_for_seconds(address, time.monotonic())
        if wait > 0:
            worker.counters.refused("throttled")
            text = f"too many failed logins from this address; try again in {int(wait) + 1} seconds"
            self._fail(fatal(sqlstate.INVALID_AUTHORIZATION, text))
            return
        certificate = certificate_of(self._transport.get_extra_info("ssl_object"))
        self._candidate = candidate = candidate_of(worker, startup.user, certificate)
        if candidate.is_proved:
            self._conclude_soon(Proved(negotiation(startup), begin.rest))
            return
        binding = self._arrival.identity.binding if self._arrival.identity is not None else None
        known = "known" if candidate.user is not None else "unknown"
        self._login = Login(startup, candidate.keys, binding, secrets.token_urlsafe(18), known)
        self._transport.write(self._login.greeting())
        if begin.rest:
            self._received(begin.rest)

    def _conclude_soon(self, outcome: Proved | WrongPassword) -> None:
        self._concluding = asyncio.create_task(self._conclude(outcome), name=f"login {self.session_id}")

    async def _conclude(self, outcome: Proved | WrongPassword) -> None:
        worker, startup = self._worker, cast(StartupMessage, self._startup)
        delay = worker.logins.delay_seconds(startup.user, time.monotonic())
        if delay:
            await asyncio.sleep(delay)
        user = self._candidate.user if self._candidate is not None else None
        if isinstance(outcome, WrongPassword) or user is None:
            self._wrong_password(startup.user)
            return
        self._door.proved()
        worker.login_succeeded(startup.user)
        self._early = outcome.rest + self._early
        final = outcome.final
        asked_of = worker.directory.snapshot
        lease = self._authorize(user)
        if isinstance(lease, Denial):
            self._refuse(lease.rule, fatal(lease.sqlstate, lease.message, lease.hint, f"pgbastion rule: {lease.rule}"), final)
            return
        try:
            opened = await open_session(worker, self.session_id, startup, lease)
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("a session could not be opened", session=self.session_id)
            self._refuse("internal-error", fatal(sqlstate.INTERNAL_ERROR, "the gateway failed; it is logged"), final)
            return
        if isinstance(opened, ErrorFields):
            self._refuse("upstream-or-settings", opened, final)
            return
        self.session_id = opened.session_id
        same = still_holds(lease, asked_of, worker.directory.snapshot, self.session_id)
        self._go_live(user, opened, final, lease if same else None)

    def _authorize(self, user: User) -> Lease | Denial:
        startup, snapshot = cast(StartupMessage, self._startup), self._worker.directory.snapshot
        proof = self._candidate.proof if self._candidate is not None else None
        target_name, mode = parse_database_name(startup.database)
        if target_name == startup.user and target_name not in snapshot.targets:  # libpq's default when no database is named
            bound_to = proof.target_id if isinstance(proof, Credential) else None
            target_name = next((each.name for each in snapshot.targets.values() if each.id == bound_to), "")
        if proof is None:
            return _answers.authorize(
                snapshot,
                user=user,
                target_name=target_name,
                mode=mode,
                address=self._arrival.address,
                now=rights_clock.now(),
                session_id=self.session_id,
            )
        return why_revoked(proof, self._worker.tls) or authorize(
            snapshot,
            user_name=user.name,
            user_id=user.id,
            credential_version=user.credential_version,
            target_name=target_name,
            mode=mode,
            address=self._arrival.address,
            now=rights_clock.now(),
            session_id=self.session_id,
            proof=proof,
        )

    def _go_live(self, user: User, opened: Opened, final: bytes, known: Lease | None) -> None:
        """From the last question to AuthenticationOk without giving up the event loop. `known`: its answer, if it is the same."""
        worker = self._worker
        lease = known or self._authorize(user)
        if self._done or isinstance(lease, Denial) or worker.draining or not worker.knows_rights or not worker.trail.healthy:
            opened.abandon()
            if self._done:
                return
            if isinstance(lease, Denial):
                self._refuse(lease.rule, fatal(lease.sqlstate, lease.message, lease.hint), final)
            else:
                self._refuse("not-ready", _NOT_READY, final)
            return
        startup = cast(StartupMessage, self._startup)
        application = intern(opened.wishes.application_name)  # many say the same
        who = Introduction(self.session_id, self._arrival.address, application, self._arrival.identity is not None)
        self._finish()
        session = LiveSession(worker, who, lease, opened, self._transport)
        worker.registry.add(session)
        words = session.begin(opened, startup.minor)
        worker.last_logins.note(user.id, rights_clock.now())
        self._transport.write(final + words)
        self._transport.set_protocol(session)
        opened.connection.attach(session)
        self._transport.resume_reading()
        if self._early:
            session.data_received(self._early)

    # -- refusals ------------------------------------------------------------------------------------------------------

    def _wrong_password(self, name: str) -> None:
        worker = self._worker
        worker.login_failed(self._arrival.address, name, time.monotonic())
        worker.counters.logins_failed += 1
        reason = (self._candidate.why_unknown if self._candidate is not None else "") or "wrong-password"
        self._record("login_failed", {"reason": reason, "tls": self._arrival.identity is not None})
        self._fail(fatal(sqlstate.INVALID_PASSWORD, f'password authentication failed for user "{name}"'))

    def _refuse(self, rule: str, fields: ErrorFields, final: bytes) -> None:
        self._worker.counters.refused(rule)
        self._record("session_refused", {"rule": rule, "sqlstate": fields.sqlstate, "message": fields.message})
        self._fail(fields, final)

    def _record(self, name: str, more: dict[str, str | bool]) -> None:
        startup = cast(StartupMessage, self._startup)
        facts: dict[str, events.FieldValue] = {
            "session": self.session_id,
            "user": startup.user[:200],
            "address": str(self._arrival.address),
            "database": startup.database[:200],
            **proved_by(self._candidate.proof if self._candidate is not None else None),
            **more,
        }
        self._worker.audit(events.event(name, facts))

    def _fail(self, fields: ErrorFields, before: bytes = b"") -> None:
        if not self._done:
            self._transport.write(before + build_error(fields))
            self._close()

    def _close(self) -> None:
        self._finish()
        self._transport.close()
        asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self._transport.abort)

    def _finish(self) -> None:
        if not self._done:
            self._done = True
            self._door.left()
