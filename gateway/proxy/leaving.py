"""How a worker ends: told to stop, with the whole gateway; or told to retire, because a successor is at work.

Stopping refuses logins, those in the queue included, ends idle sessions at once and busy ones when they are done or the drain is
over. Retiring takes nobody new but lets logins that have begun succeed, and ends a session only once it has been idle for a while.
"""

import asyncio
from typing import Final

from gateway.access.model import Denial
from gateway.proxy.listener import Listener
from gateway.proxy.worker import Worker

_POLL_SECONDS: Final = 0.05
_RETIREMENT_POLL_SECONDS: Final = 0.2
_IDLE_SECONDS: Final = 1.0
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
        for session in list(sessions.values()):
            if hurry or not session.busy:
                session.terminate(_SHUTDOWN)
        await asyncio.sleep(_POLL_SECONDS)
    await last_call
    for _ in range(int(min(_ANSWER_SECONDS, patience_seconds) / _POLL_SECONDS)):
        if not worker.knocking.total:
            break
        await asyncio.sleep(_POLL_SECONDS)
    await asyncio.sleep(_POLL_SECONDS)  # farewells leave


async def retire(worker: Worker, listener: Listener, patience_seconds: float) -> None:
    """Returns when no session is left, and no login under way. May be cancelled, to `stop` instead."""
    clock = asyncio.get_running_loop().time
    began = clock()
    listener.stop()
    worker.ahead.close()
    sessions = worker.registry.sessions
    heard: dict[str, tuple[int, float]] = {}  # bytes of a session so far, and since when no more
    while (sessions or worker.knocking.total) and clock() - began <= patience_seconds:
        now = clock()
        for name, session in list(sessions.items()):
            if session.busy or heard.get(name, (-1, now))[0] != session.bytes_in:
                heard[name] = session.bytes_in, now
            elif now - heard[name][1] >= _IDLE_SECONDS:
                session.terminate(_RESTART)
        await asyncio.sleep(_RETIREMENT_POLL_SECONDS)
    for session in list(sessions.values()):
        session.terminate(_RESTART)
    await asyncio.sleep(_POLL_SECONDS)
