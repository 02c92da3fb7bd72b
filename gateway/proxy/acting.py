"""What both sides of a live session ask for besides carrying bytes (see `effects`): carried out here, and answered."""

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from gateway.judging.ways_out import Sought
from gateway.proxy.addressed import answer
from gateway.proxy.carrying import go_on, leave_for_later, read_on, resume
from gateway.proxy.own_password import change_own_password
from gateway.proxy.parting import cut_upstream
from gateway.proxy.staying import search_of, stays, way_out
from gateway.session.addressed import FAILED
from gateway.session.effects import (
    AnswerAddressed,
    CatalogTouched,
    ChangeOwnPassword,
    ClientQuit,
    End,
    GoOn,
    JudgeElsewhere,
    NameAgain,
    ReadOn,
    SeekWayOut,
    StopStatement,
    fatal,
)
from gateway.statements.verdict import Verdict
from gateway.wire import sqlstate

if TYPE_CHECKING:
    from gateway.proxy.live import LiveSession

_QUIT_GRACE_SECONDS: Final = 0.5  # how long upstream may take to answer a Terminate
_log: Final = structlog.stdlib.get_logger("gateway.session")


def act(session: "LiveSession") -> None:
    """All that is asked for now."""
    shared = session.shared
    effects, shared.effects = shared.effects, ()
    for effect in effects:
        match effect:
            case ClientQuit():
                session.quitting = asyncio.get_running_loop().call_later(_QUIT_GRACE_SECONDS, session.end, "client quit", None)
            case JudgeElsewhere():
                shared.tally.judged_in_child += 1
                session.worker.judge.submit(effect.sql, effect.policy, partial(_judged, session, effect))
            case End():
                if effect.distrust:
                    cut_upstream(session)
                session.end(effect.reason, effect.farewell)
            case NameAgain() if session.client_side.mid_message:  # of a CopyData that nobody waits for
                cut_upstream(session)
                session.end("tripwire: application_name", None)
            case NameAgain() if shared.naming is not None:
                session.upstream.write(shared.naming.name_again)
            case StopStatement():
                session.answered = asyncio.Event()
                session.cancel.stop(session.answered, partial(_stopped, session))
            case SeekWayOut():
                session.worker.judge.seek(search_of(session, effect.judged), partial(_way_out_found, session, effect))
            case GoOn():
                asyncio.get_running_loop().call_soon(go_on, session)
            case ReadOn():
                leave_for_later(session)
                asyncio.get_running_loop().call_soon(read_on, session)
            case CatalogTouched():
                session.worker.catalog_touched(session.lease.target.id)
            case AnswerAddressed():
                task = asyncio.create_task(_answer(session, effect), name=f"answer {session.session_id}")
                session.worker.keep(task)
            case ChangeOwnPassword():
                session.standing.changing_password()
                task = asyncio.create_task(_change_password(session, effect), name=f"password {session.session_id}")
                session.worker.keep(task)


def _stopped(session: "LiveSession") -> None:
    """No cancel of ours can hit anything any more."""
    session.answered = None
    watched = session.shared.watched
    if watched is not None and stays(session):
        watched.cancel_over()
        resume(session, session.client_side.resume(time.monotonic()))


def _judged(session: "LiveSession", effect: JudgeElsewhere, verdict: Verdict) -> None:
    if stays(session):
        resume(session, session.client_side.judged(effect, verdict, time.monotonic()))


def _way_out_found(session: "LiveSession", effect: SeekWayOut, sought: Sought | None) -> None:
    if sought is not None:
        session.worker.denied.learn(effect.judged, sought)
    if stays(session):
        resume(session, session.client_side.way_out_found(effect, way_out(session, effect.judged) or "", time.monotonic()))


async def _change_password(session: "LiveSession", effect: ChangeOwnPassword) -> None:
    try:
        verdict = await change_own_password(session.worker, session.session_id, session.lease, effect)
    except Exception:  # else the client would wait for good, and its old password stand
        _log.exception("a person's own password could not be changed", session=session.session_id)
        session.standing.password_changed(done=False)
        text = "the gateway could not change your password"
        session.end("undecided", fatal(sqlstate.ADMIN_SHUTDOWN, text, "Connect again."))
        return
    session.standing.password_changed(done=verdict.allowed)
    if not session.ended:
        session.worker.registry.ask(session)
    if not session.ended:
        resume(session, session.client_side.password_changed(effect, verdict, time.monotonic()))


async def _answer(session: "LiveSession", effect: AnswerAddressed) -> None:
    try:
        said = await answer(session, effect)
    except Exception:  # else the client would wait for good
        _log.exception("a statement for the gateway was not answered", session=session.session_id)
        said = FAILED
    if stays(session):
        resume(session, session.client_side.answered(effect, said, time.monotonic()))
