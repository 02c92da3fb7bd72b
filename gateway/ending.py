"""The last resort of a process that is to end: whatever it hangs in, it is gone in time, and what it hung in is said."""

import asyncio
import contextlib
import faulthandler
import os
import sys
from collections.abc import AsyncIterator
from typing import Final, NoReturn

CLOSE_SECONDS: Final = 5.0
"""How long a process may take to close what it holds, once nobody is served any more."""

_TASKS_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 0.1


@contextlib.asynccontextmanager
async def alone_at_the_end() -> AsyncIterator[None]:
    """Around the whole of a program: afterwards no other task of its loop runs any more, or it is named on stderr.

    asyncio cancels what is left over once, and waits for it without end. A driver that was cancelled while it closes a connection
    may begin to wait for a thread that has ended meanwhile (aiosqlite); it hears the next time.
    """
    try:
        yield
    finally:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _TASKS_SECONDS
        while (left := asyncio.all_tasks() - {asyncio.current_task()}) and loop.time() < deadline:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_AGAIN_SECONDS)
        for task in left:
            print(f"pgbastion: still at work at the end: {task!r}", file=sys.stderr)


def end_within(seconds: float) -> None:
    """From now on this process ends within so many seconds: else by force, with status 1 and all threads' stacks on stderr.

    A clock of the operating system's does it, which needs neither the event loop nor the interpreter. Said again, it begins anew.
    """
    try:
        faulthandler.dump_traceback_later(seconds, exit=True)
    except (AttributeError, ValueError, OSError, RuntimeError):  # no standard error to write to
        with contextlib.suppress(ValueError, OSError):
            faulthandler.dump_traceback_later(seconds, exit=True, file=os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))


def leave(status: int) -> NoReturn:
    """End now. What the interpreter would do first, taking its objects apart and waiting for threads, is of no use to anybody.

    On a busy machine it took seconds. Everything that matters must be closed by now.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()
    os._exit(status)
