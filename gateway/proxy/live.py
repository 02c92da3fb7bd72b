"""A session that was let in: the shell around its sans-IO sides, and all that others know it by.

Its usual bytes pass here; what else becomes of them is in `carrying`, what they ask for in `acting`, by what right it stays in
`staying`, and how it ends in `parting`.
"""

import asyncio
import time

from gateway.access.model import Denial, Lease
from gateway.bus.lines import Payload
from gateway.proxy import acting, carrying, parting, staying
from gateway.proxy.account import Account
from gateway.proxy.attending import Attending, attend
from gateway.proxy.beginning import LONG_KEYS_MINOR, note_start, welcome
from gateway.proxy.cancel import UpstreamCancel
from gateway.proxy.carrying import from_client, from_upstream
from gateway.proxy.flow import ReadGate, Reason
from gateway.proxy.opening import Opened, converse
from gateway.proxy.releasing import Releasing
from gateway.proxy.standing import Introduction, Standing
from gateway.proxy.steady import steady_of
from gateway.proxy.upstream import HIGH_WATER
from gateway.proxy.worker import Worker
from gateway.session.client_side import ClientSide
from gateway.session.upstream_side import UpstreamSide
from gateway.session.verdicts import Judged
from gateway.wire.backend import ErrorFields


class LiveSession(asyncio.Protocol):
    """Implements registry.Session and upstream.Relay.

    `data_received` and `upstream_data` are the methods below, or the short way.
    """

    __slots__ = (
        "_cancel",
        "_who",
        "account",
        "answered",
        "attending",
        "backend",
        "cancel_key",
        "client",
        "client_gate",
        "client_gone",
        "client_side",
        "data_received",
        "ended",
        "hold",
        "open_sides",
        "quitting",
        "releasing",
        "seat",
        "server_major",
        "shared",
        "standing",
        "upstream",
        "upstream_data",
        "upstream_gate",
        "upstream_gone",
        "upstream_side",
        "worker",
    )

    def __init__(self, worker: Worker, who: Introduction, lease: Lease, opened: Opened, client: asyncio.Transport) -> None:
        self.cancel_key = b""  # until it is given one
        self.worker = worker
        self._who = who
        self.standing = Standing(who, lease)
        self.seat = opened.seat
        self.hold = opened.hold
        self.server_major = opened.server_major
        self.shared = shared = converse(worker, who.session_id, str(who.address), lease, opened)
        self.client_side = ClientSide(shared)
        self.upstream_side = UpstreamSide(shared)
        self.client = client
        self.upstream = opened.connection.transport
        self.backend = opened.seat.backend
        self._cancel: UpstreamCancel | None = None  # these three are made when they are needed
        self.client_gate: ReadGate | None = None
        self.upstream_gate: ReadGate | None = None
        self.releasing: Releasing | None = None  # what waits for the audit trail
        self.ended = False
        self.open_sides = 2  # whose connections are not closed yet
        self.client_gone = False
        self.upstream_gone: asyncio.Event | None = None  # while somebody waits for it
        self.answered: asyncio.Event | None = None  # while a statement is being stopped
        self.quitting: asyncio.TimerHandle | None = None  # once the client has said so
        self.account = Account(who, shared)
        self.attending: Attending | None = None
        steady = steady_of(self, shared, self.account, worker, client, self.upstream)
        if steady is None:
            self.data_received, self.upstream_data = self.client_data_at_length, self.upstream_data_at_length  # type: ignore[method-assign]
        else:
            self.data_received, self.upstream_data = steady.client_data, steady.upstream_data  # type: ignore[method-assign]
        shared.adviser = self
        client.set_write_buffer_limits(high=HIGH_WATER)
        if opened.hold is not None:
            opened.hold.follow(self)  # nothing fails between this and its place in the registry

    @property
    def session_id(self) -> str:
        return self._who.session_id

    @property
    def lease(self) -> Lease:
        return self.standing.lease

    @property
    def busy(self) -> bool:
        return self.account.busy

    @property
    def bytes_in(self) -> int:
        return self.account.bytes_in

    @property
    def cancel(self) -> UpstreamCancel:
        """For what runs upstream."""
        if self._cancel is None:
            self._cancel = UpstreamCancel(self.backend.place, self.backend.process_id, self.backend.key)
        return self._cancel

    @property
    def at_rest(self) -> bool:
        """Nothing is owed, on hold, half read, or waits to be written: the next request may take a short way."""
        shared = self.shared
        return (
            not (self.ended or self.releasing or shared.records or shared.effects or shared.audit_sqlstate or shared.name_lost)
            and not (shared.catalog_touched or shared.ledger.unusual or shared.ledger.busy or shared.ledger.swallowed_syncs)
            and shared.watched is None
            and self.client_side.at_rest
            and self.upstream_side.at_rest
        )

    def begin(self, opened: Opened, minor: int) -> bytes:
        """Records that it begins; returns what its client reads first. `minor`: of the protocol that the client speaks."""
        self.worker.counters.sessions_started += 1
        note_start(self.shared, self._who, self.lease, opened)
        self.record()
        key = self.worker.registry.new_key(self, long=minor >= LONG_KEYS_MINOR) if opened.welcome.key else None
        self.account.process_id = None if key is None else key[0]
        return welcome(self.worker, self.lease, opened, key)

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def client_data_at_length(self, data: bytes) -> None:
        worker = self.worker
        if worker.registry.unasked and not staying.stays(self):
            return
        size = len(data)
        self.account.bytes_in += size
        worker.counters.bytes_in += size
        shared, trail = self.shared, worker.trail
        if shared.audit_sqlstate or not trail.healthy:
            carrying.look_at_trail(self)
        out = self.client_side.feed(data, time.monotonic())
        if out is data and not self.ended and not self.releasing and not shared.effects and trail.write_now(shared.records):
            shared.records.clear()
            self.upstream.write(data)
        else:
            from_client(self, out)

    def upstream_data_at_length(self, data: bytes) -> None:
        if staying.stays(self) if self.worker.registry.unasked else not self.ended:
            now = time.monotonic()
            from_upstream(self, self.upstream_side.feed(data, now), now)

    def record(self) -> None:
        """To the audit: what the conversation has noted."""
        records, trail = self.shared.records, self.worker.trail
        if not trail.write_now(records):
            for record in records:
                trail.append(record)
        records.clear()

    def act(self) -> None:
        """What its sides asked for besides carrying bytes."""
        acting.act(self)

    def unwritten(self) -> None:
        """An audit record could not be written that bytes for upstream wait behind."""
        carrying.unwritten(self)

    def pause_writing(self) -> None:
        carrying.gate_of_upstream(self).close(Reason.OTHER_SIDE_FULL)

    def resume_writing(self) -> None:
        carrying.gate_of_upstream(self).open(Reason.OTHER_SIDE_FULL)

    def upstream_full(self) -> None:
        carrying.gate_of_client(self).close(Reason.OTHER_SIDE_FULL)

    def upstream_drained(self) -> None:
        carrying.gate_of_client(self).open(Reason.OTHER_SIDE_FULL)

    # -- rights, and the clock -----------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        staying.reconcile(self)

    def way_out(self, judged: Judged) -> str | None:
        return staying.way_out(self, judged)

    def terminate(self, denial: Denial) -> None:
        staying.terminate(self, denial)

    def cancel_query(self) -> None:
        staying.cancel_query(self)

    def describe(self) -> Payload:
        return self.account.describe(self.lease, self.worker.number)

    def attend(self) -> None:
        """What takes the clock: limits that are over, notices of an end that is near."""
        attend(self)

    # -- the end -------------------------------------------------------------------------------------------------------

    def end(self, reason: str, farewell: ErrorFields | None) -> None:
        """Once; later calls do nothing."""
        parting.end(self, reason, farewell)

    def eof_received(self) -> bool:
        """A client that closes while its query runs is gone; one that closes while idle has finished."""
        parting.client_stopped(self)
        # TLS closes both ways, whatever is said here.
        return (self.quitting is not None or self.client_side.has_more) and not self._who.tls

    def connection_lost(self, exc: Exception | None) -> None:
        parting.client_lost(self, reset=exc is not None)

    def upstream_lost(self) -> None:
        parting.upstream_lost(self)

    def probe(self) -> None:
        parting.look_for_client(self)
