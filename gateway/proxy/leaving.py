"""How a worker ends: told to stop, with the whole gateway; or told to retire, because a successor is at work.

Stopping refuses logins, those in the queue included, ends idle sessions at once and busy ones when they are done or the drain is
over. Retiring takes nobody new but lets logins that have begun succeed, and ends a session only once it has been idle for a while.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from gateway.access.model import Denial
from gateway.proxy.knocking import login_seconds
from gateway.proxy.listener import Listener
from gateway.proxy.turns import in_turns
from gateway.proxy.worker import Worker

_POLL_SECONDS: Final = 0.05
_RETIREMENT_POLL_SECONDS: Final = 0.2
_IDLE_LOOKS: Final = 5
_IDLE_LOOKS_AT_FIRST: Final = 15
_ANSWER_SECONDS: Final = 1.0  # for clients that are being told that they cannot log in now

_SHUTDOWN: Final = Denial("shutdown", "57P01", "the gateway is shutting down", "Connect again in a moment.")
_RESTART: Final = Denial("shutdown", "57P01", "this part of the gateway is being restarted", "Connect again: it works at once.")


async def stop(worker: Worker, listener: Listener, patience_seconds: float) -> None:
    """Returns when no session is left."""
    clock = asyncio.get_running_loop().time
    began = clock()
    worker.draining = True
    worker.ahead.close()
    last_call = asyncio.create_task(listener.finish(), name="last call")
    sessions = worker.registry.sessions
    while sessions:
        hurry = clock() - began > patience_seconds
        async for session in in_turns(list(sessions.values())):
            if hurry or not session.busy:
                session.terminate(_SHUTDOWN)
        await asyncio.sleep(_POLL_SECONDS)
    await last_call
    for _ in range(int(min(_ANSWER_SECONDS, patience_seconds) / _POLL_SECONDS)):
        if not worker.knocking.total:
            break
        await asyncio.sleep(_POLL_SECONDS)
    await asyncio.sleep(_POLL_SECONDS)  # farewells leave


async def retire(worker: Worker, listener: Listener) -> None:
    """Returns when no session is left, and no login under way. May be cancelled, to `stop` instead.

    Each session has `drain_seconds` from when it is first seen here: those too that were logging in when this began.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    listener.stop()
    worker.ahead.close()
    sessions = worker.registry.sessions
    seen: dict[str, _Seen] = {}
    while sessions or (worker.knocking.total and clock() - began <= login_seconds(worker.settings)):
        patience = worker.settings.listen.drain_seconds
        async for session in in_turns(list(sessions.values())):
            known = seen.setdefault(session.session_id, _Seen(clock()))
            if known.is_idle(busy=session.busy, bytes_in=session.bytes_in) or clock() - known.since > patience:
                session.terminate(_RESTART)
        await asyncio.sleep(_RETIREMENT_POLL_SECONDS)
    await asyncio.sleep(_POLL_SECONDS)


@dataclass(slots=True)
class _Seen:
    """What was seen of a session, and since when. Looks are counted, not timed: who got no CPU for a while did not listen."""

    since: float
    bytes_in: int = -1
    quiet: int = 0

    def is_idle(self, *, busy: bool, bytes_in: int) -> bool:
        """It has long said nothing. Who was only just let in is given longer to begin."""
        self.quiet = 0 if busy or bytes_in != self.bytes_in else self.quiet + 1
        self.bytes_in = bytes_in
        return self.quiet >= (_IDLE_LOOKS if bytes_in else _IDLE_LOOKS_AT_FIRST)
