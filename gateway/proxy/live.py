"""A session that was let in: the shell around its sans-IO sides. It moves bytes, obeys back-pressure, and ends in one place.

What leaves for upstream behind an audit record leaves only when the trail says that the record is written; bytes behind such
bytes queue with them, in order.
"""

import asyncio
import time
from functools import partial
from typing import Final

import structlog

from gateway.access.model import Denial, Lease
from gateway.bus.lines import Payload
from gateway.proxy.account import Account
from gateway.proxy.attending import Attending, is_attended
from gateway.proxy.between_messages import LONGEST_REST, Asides, LastWords
from gateway.proxy.cancel import UpstreamCancel
from gateway.proxy.day_counts import HURRY_BYTES
from gateway.proxy.flow import ReadGate, Reason, leave_client, peer_is_gone
from gateway.proxy.opening import Opened, converse
from gateway.proxy.own_password import change_own_password
from gateway.proxy.releasing import Releasing
from gateway.proxy.standing import Introduction, Standing, carried
from gateway.proxy.steady import steady_of
from gateway.proxy.upstream import HIGH_WATER
from gateway.proxy.worker import Worker
from gateway.session.client_side import ClientSide
from gateway.session.effects import (
    CatalogTouched,
    ChangeOwnPassword,
    ClientQuit,
    End,
    JudgeElsewhere,
    NameAgain,
    StopStatement,
    fatal,
)
from gateway.session.upstream_side import UpstreamSide
from gateway.session.welcome import build_welcome
from gateway.statements.verdict import Verdict
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields, build_error
from gateway.wire.frontend import TERMINATE

_LONG_KEYS_MINOR: Final = 2  # protocol 3.2 has cancel keys of up to 256 bytes
_HELD_LIMIT: Final = 256 * 1024
_QUIT_GRACE_SECONDS: Final = 0.5  # how long upstream may take to answer a Terminate
_USUAL_ENDS: Final = frozenset({"client-quit", "client-vanished", "shutdown"})  # of which the log does not speak
_log: Final = structlog.stdlib.get_logger("gateway.session")


class LiveSession(asyncio.Protocol):
    """Implements registry.Session and upstream.Relay."""

    def __init__(
        self,
        worker: Worker,
        who: Introduction,
        lease: Lease,
        opened: Opened,
        client: asyncio.Transport,
    ) -> None:
        self.session_id = who.session_id
        self._worker = worker
        self._who = who
        self._standing = Standing(who, lease)
        self._opened = opened
        self._shared = shared = converse(worker, who.session_id, str(who.address), lease, opened)
        self._client_side = ClientSide(shared)
        self._upstream_side = UpstreamSide(shared)
        self._client = client
        self._upstream = opened.connection.transport
        self._cancel = UpstreamCancel(opened.place, opened.welcome.process_id, opened.welcome.key)
        self._client_gate = ReadGate(client)
        self._upstream_gate = ReadGate(self._upstream)
        self._trail = worker.trail
        self._counters = worker.counters
        self._releasing: Releasing | None = None  # what waits for the audit trail
        self._ended = False
        self._client_gone = False
        self._upstream_gone: asyncio.Event | None = None  # while somebody waits for it
        self._answered: asyncio.Event | None = None  # while a statement is being stopped
        self._quitting = False
        self._account = Account(who, shared)
        self._attending: Attending | None = None
        if (steady := steady_of(self, shared, self._account, worker, client, self._upstream)) is not None:
            self.data_received = steady.client_data  # type: ignore[method-assign]
            self.upstream_data = steady.upstream_data  # type: ignore[method-assign]
        if opened.hold is not None:
            opened.hold.follower = self._adopt_policy
        client.set_write_buffer_limits(high=HIGH_WATER)

    @property
    def lease(self) -> Lease:
        return self._standing.lease

    @property
    def busy(self) -> bool:
        return self._account.busy

    @property
    def bytes_in(self) -> int:
        return self._account.bytes_in

    @property
    def at_rest(self) -> bool:
        """Nothing is owed, on hold, half read, or waits to be written: the next request may take a short way."""
        shared = self._shared
        return (
            not (
                self._ended or self._releasing or shared.records or shared.effects or shared.audit_sqlstate or shared.name_lost
            )
            and not (shared.catalog_touched or shared.ledger.unusual or shared.ledger.busy or shared.ledger.swallowed_syncs)
            and shared.watched is None
            and self._client_side.at_rest
            and self._upstream_side.at_rest
        )

    def welcome(self, minor: int) -> bytes:
        """AuthenticationOk to ReadyForQuery, with a cancel key of our own."""
        upstream, key = self._opened.welcome, None
        if upstream.key:
            key = self._worker.registry.new_key(self, long=minor >= _LONG_KEYS_MINOR)
            self._account.process_id = key[0]
        return build_welcome(upstream.statuses, self.lease.user.name, key, self._opened.wishes.notice)

    def record_start(self) -> None:
        self._counters.sessions_started += 1
        facts = {"tls": self._who.tls, "server": self._opened.server_major}
        if self._opened.ahead:
            facts["opened_ahead"] = True
        self._shared.event("session_start", facts | carried(self.lease))
        weak = ", ".join(self._opened.weaknesses(self.lease))
        if weak:
            self._shared.event("upstream_security", {"weaker": weak})
        self.record()

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        size = len(data)
        self._account.bytes_in += size
        self._counters.bytes_from_clients += size
        shared, trail = self._shared, self._trail
        if shared.audit_sqlstate or not trail.healthy:
            shared.audit_sqlstate = "" if trail.healthy else trail.sqlstate_of_failure
        out = self._client_side.feed(data, time.monotonic())
        if out is data and not self._ended and not self._releasing and not shared.effects and trail.write_now(shared.records):
            shared.records.clear()
            self._upstream.write(data)
        else:
            self._from_client(out)

    def _from_client(self, out: bytes) -> None:
        """Send on what a client-side call returned, behind its audit records; then do what else it asked for."""
        shared = self._shared
        if self._ended:
            return
        records = shared.records
        if out and not self._releasing and (not records or self._trail.write_now(records)):
            records.clear()
            self._upstream.write(out)
        elif out:
            self._forward_when_written(out)
        elif shared.records:
            self.record()
        if shared.effects:
            self._act()
        if not out and self._client_side.held_bytes > _HELD_LIMIT:  # on hold, nothing leaves
            self._client_gate.close(Reason.ON_HOLD)

    def record(self) -> None:
        append = self._trail.append
        for record in self._shared.records:
            append(record)
        self._shared.records.clear()

    def _forward_when_written(self, out: bytes) -> None:
        if self._releasing is None:
            self._releasing = Releasing(self._trail, self._upstream, self._client_gate, self._unwritten)
        self._releasing.add(out, self._shared.records)
        self._shared.records.clear()

    def _unwritten(self) -> None:
        text = "the gateway could not write its audit trail, so the statement was not run"
        self.end("audit-unavailable", fatal(self._trail.sqlstate_of_failure, text, "Tell your administrator."))

    def upstream_data(self, data: bytes) -> None:
        if self._ended:
            return
        now = time.monotonic()
        out = self._upstream_side.feed(data, now)
        if out:
            size = len(out)
            self._account.bytes_out += size
            self._counters.bytes_to_clients += size
            self._client.write(out)
        shared = self._shared
        if shared.records:
            self._trail.note(shared.records)
            shared.records.clear()
        if shared.effects:
            self._act()
        if shared.volume is not None or self._answered is not None:
            self._look_at_volume()
        if self._client_side.waiting_for_replies and not self._ended:
            self._resume(self._client_side.resume(now))

    def _resume(self, out: bytes) -> None:
        if not self._client_side.on_hold:
            self._client_gate.open(Reason.ON_HOLD)
        self._from_client(out)

    def _act(self) -> None:
        shared = self._shared
        effects, shared.effects = shared.effects, []
        for effect in effects:
            match effect:
                case JudgeElsewhere():
                    shared.tally.judged_in_child += 1
                    self._worker.judge.submit(effect.sql, effect.policy, partial(self._judged, effect))
                case End():
                    if effect.distrust:
                        self._cut_upstream()
                    self.end(effect.reason, effect.farewell)
                case NameAgain() if self._client_side.mid_message:  # of a CopyData that nobody waits for
                    self._cut_upstream()
                    self.end("tripwire: application_name", None)
                case NameAgain():
                    self._upstream.write(shared.facts.name_again)
                case StopStatement():
                    self._answered = asyncio.Event()
                    self._cancel.stop(self._answered, self._stopped)
                case CatalogTouched():
                    self._worker.catalog_touched(self.lease.target.id)
                case ChangeOwnPassword():
                    self._standing.changing_password()
                    self._worker.keep(asyncio.create_task(self._change_password(effect), name=f"password {self.session_id}"))
                case ClientQuit():
                    self._quitting = True
                    asyncio.get_running_loop().call_later(_QUIT_GRACE_SECONDS, self.end, "client quit", None)

    def _look_at_volume(self) -> None:
        volume = self._shared.volume
        if volume is not None and volume.day is not None and volume.day.unreported > HURRY_BYTES:
            self._worker.day_counts.hurry()
        if self._answered is not None and ((watched := self._shared.watched) is None or watched.answered):
            self._answered.set()

    def _stopped(self) -> None:
        """No cancel of ours can hit anything any more."""
        self._answered = None
        watched = self._shared.watched
        if watched is not None and not self._ended:
            watched.cancel_over()
            self._resume(self._client_side.resume(time.monotonic()))

    def _judged(self, effect: JudgeElsewhere, verdict: Verdict) -> None:
        if not self._ended:
            self._resume(self._client_side.judged(effect, verdict, time.monotonic()))

    async def _change_password(self, effect: ChangeOwnPassword) -> None:
        try:
            verdict = await change_own_password(self._worker, self.session_id, self.lease, effect)
        except Exception:  # else the client would wait for good, and its old password stand
            _log.exception("a person's own password could not be changed", session=self.session_id)
            self._standing.password_changed(done=False)
            self.end(
                "undecided", fatal(sqlstate.ADMIN_SHUTDOWN, "the gateway could not change your password", "Connect again.")
            )
            return
        self._standing.password_changed(done=verdict.allowed)
        if not self._ended:
            self.reconcile()
        if not self._ended:
            self._resume(self._client_side.password_changed(effect, verdict, time.monotonic()))

    # -- back-pressure and loss ----------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self._upstream_gate.close(Reason.OTHER_SIDE_FULL)

    def resume_writing(self) -> None:
        self._upstream_gate.open(Reason.OTHER_SIDE_FULL)

    def upstream_full(self) -> None:
        self._client_gate.close(Reason.OTHER_SIDE_FULL)

    def upstream_drained(self) -> None:
        self._client_gate.open(Reason.OTHER_SIDE_FULL)

    def eof_received(self) -> bool:
        """A client that closes while its query runs is gone; one that closes while idle has finished."""
        if not self._quitting:
            self.end("client vanished" if self._shared.busy else "client quit", None)
        return self._quitting and not self._who.tls  # TLS closes both ways, whatever is said here

    def connection_lost(self, exc: Exception | None) -> None:
        self._client_gone = True
        if not self._quitting:  # else what it sent before its Terminate may finish, for a moment
            vanished = exc is not None or self._shared.busy
            self.end("client vanished" if vanished else "client quit", None)

    def upstream_lost(self) -> None:
        if self._upstream_gone is not None:
            self._upstream_gone.set()
        self._opened.seat.leave()
        if self._quitting:
            self.end("client quit", None)
        elif self._shared.upstream_fatal:
            self.end(f"upstream ended the session ({self._shared.upstream_fatal})", None)
        else:
            text = "the database closed the connection"
            self.end("upstream lost", fatal(sqlstate.CONNECTION_FAILURE, text, "Connect again."))

    @property
    def is_due(self) -> bool:
        return self._standing.is_due

    def attend(self) -> None:
        """What takes the clock: limits that are over, notices of an end that is near."""
        if self._ended or not is_attended(self.lease):
            return
        if self._attending is None:
            side = self._upstream_side
            asides = Asides(self._client, self._upstream, lambda: side.body_left)
            self._attending = Attending(self, self._worker, self._standing, self._account, self._shared, asides)
        self._attending.look()

    @property
    def waits(self) -> bool:
        """The client sent something that has not left yet."""
        return self._client_side.on_hold or bool(self._releasing)

    def cancel_overdue(self) -> None:
        """Stop the statement that runs for longer than it may."""
        self._cancel.request()

    def probe(self) -> None:
        """Nothing tells of a client that goes away while nobody reads from it."""
        unread = self._client_gate.closed or self._client_side.on_hold
        if not self._ended and unread and peer_is_gone(self._client):
            self._client_gone = True
            self.end("client vanished", None)

    # -- rights --------------------------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        worker = self._worker
        before = self.lease
        denial = self._standing.renew(worker.directory.snapshot)
        if denial is not None:
            self.terminate(denial)
            return
        if self.lease.grant_id != before.grant_id:
            self._opened.seat.move(self.lease)
            self._shared.event("grant_changed", carried(self.lease))
            self.record()
        self._adopt_policy()

    def _adopt_policy(self) -> None:
        """The one that is right now: what was judged before is judged again when it is used."""
        policies, opened = self._worker.policies, self._opened
        policy = policies.policy_of(self.lease, opened.server_major, opened.catalog)
        self._shared.adopt(policies.in_force(policy))
        limited = self._worker.volume_of(self.lease)
        if limited is None or self._shared.volume is None or limited.limits != self._shared.volume.limits:
            self._shared.volume = limited

    def terminate(self, denial: Denial) -> None:
        """FATAL 57P01 whatever the reason: that is how a session ends that was once let in."""
        text = f"terminating connection: {denial.message}"
        self.end(denial.rule, fatal(sqlstate.ADMIN_SHUTDOWN, text, denial.hint, f"pgbastion rule: {denial.rule}"))

    def cancel_query(self) -> None:
        busy = self._shared.busy
        self._counters.cancels += 1
        self._shared.event("cancel", {"outcome": "sent" if busy else "nothing runs"})
        self.record()
        if busy:
            self._cancel.request()

    def describe(self) -> Payload:
        return self._account.describe(self.lease, self._worker.number)

    # -- the end -------------------------------------------------------------------------------------------------------

    def end(self, reason: str, farewell: ErrorFields | None) -> None:
        """The one way out, whoever asks for it first."""
        if self._ended:
            return
        self._ended = True
        running = self._shared.busy
        partly_sent = self._client_side.mid_message
        self._client_side.drop()
        for part in (self._releasing, self._attending):
            if part is not None:
                part.close()
        if self._answered is not None:
            self._answered.set()
        self._worker.registry.remove(self, self._account.process_id)
        self._opened.let_go()
        self._shared.abandon_all(time.monotonic())
        kind = self._counters.ended(reason)
        if kind not in _USUAL_ENDS:
            _log.info("session ended", session=self.session_id, user=self.lease.user.name, kind=kind)
        self._shared.event("session_end", self._account.totals(reason))
        self.record()
        self._leave_upstream(running=running, partly_sent=partly_sent)
        words = build_error(farewell) if farewell is not None else b""
        left = self._upstream_side.body_left
        if left and words and self._upstream_gone is not None and left <= LONGEST_REST and not self._client_gone:
            LastWords(self._upstream, left, self._client, words)
        else:
            leave_client(self._client, b"" if left else words, gone=self._client_gone)

    def _cut_upstream(self) -> None:
        if self._shared.busy:
            self._cancel.request()
        self._upstream.abort()

    def _leave_upstream(self, *, running: bool, partly_sent: bool) -> None:
        if partly_sent or self._upstream.is_closing():  # a COPY that stops in the middle fails by itself
            self._upstream.abort()
            return
        self._upstream.write(TERMINATE)
        if running:
            self._upstream_gate.open_for_good()
            self._upstream_gone = asyncio.Event()
            self._cancel.see_off(self._upstream, self._upstream_gone)
        else:
            self._upstream.close()
