"""Judges large or deep texts in expendable child processes, so that no text can hold up or kill the gateway.

Ways out of refusals are sought there, too: that takes several judgements of one text.

A child is given one text at a time and a deadline. When it dies or is late, that text is refused and a fresh child takes its
place; nothing else is lost. What waits is bounded by count and bytes: beyond that, texts are refused at once.
"""

import asyncio
import contextlib
import math
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import gateway
from gateway.judging.codec import (
    CATALOGS_KEPT,
    LENGTH,
    CodecError,
    decode_reply,
    decode_sought,
    encode_catalog,
    encode_request,
    encode_search,
)
from gateway.judging.ways_out import Search, Sought
from gateway.statements.catalog import Catalog
from gateway.statements.policy import Policy, judge
from gateway.statements.verdict import Facts, Verdict

_MAX_WAITING: Final = 64
_MAX_SEARCHES: Final = 8  # wait for a child: nobody's statement shall be refused for them
_MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
_MEMORY_FLOOR_BYTES: Final = 512 * 1024 * 1024
# Twice what the worst texts were seen to need, in the parser and after it, per byte of text.
_MEMORY_PER_BYTE: Final = 800
_FIRST_START_SECONDS: Final = 60.0  # nobody waits for it yet, and the machine may be busy
_START_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 0.2

_TOO_COMPLEX: Final = "statement-too-complex"
_ROOT: Final = str(Path(gateway.__file__).resolve().parent.parent)

Done = Callable[[Verdict], None]
Found = Callable[[Sought | None], None]


@dataclass(slots=True)
class _Job:
    sql: bytes
    policy: Policy
    done: Done
    deadline: float  # on the loop's clock

    def request(self) -> bytes:
        return encode_request(self.sql, self.policy)

    def answer(self, payload: bytes) -> Callable[[], None]:
        """What is to be called with what came. Raises CodecError."""
        return self.refusal(decode_reply(payload))

    def refusal(self, verdict: Verdict) -> Callable[[], None]:
        """The same where nobody judged it."""
        return partial(self.done, verdict)


@dataclass(slots=True)
class _SearchJob:
    search: Search
    found: Found
    deadline: float

    @property
    def sql(self) -> bytes:
        return self.search.sql

    @property
    def policy(self) -> Policy:
        return self.search.policy

    def request(self) -> bytes:
        return encode_search(self.search)

    def answer(self, payload: bytes) -> Callable[[], None]:
        return partial(self.found, decode_sought(payload))

    def refusal(self, verdict: Verdict) -> Callable[[], None]:
        """What is too much for a child is not to be tried again; a busy one is."""
        return partial(self.found, Sought(None) if verdict.rule == _TOO_COMPLEX else None)


class Judge:
    """`start`, then `submit` from the loop's own thread, then `close`. Every `done` is called exactly once, on the loop."""

    def __init__(self, max_statement_bytes: int, timeout_seconds: float, children: int = 1) -> None:
        self._timeout = timeout_seconds
        self._memory = _MEMORY_FLOOR_BYTES + _MEMORY_PER_BYTE * max_statement_bytes
        self._max_waiting_bytes = max(8 * max_statement_bytes, 1024 * 1024)
        self._waiting: deque[_Job | _SearchJob] = deque()
        self._waiting_bytes = 0
        self._closed = False
        self._slots = [_Slot(self) for _ in range(children)]

    async def start(self) -> None:
        """Returns when every child is ready to judge. Raises OSError or TimeoutError when one cannot be started."""
        await asyncio.gather(*(slot.start() for slot in self._slots))

    async def close(self) -> None:
        """Ends the children; what was waiting is refused. Idempotent."""
        self._closed = True
        await asyncio.gather(*(slot.stop() for slot in self._slots))
        while self._waiting:
            self.finish(self._take().refusal(_busy("the gateway is shutting down")))

    def submit(self, sql: bytes, policy: Policy, done: Done) -> None:
        """Have `sql` judged. `done` is called before this returns only when its length decides, or nothing is judged any more."""
        if self._closed:
            done(_busy("the gateway is shutting down"))
            return
        if len(sql) > policy.max_statement_bytes:
            done(judge(sql, policy))  # refused by its length alone
            return
        job = _Job(sql, policy, done, self._deadline())
        if len(self._waiting) >= _MAX_WAITING or self._waiting_bytes + len(sql) > self._max_waiting_bytes:
            self.finish(job.refusal(_busy("too many large statements are waiting to be judged")))
            return
        self._enqueue(job)

    def seek(self, search: Search, found: Found) -> None:
        """Look for a refused text's way out. `found` is called later, in any case; with None when nobody had the time."""
        job = _SearchJob(search, found, self._deadline())
        if self._closed or len(self._waiting) >= _MAX_SEARCHES:
            self.finish(job.refusal(_busy("there are statements to be judged")))
            return
        self._enqueue(job)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout

    def _enqueue(self, job: _Job | _SearchJob) -> None:
        self._waiting.append(job)
        self._waiting_bytes += len(job.sql)
        for slot in self._slots:
            slot.wake.set()

    @property
    def waiting(self) -> int:
        """How many texts no child has taken yet."""
        return len(self._waiting)

    def take(self) -> _Job | _SearchJob | None:
        """The next job, for a child."""
        return self._take() if self._waiting else None

    def _take(self) -> _Job | _SearchJob:
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


class _Slot:
    """The place of one child: it starts it, feeds it, ends it, and starts the next."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.wake = asyncio.Event()
        self._process: Process | None = None
        self._sent: deque[str] = deque(maxlen=CATALOGS_KEPT)  # the revisions of the catalogs that this child has
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._spawn(_FIRST_START_SECONDS)
        self._task = asyncio.create_task(self._serve(), name="judge")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._end_child()

    async def _spawn(self, patience_seconds: float = _START_SECONDS) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._judge.command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={"PYTHONPATH": _ROOT, "LC_ALL": "C.UTF-8"},
            cwd="/",
            close_fds=True,
            start_new_session=True,
        )
        self._process = process
        self._sent.clear()
        try:
            async with asyncio.timeout(patience_seconds):
                await _read(process, LENGTH.size)
        except (TimeoutError, EOFError) as error:
            await self._end_child()
            raise OSError("a judging child did not start") from error

    async def _end_child(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def _serve(self) -> None:
        while True:
            job = self._judge.take()
            if job is None:
                self.wake.clear()
                await self.wake.wait()
                continue
            try:
                answer = await self._judge_one(job)
            except asyncio.CancelledError:
                self._judge.finish(job.refusal(_busy("the gateway is shutting down")))
                raise
            self._judge.finish(answer)
            if self._process is None:
                with contextlib.suppress(OSError):
                    await self._spawn()

    async def _judge_one(self, job: _Job | _SearchJob) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        if job.deadline <= loop.time():
            return job.refusal(_busy("the statement waited too long to be judged"))
        try:
            if self._process is None:
                await self._spawn()
            process = self._process
            if process is None:
                raise OSError("no child")
            async with asyncio.timeout_at(job.deadline):
                await self._send_catalog(process, job.policy.catalog)
                return job.answer(await _ask(process, job.request()))
        except TimeoutError:
            await self._end_child()
            return job.refusal(_too_complex("judging it took too long"))
        except EOFError:
            await self._end_child()
            return job.refusal(_too_complex("the parser gave up on it"))
        except (OSError, CodecError):
            await self._end_child()
            await asyncio.sleep(_RETRY_SECONDS)
            return job.refusal(_busy("no process to judge it in"))

    async def _send_catalog(self, process: Process, catalog: Catalog | None) -> None:
        """Ahead of the first request that needs it. Raises EOFError."""
        if catalog is not None and catalog.revision not in self._sent:
            frame = await asyncio.to_thread(encode_catalog, catalog)
            self._sent.append(catalog.revision)
            await _write(process, frame)


async def _ask(process: Process, request: bytes) -> bytes:
    await _write(process, request)
    (size,) = LENGTH.unpack(await _read(process, LENGTH.size))
    if size > _MAX_REPLY_BYTES:
        raise CodecError("reply too long")
    return await _read(process, size)


async def _write(process: Process, frame: bytes) -> None:
    """Raises EOFError when the child is gone."""
    assert process.stdin is not None  # noqa: S101  (we asked for pipes)
    try:
        process.stdin.write(frame)
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError) as error:
        raise EOFError from error


async def _read(process: Process, size: int) -> bytes:
    """Exactly `size` bytes of the child's output. Raises EOFError (IncompleteReadError) when it is gone."""
    assert process.stdout is not None  # noqa: S101
    return await process.stdout.readexactly(size)


def _too_complex(why: str) -> Verdict:
    return Verdict(
        False,
        _TOO_COMPLEX,
        Facts(""),
        "54001",
        f"the statement is too complex to be judged: {why} (rule statement-too-complex)",
        "Split it, or move long lists into a table or an array parameter.",
    )


def _busy(why: str) -> Verdict:
    return Verdict(
        False, "gateway-busy", Facts(""), "53400", f"gateway busy: {why} (rule gateway-busy)", "Try again in a moment."
    )
