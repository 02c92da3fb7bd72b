"""By what right a live session stays, asked again whenever that may have changed; what it may run; and that it must stop."""

from functools import lru_cache, partial
from typing import TYPE_CHECKING

from gateway.access.model import Denial
from gateway.judging.ways_out import Search
from gateway.proxy.client_certificates import why_revoked
from gateway.proxy.standing import carried
from gateway.session.effects import fatal
from gateway.session.ledger import Entry
from gateway.session.verdicts import Judged
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields

if TYPE_CHECKING:
    from gateway.proxy.live import LiveSession


def stays(session: "LiveSession") -> bool:
    """Whether it may go on now. Rights may have changed, and its turn to be asked again not have come: then it is asked here."""
    registry = session.worker.registry
    if session.session_id in registry.unasked:
        registry.ask(session)
    return not session.ended


def reconcile(session: "LiveSession") -> None:
    """As of the snapshot that is now: it goes on, perhaps under another grant, or it is terminated."""
    worker = session.worker
    before = session.lease
    denial = session.standing.renew(worker.directory.snapshot) or why_revoked(session.lease.proof, worker.tls)
    if denial is not None:
        terminate(session, denial)
        return
    if session.lease.grant_id != before.grant_id:
        session.seat.move(session.lease)
        session.shared.event("grant_changed", carried(session.lease))
        session.record()
    adopt_policy(session)


def adopt_policy(session: "LiveSession") -> None:
    """The one that is right now: what was judged before is judged again when it is used."""
    policies, hold = session.worker.policies, session.hold
    policy = policies.policy_of(session.lease, session.server_major, hold.now if hold is not None else None)
    session.shared.adopt(policies.in_force(policy))
    limited = session.worker.volume_of(session.lease)
    if limited is None or session.shared.volume is None or limited.limits != session.shared.volume.limits:
        session.shared.volume = limited


def way_out(session: "LiveSession", judged: Judged) -> str | None:
    """How a statement that was refused can be asked for, for its hint; None: that is to be sought."""
    worker = session.worker
    return worker.denied.way_out(worker.directory.snapshot, session.lease, judged, session.shared.facts.inline_bytes)


def search_of(session: "LiveSession", judged: Judged) -> Search:
    """Where the child seeks what `way_out` does not know."""
    return session.worker.policies.search_of(judged, session.lease.target, session.server_major)


def terminate(session: "LiveSession", denial: Denial) -> None:
    """FATAL 57P01 whatever the reason: that is how a session ends that was once let in."""
    session.end(denial.rule, _farewell(denial))


@lru_cache(64)
def _farewell(denial: Denial) -> ErrorFields:
    text = f"terminating connection: {denial.message}"
    return fatal(sqlstate.ADMIN_SHUTDOWN, text, denial.hint, f"pgbastion rule: {denial.rule}")


def cancel_query(session: "LiveSession") -> None:
    """What runs now, if anything does; it is asked again while that still runs."""
    busy = session.shared.busy
    session.worker.counters.cancels += 1
    session.shared.event("cancel", {"outcome": "sent" if busy else "nothing runs"})
    session.record()
    if busy:
        session.cancel.insist(session.shared.ledger.first_run, partial(_running, session))


def _running(session: "LiveSession") -> Entry | None:
    return None if session.ended else session.shared.ledger.first_run
