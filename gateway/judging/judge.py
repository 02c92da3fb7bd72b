"""Judges large or deep texts in expendable child processes, so that no text can hold up or kill the gateway.

Ways out of refusals are sought there, too: that takes several judgements of one text.

A child is given one text at a time and a deadline. When it dies or is late, that text is refused and a fresh child takes its
place; nothing else is lost. What waits is bounded by count and bytes: beyond that, texts are refused at once.
"""

import asyncio
import math
import sys
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.judging.childs_place import ChildsPlace
from gateway.judging.jobs import Done, Found, Job, SearchJob, busy
from gateway.judging.ways_out import Search
from gateway.statements.policy import Policy, judge

_MAX_WAITING: Final = 64
_MAX_SEARCHES: Final = 8  # wait for a child: nobody's statement shall be refused for them
_MEMORY_FLOOR_BYTES: Final = 512 * 1024 * 1024
# Twice what the worst texts were seen to need, in the parser and after it, per byte of text.
_MEMORY_PER_BYTE: Final = 800


class Judge:
    """`start`, then `submit` from the loop's own thread, then `close`. Every `done` is called exactly once, on the loop."""

    def __init__(self, max_statement_bytes: int, timeout_seconds: float, children: int = 1) -> None:
        self._timeout = timeout_seconds
        self._memory = _MEMORY_FLOOR_BYTES + _MEMORY_PER_BYTE * max_statement_bytes
        self._max_waiting_bytes = max(8 * max_statement_bytes, 1024 * 1024)
        self._waiting: deque[Job | SearchJob] = deque()
        self._waiting_bytes = 0
        self._closed = False
        self._places = [ChildsPlace(self) for _ in range(children)]

    async def start(self) -> None:
        """Returns when every child is ready to judge. Raises OSError or TimeoutError when one cannot be started."""
        await asyncio.gather(*(place.start() for place in self._places))

    async def close(self) -> None:
        """Ends the children; what was waiting is refused. Idempotent."""
        self._closed = True
        await asyncio.gather(*(place.stop() for place in self._places))
        while self._waiting:
            self.finish(self._take().refusal(busy("the gateway is shutting down")))

    def submit(self, sql: bytes, policy: Policy, done: Done) -> None:
        """Have `sql` judged. `done` is called before this returns only when its length decides, or nothing is judged any more."""
        if self._closed:
            done(busy("the gateway is shutting down"))
            return
        if len(sql) > policy.max_statement_bytes:
            done(judge(sql, policy))  # refused by its length alone
            return
        job = Job(sql, policy, done, self._deadline())
        if len(self._waiting) >= _MAX_WAITING or self._waiting_bytes + len(sql) > self._max_waiting_bytes:
            self.finish(job.refusal(busy("too many large statements are waiting to be judged")))
            return
        self._enqueue(job)

    def seek(self, search: Search, found: Found) -> None:
        """Look for a refused text's way out. `found` is called later, in any case; with None when nobody had the time."""
        job = SearchJob(search, found, self._deadline())
        if self._closed or len(self._waiting) >= _MAX_SEARCHES:
            self.finish(job.refusal(busy("there are statements to be judged")))
            return
        self._enqueue(job)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout

    def _enqueue(self, job: Job | SearchJob) -> None:
        self._waiting.append(job)
        self._waiting_bytes += len(job.sql)
        for place in self._places:
            place.wake.set()

    @property
    def waiting(self) -> int:
        """How many texts no child has taken yet."""
        return len(self._waiting)

    def take(self) -> Job | SearchJob | None:
        """The next job, for a child."""
        return self._take() if self._waiting else None

    def _take(self) -> Job | SearchJob:
        job = self._waiting.popleft()
        self._waiting_bytes -= len(job.sql)
        return job

    def finish(self, tell: Callable[[], None]) -> None:
        """Hand an answer over. What the receiver raises is its own loop's matter, and never stops judging."""
        asyncio.get_running_loop().call_soon(tell)

    @property
    def command(self) -> tuple[str, ...]:
        cpu_seconds = math.ceil(self._timeout)
        return (sys.executable, "-P", "-m", "gateway.judging.child", str(cpu_seconds), str(self._memory))
