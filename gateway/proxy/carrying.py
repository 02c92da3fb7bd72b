"""What a live session's sides let pass is sent on: to upstream behind its audit records, to the client as it comes.

What leaves for upstream behind an audit record leaves only when the trail says that the record is written; bytes behind such
bytes queue with them, in order.
"""

import time
from typing import TYPE_CHECKING, Final

from gateway.proxy.day_counts import HURRY_BYTES
from gateway.proxy.flow import ReadGate, Reason
from gateway.proxy.releasing import Releasing
from gateway.proxy.staying import stays
from gateway.session.effects import fatal

if TYPE_CHECKING:
    from gateway.proxy.live import LiveSession

_HELD_LIMIT: Final = 256 * 1024


def from_client(session: "LiveSession", out: bytes) -> None:
    """Send on what a client-side call returned, behind its audit records; then do what else it asked for."""
    shared = session.shared
    if session.ended:
        return
    records = shared.records
    if out and not session.releasing and (not records or session.worker.trail.write_now(records)):
        records.clear()
        session.upstream.write(out)
    elif out:
        _forward_when_written(session, out)
    elif shared.records:
        session.record()
    if shared.effects:
        session.act()
    if not out and session.client_side.held_bytes > _HELD_LIMIT:  # on hold, nothing leaves
        gate_of_client(session).close(Reason.ON_HOLD)


def from_upstream(session: "LiveSession", out: bytes, now: float) -> None:
    """The same of an upstream-side call. What it let the client's side go on with goes on."""
    if out:
        size = len(out)
        session.account.bytes_out += size
        session.worker.counters.bytes_out += size
        session.client.write(out)
    shared = session.shared
    if shared.records:
        session.worker.trail.note(shared.records)
        shared.records.clear()
    if shared.effects:
        session.act()
    if shared.volume is not None or session.answered is not None:
        _look_at_volume(session)
    if session.client_side.waiting_for_replies and not session.ended:
        resume(session, session.client_side.resume(now))


def resume(session: "LiveSession", out: bytes) -> None:
    """The client's side goes on with what it had on hold: this may leave."""
    if not session.client_side.on_hold and session.client_gate is not None:
        session.client_gate.open(Reason.ON_HOLD)
    from_client(session, out)


def go_on(session: "LiveSession") -> None:
    """The client's side had more than it may do at once."""
    if stays(session):
        look_at_trail(session)
        resume(session, session.client_side.go_on(time.monotonic()))


def leave_for_later(session: "LiveSession") -> None:
    """Nothing is read of upstream's until `read_on`."""
    gate_of_upstream(session).close(Reason.ITS_TURN)


def read_on(session: "LiveSession") -> None:
    """Upstream's side had more than it may do at once."""
    if stays(session):
        now = time.monotonic()
        from_upstream(session, session.upstream_side.go_on(now), now)
        if not session.upstream_side.has_more:
            gate_of_upstream(session).open(Reason.ITS_TURN)


def look_at_trail(session: "LiveSession") -> None:
    """Whether statements can be written down, before the client's side decides on any."""
    session.shared.audit_sqlstate = "" if session.worker.trail.healthy else session.worker.trail.sqlstate_of_failure


def gate_of_client(session: "LiveSession") -> ReadGate:
    gate = session.client_gate
    if gate is None:
        gate = session.client_gate = ReadGate(session.client)
        if not session.ended:
            session.worker.registry.gated[session.session_id] = session
    return gate


def gate_of_upstream(session: "LiveSession") -> ReadGate:
    session.upstream_gate = gate = session.upstream_gate or ReadGate(session.upstream)
    return gate


def _forward_when_written(session: "LiveSession", out: bytes) -> None:
    if session.releasing is None:
        session.releasing = Releasing(session.worker.trail, session.upstream, gate_of_client(session), session.unwritten)
    session.releasing.add(out, session.shared.records)
    session.shared.records.clear()


def unwritten(session: "LiveSession") -> None:
    """What waits behind a record that could not be written never leaves."""
    text = "the gateway could not write its audit trail, so the statement was not run"
    session.end("audit-unavailable", fatal(session.worker.trail.sqlstate_of_failure, text, "Tell your administrator."))


def _look_at_volume(session: "LiveSession") -> None:
    """After a reply under limits, or one that was cut."""
    volume = session.shared.volume
    if volume is not None and volume.day is not None and volume.day.unreported > HURRY_BYTES:
        session.worker.day_counts.hurry()
    if session.answered is not None and ((watched := session.shared.watched) is None or watched.answered):
        session.answered.set()
