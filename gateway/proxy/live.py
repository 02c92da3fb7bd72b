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
from gateway.judging.ways_out import Search
from gateway.proxy.account import Account
from gateway.proxy.acting import act, look_at_volume
from gateway.proxy.attending import Attending, is_attended
from gateway.proxy.beginning import LONG_KEYS_MINOR, note_start, welcome
from gateway.proxy.between_messages import LONGEST_REST, Asides, LastWords
from gateway.proxy.cancel import UpstreamCancel
from gateway.proxy.client_certificates import why_revoked
from gateway.proxy.flow import ReadGate, Reason, leave_client, peer_is_gone
from gateway.proxy.opening import Opened, converse
from gateway.proxy.releasing import Releasing
from gateway.proxy.standing import Introduction, Standing, carried
from gateway.proxy.steady import steady_of
from gateway.proxy.upstream import HIGH_WATER
from gateway.proxy.worker import Worker
from gateway.session.client_side import ClientSide
from gateway.session.effects import fatal
from gateway.session.ledger import Entry
from gateway.session.upstream_side import UpstreamSide
from gateway.session.verdicts import Judged
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields, build_error
from gateway.wire.frontend import TERMINATE

_HELD_LIMIT: Final = 256 * 1024
_USUAL_ENDS: Final = frozenset({"client-quit", "client-vanished", "shutdown"})  # of which the log does not speak
_log: Final = structlog.stdlib.get_logger("gateway.session")


def _discard(data: bytes) -> None:
    """The session is over."""


class LiveSession(asyncio.Protocol):
    """Implements registry.Session and upstream.Relay.

    `data_received` and `upstream_data` are the methods below, or the short way.
    """

    __slots__ = (
        "_account",
        "_attending",
        "_backend",
        "_cancel",
        "_client",
        "_client_gate",
        "_client_gone",
        "_counters",
        "_hold",
        "_releasing",
        "_seat",
        "_server_major",
        "_sides",
        "_trail",
        "_upstream_gate",
        "_upstream_gone",
        "_upstream_side",
        "_who",
        "answered",
        "cancel_key",
        "client_side",
        "data_received",
        "ended",
        "quitting",
        "session_id",
        "shared",
        "standing",
        "upstream",
        "upstream_data",
        "worker",
    )

    def __init__(
        self,
        worker: Worker,
        who: Introduction,
        lease: Lease,
        opened: Opened,
        client: asyncio.Transport,
    ) -> None:
        self.session_id = who.session_id
        self.cancel_key = b""  # until it is given one
        self.worker = worker
        self._who = who
        self.standing = Standing(who, lease)
        self._seat = opened.seat
        self._hold = opened.hold
        self._server_major = opened.server_major
        self.shared = shared = converse(worker, who.session_id, str(who.address), lease, opened)
        self.client_side = ClientSide(shared)
        self._upstream_side = UpstreamSide(shared)
        self._client = client
        self.upstream = opened.connection.transport
        self._backend = opened.seat.backend
        self._cancel: UpstreamCancel | None = None  # these three are made when they are needed
        self._client_gate: ReadGate | None = None
        self._upstream_gate: ReadGate | None = None
        self._trail = worker.trail
        self._counters = worker.counters
        self._releasing: Releasing | None = None  # what waits for the audit trail
        self.ended = False
        self._sides = 2  # whose connections are not closed yet
        self._client_gone = False
        self._upstream_gone: asyncio.Event | None = None  # while somebody waits for it
        self.answered: asyncio.Event | None = None  # while a statement is being stopped
        self.quitting: asyncio.TimerHandle | None = None  # once the client has said so
        self._account = Account(who, shared)
        self._attending: Attending | None = None
        self.data_received, self.upstream_data = self._client_data, self._upstream_data  # type: ignore[method-assign]
        if (steady := steady_of(self, shared, self._account, worker, client, self.upstream)) is not None:
            self.data_received, self.upstream_data = steady.client_data, steady.upstream_data  # type: ignore[method-assign]
        shared.adviser = self
        if opened.hold is not None:
            opened.hold.follower = self._adopt_policy
        client.set_write_buffer_limits(high=HIGH_WATER)

    @property
    def lease(self) -> Lease:
        return self.standing.lease

    @property
    def busy(self) -> bool:
        return self._account.busy

    @property
    def bytes_in(self) -> int:
        return self._account.bytes_in

    @property
    def cancel(self) -> UpstreamCancel:
        """For what runs upstream."""
        if self._cancel is None:
            self._cancel = UpstreamCancel(self._backend.place, self._backend.process_id, self._backend.key)
        return self._cancel

    @property
    def at_rest(self) -> bool:
        """Nothing is owed, on hold, half read, or waits to be written: the next request may take a short way."""
        shared = self.shared
        return (
            not (self.ended or self._releasing or shared.records or shared.effects or shared.audit_sqlstate or shared.name_lost)
            and not (shared.catalog_touched or shared.ledger.unusual or shared.ledger.busy or shared.ledger.swallowed_syncs)
            and shared.watched is None
            and self.client_side.at_rest
            and self._upstream_side.at_rest
        )

    def begin(self, opened: Opened, minor: int) -> bytes:
        """Records that it begins; returns what its client reads first. `minor`: of the protocol that the client speaks."""
        self._counters.sessions_started += 1
        note_start(self.shared, self._who, self.lease, opened)
        self.record()
        key = self.worker.registry.new_key(self, long=minor >= LONG_KEYS_MINOR) if opened.welcome.key else None
        self._account.process_id = None if key is None else key[0]
        return welcome(self.worker, self.lease, opened, key)

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def _client_data(self, data: bytes) -> None:
        size = len(data)
        self._account.bytes_in += size
        self._counters.bytes_from_clients += size
        shared, trail = self.shared, self._trail
        if shared.audit_sqlstate or not trail.healthy:
            self._look_at_trail()
        out = self.client_side.feed(data, time.monotonic())
        if out is data and not self.ended and not self._releasing and not shared.effects and trail.write_now(shared.records):
            shared.records.clear()
            self.upstream.write(data)
        else:
            self._from_client(out)

    def _look_at_trail(self) -> None:
        self.shared.audit_sqlstate = "" if self._trail.healthy else self._trail.sqlstate_of_failure

    def _from_client(self, out: bytes) -> None:
        """Send on what a client-side call returned, behind its audit records; then do what else it asked for."""
        shared = self.shared
        if self.ended:
            return
        records = shared.records
        if out and not self._releasing and (not records or self._trail.write_now(records)):
            records.clear()
            self.upstream.write(out)
        elif out:
            self._forward_when_written(out)
        elif shared.records:
            self.record()
        if shared.effects:
            act(self)
        if not out and self.client_side.held_bytes > _HELD_LIMIT:  # on hold, nothing leaves
            self._gate_of_client().close(Reason.ON_HOLD)

    def record(self) -> None:
        records, append = self.shared.records, self._trail.append
        if not self._trail.write_now(records):
            for record in records:
                append(record)
        records.clear()

    def _forward_when_written(self, out: bytes) -> None:
        if self._releasing is None:
            self._releasing = Releasing(self._trail, self.upstream, self._gate_of_client(), self._unwritten)
        self._releasing.add(out, self.shared.records)
        self.shared.records.clear()

    def _unwritten(self) -> None:
        text = "the gateway could not write its audit trail, so the statement was not run"
        self.end("audit-unavailable", fatal(self._trail.sqlstate_of_failure, text, "Tell your administrator."))

    def _upstream_data(self, data: bytes) -> None:
        if not self.ended:
            now = time.monotonic()
            self._from_upstream(self._upstream_side.feed(data, now), now)

    def _from_upstream(self, out: bytes, now: float) -> None:
        if out:
            size = len(out)
            self._account.bytes_out += size
            self._counters.bytes_to_clients += size
            self._client.write(out)
        shared = self.shared
        if shared.records:
            self._trail.note(shared.records)
            shared.records.clear()
        if shared.effects:
            act(self)
        if shared.volume is not None or self.answered is not None:
            look_at_volume(self)
        if self.client_side.waiting_for_replies and not self.ended:
            self.resume(self.client_side.resume(now))

    def go_on(self) -> None:
        """The client's side had more than it may do at once."""
        if not self.ended:
            self._look_at_trail()
            self.resume(self.client_side.go_on(time.monotonic()))

    def read_on(self) -> None:
        """The same of upstream's."""
        if not self.ended:
            now = time.monotonic()
            self._from_upstream(self._upstream_side.go_on(now), now)
            if not self._upstream_side.has_more:
                self._gate_of_upstream().open(Reason.ITS_TURN)

    def leave_for_later(self) -> None:
        """Nothing is read of upstream's until `read_on`."""
        self._gate_of_upstream().close(Reason.ITS_TURN)

    def resume(self, out: bytes) -> None:
        """The client's side goes on with what it had on hold: this may leave."""
        if not self.client_side.on_hold and self._client_gate is not None:
            self._client_gate.open(Reason.ON_HOLD)
        self._from_client(out)

    # -- back-pressure and loss ----------------------------------------------------------------------------------------

    def _gate_of_client(self) -> ReadGate:
        self._client_gate = gate = self._client_gate or ReadGate(self._client)
        return gate

    def _gate_of_upstream(self) -> ReadGate:
        self._upstream_gate = gate = self._upstream_gate or ReadGate(self.upstream)
        return gate

    def pause_writing(self) -> None:
        self._gate_of_upstream().close(Reason.OTHER_SIDE_FULL)

    def resume_writing(self) -> None:
        self._gate_of_upstream().open(Reason.OTHER_SIDE_FULL)

    def upstream_full(self) -> None:
        self._gate_of_client().close(Reason.OTHER_SIDE_FULL)

    def upstream_drained(self) -> None:
        self._gate_of_client().open(Reason.OTHER_SIDE_FULL)

    def eof_received(self) -> bool:
        """A client that closes while its query runs is gone; one that closes while idle has finished."""
        self._client_stopped()
        # TLS closes both ways, whatever is said here.
        return (self.quitting is not None or self.client_side.has_more) and not self._who.tls

    def connection_lost(self, exc: Exception | None) -> None:
        self._client_gone = True
        self._client_stopped(reset=exc is not None)
        self._side_closed()

    def _client_stopped(self, *, reset: bool = False) -> None:
        """It sends no more."""
        if self.client_side.has_more and not (reset or self.ended):
            asyncio.get_running_loop().call_soon(self._client_stopped)  # its Terminate may be among it
        elif self.quitting is None:  # else what it sent before its Terminate may finish, for a moment
            self.end("client vanished" if reset or self.shared.busy else "client quit", None)

    def upstream_lost(self) -> None:
        if self._upstream_side.has_more and not self.ended:
            asyncio.get_running_loop().call_soon(self.upstream_lost)  # its last words may be among it
            return
        if self._upstream_gone is not None:
            self._upstream_gone.set()
        self._seat.leave()
        if self.quitting is not None:
            self.end("client quit", None)
        elif self.shared.upstream_fatal:
            self.end(f"upstream ended the session ({self.shared.upstream_fatal})", None)
        else:
            text = "the database closed the connection"
            self.end("upstream lost", fatal(sqlstate.CONNECTION_FAILURE, text, "Connect again."))
        self._side_closed()

    def _side_closed(self) -> None:
        self._sides -= 1
        self._let_go()

    def _let_go(self) -> None:
        """Behind the end of both connections: nothing that the session holds refers to it any more, so that all is freed now.

        What waits for the collector of cycles would keep its TLS too, which is ten times as much and not counted there.
        """
        if self.ended and not self._sides:
            self.data_received = self.upstream_data = _discard  # type: ignore[method-assign]
            self.shared.let_go()

    @property
    def is_due(self) -> bool:
        return self.standing.is_due

    def attend(self) -> None:
        """What takes the clock: limits that are over, notices of an end that is near."""
        if self.ended or not is_attended(self.lease):
            return
        if self._attending is None:
            side = self._upstream_side
            asides = Asides(self._client, self.upstream, lambda: side.body_left)
            self._attending = Attending(self, self.worker, self.standing, self._account, self.shared, asides)
        self._attending.look()

    @property
    def waits(self) -> bool:
        """The client sent something that has not left yet."""
        return self.client_side.on_hold or bool(self._releasing)

    def cancel_overdue(self) -> None:
        """Stop the statement that runs for longer than it may."""
        self.cancel.request()

    def probe(self) -> None:
        """Nothing tells of a client that goes away while nobody reads from it."""
        unread = self.client_side.on_hold or (self._client_gate is not None and self._client_gate.closed)
        if not self.ended and unread and peer_is_gone(self._client):
            self._client_gone = True
            self.end("client vanished", None)

    # -- rights --------------------------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        worker = self.worker
        before = self.lease
        denial = self.standing.renew(worker.directory.snapshot) or why_revoked(self.lease.proof, worker.tls)
        if denial is not None:
            self.terminate(denial)
            return
        if self.lease.grant_id != before.grant_id:
            self._seat.move(self.lease)
            self.shared.event("grant_changed", carried(self.lease))
            self.record()
        self._adopt_policy()

    def _adopt_policy(self) -> None:
        """The one that is right now: what was judged before is judged again when it is used."""
        policies, hold = self.worker.policies, self._hold
        policy = policies.policy_of(self.lease, self._server_major, hold.now if hold is not None else None)
        self.shared.adopt(policies.in_force(policy))
        limited = self.worker.volume_of(self.lease)
        if limited is None or self.shared.volume is None or limited.limits != self.shared.volume.limits:
            self.shared.volume = limited

    def way_out(self, judged: Judged) -> str | None:
        """How a statement that was refused can be asked for, for its hint; None: that is to be sought."""
        worker = self.worker
        return worker.denied.way_out(worker.directory.snapshot, self.lease, judged, self.shared.facts.inline_bytes)

    def search_of(self, judged: Judged) -> Search:
        return self.worker.policies.search_of(judged, self.lease.target, self._server_major)

    def terminate(self, denial: Denial) -> None:
        """FATAL 57P01 whatever the reason: that is how a session ends that was once let in."""
        text = f"terminating connection: {denial.message}"
        self.end(denial.rule, fatal(sqlstate.ADMIN_SHUTDOWN, text, denial.hint, f"pgbastion rule: {denial.rule}"))

    def cancel_query(self) -> None:
        busy = self.shared.busy
        self._counters.cancels += 1
        self.shared.event("cancel", {"outcome": "sent" if busy else "nothing runs"})
        self.record()
        if busy:
            self.cancel.insist(partial(self._still_runs, self.shared.ledger.first_run))

    def _still_runs(self, statement: Entry | None) -> bool:
        return statement is not None and not self.ended and self.shared.ledger.first_run is statement

    def describe(self) -> Payload:
        return self._account.describe(self.lease, self.worker.number)

    # -- the end -------------------------------------------------------------------------------------------------------

    def end(self, reason: str, farewell: ErrorFields | None) -> None:
        """The one way out, whoever asks for it first."""
        if self.ended:
            return
        self.ended = True
        running = self.shared.busy
        partly_sent = self.client_side.mid_message
        self.client_side.drop()
        for part in (self._releasing, self._attending):
            if part is not None:
                part.close()
        if self.quitting is not None:
            self.quitting.cancel()
        if self.answered is not None:
            self.answered.set()
        self.worker.registry.remove(self, self._account.process_id)
        if self._hold is not None:
            self._hold.leave()
        self.shared.abandon_all(time.monotonic())
        kind = self._counters.ended(reason)
        if kind not in _USUAL_ENDS:
            _log.info("session ended", session=self.session_id, user=self.lease.user.name, kind=kind)
        self.shared.event("session_end", self._account.totals(reason))
        self.record()
        self._leave_upstream(running=running, partly_sent=partly_sent)
        words = build_error(farewell) if farewell is not None else b""
        left = self._upstream_side.body_left
        if left and words and self._upstream_gone is not None and left <= LONGEST_REST and not self._client_gone:
            LastWords(self.upstream, left, self._client, words)
        else:
            leave_client(self._client, b"" if left else words, gone=self._client_gone)
        self._let_go()

    def cut_upstream(self) -> None:
        if self.shared.busy:
            self.cancel.request()
        self.upstream.abort()

    def _leave_upstream(self, *, running: bool, partly_sent: bool) -> None:
        if partly_sent or self.upstream.is_closing():  # a COPY that stops in the middle fails by itself
            self.upstream.abort()
            return
        self.upstream.write(TERMINATE)
        if running:
            self._gate_of_upstream().open_for_good()
            self._upstream_gone = asyncio.Event()
            self.cancel.see_off(self.upstream, self._upstream_gone)
        else:
            self.upstream.close()
