"""How a live session ends, whoever goes first: its client, upstream, or the gateway. All of it goes through `end`."""

import asyncio
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gateway.proxy.between_messages import LONGEST_REST, LastWords
from gateway.proxy.carrying import gate_of_upstream
from gateway.proxy.flow import leave_client, peer_is_gone
from gateway.session.effects import fatal
from gateway.wire import sqlstate
from gateway.wire.backend import ErrorFields, build_error
from gateway.wire.frontend import TERMINATE

if TYPE_CHECKING:
    from gateway.proxy.live import LiveSession

_last_words: Final = lru_cache(64)(build_error)  # many end for one reason


def end(session: "LiveSession", reason: str, farewell: ErrorFields | None) -> None:
    """The one way out, whoever asks for it first."""
    if session.ended:
        return
    session.ended = True
    running = session.shared.busy
    partly_sent = session.client_side.mid_message
    session.client_side.drop()
    for part in (session.releasing, session.attending):
        if part is not None:
            part.close()
    if session.quitting is not None:
        session.quitting.cancel()
    if session.answered is not None:
        session.answered.set()
    session.worker.registry.remove(session, session.account.process_id)
    if session.hold is not None:
        session.hold.leave()
    session.shared.abandon_all(time.monotonic())
    kind = session.worker.counters.ended(reason)
    session.worker.end_log.note(session.session_id, session.lease.user.name, kind)
    session.shared.event("session_end", session.account.totals(reason))
    session.record()
    _leave_upstream(session, running=running, partly_sent=partly_sent)
    words = _last_words(farewell) if farewell is not None else b""
    left = session.upstream_side.body_left
    if left and words and session.upstream_gone is not None and left <= LONGEST_REST and not session.client_gone:
        LastWords(session.upstream, left, session.client, words)
    else:
        leave_client(session.client, b"" if left else words, gone=session.client_gone)
    _let_go(session)


def cut_upstream(session: "LiveSession") -> None:
    """What it was sent must not go on: `end` follows."""
    if session.shared.busy:
        session.cancel.request()
    session.upstream.abort()


def client_stopped(session: "LiveSession", *, reset: bool = False) -> None:
    """It sends no more."""
    if session.client_side.has_more and not (reset or session.ended):
        asyncio.get_running_loop().call_soon(client_stopped, session)  # its Terminate may be among it
    elif session.quitting is None:  # else what it sent before its Terminate may finish, for a moment
        session.end("client vanished" if reset or session.shared.busy else "client quit", None)


def client_lost(session: "LiveSession", *, reset: bool) -> None:
    """Its connection is closed."""
    session.client_gone = True
    client_stopped(session, reset=reset)
    _side_closed(session)


def look_for_client(session: "LiveSession") -> None:
    """Nothing tells of a client that goes away while nobody reads from it."""
    unread = session.client_gate is not None and session.client_gate.closed
    if not session.ended and unread and peer_is_gone(session.client):
        session.client_gone = True
        session.end("client vanished", None)


def upstream_lost(session: "LiveSession") -> None:
    """Its connection is closed."""
    if session.upstream_side.has_more and not session.ended:
        asyncio.get_running_loop().call_soon(upstream_lost, session)  # its last words may be among it
        return
    if session.upstream_gone is not None:
        session.upstream_gone.set()
    session.seat.leave()
    if session.quitting is not None:
        session.end("client quit", None)
    elif session.shared.upstream_fatal:
        session.end(f"upstream ended the session ({session.shared.upstream_fatal})", None)
    else:
        text = "the database closed the connection"
        session.end("upstream lost", fatal(sqlstate.CONNECTION_FAILURE, text, "Connect again."))
    _side_closed(session)


def _leave_upstream(session: "LiveSession", *, running: bool, partly_sent: bool) -> None:
    if partly_sent or session.upstream.is_closing():  # a COPY that stops in the middle fails by itself
        session.upstream.abort()
        return
    session.upstream.write(TERMINATE)
    if running:
        gate_of_upstream(session).open_for_good()
        session.upstream_gone = asyncio.Event()
        session.cancel.see_off(session.upstream, session.upstream_gone)
    else:
        session.upstream.close()


def _side_closed(session: "LiveSession") -> None:
    session.open_sides -= 1
    _let_go(session)


def _let_go(session: "LiveSession") -> None:
    """Behind the end of both connections: nothing that the session holds refers to it any more, so that all is freed now.

    What waits for the collector of cycles would keep its TLS too, which is ten times as much and not counted there.
    """
    if session.ended and not session.open_sides:
        session.data_received = session.upstream_data = _discard  # type: ignore[method-assign]
        session.shared.let_go()


def _discard(data: bytes) -> None:
    """The session is over."""
