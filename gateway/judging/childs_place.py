"""The place of one judging child: it starts it, feeds it, ends it, and starts the next."""

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import gateway
from gateway.judging.codec import CATALOGS_KEPT, LENGTH, CodecError, encode_catalog
from gateway.judging.jobs import Job, SearchJob, busy, too_complex
from gateway.statements.catalog import Catalog

if TYPE_CHECKING:
    from gateway.judging.judge import Judge

_MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
_FIRST_START_SECONDS: Final = 60.0  # nobody waits for it yet, and the machine may be busy
_START_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 0.2
_ROOT: Final = str(Path(gateway.__file__).resolve().parent.parent)


class ChildsPlace:
    """`wake` is set when there may be a job."""

    def __init__(self, judge: "Judge") -> None:
        self._judge = judge
        self.wake = asyncio.Event()
        self._process: Process | None = None
        self._sent: deque[str] = deque(maxlen=CATALOGS_KEPT)  # the revisions of the catalogs that this child has
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when the child is ready. Raises OSError or TimeoutError when it cannot be started."""
        await self._spawn(_FIRST_START_SECONDS)
        self._task = asyncio.create_task(self._serve(), name="judge")

    async def stop(self) -> None:
        """Ends the child; what it was at is refused."""
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
                self._judge.finish(job.refusal(busy("the gateway is shutting down")))
                raise
            self._judge.finish(answer)
            if self._process is None:
                with contextlib.suppress(OSError):
                    await self._spawn()

    async def _judge_one(self, job: Job | SearchJob) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        if job.deadline <= loop.time():
            return job.refusal(busy("the statement waited too long to be judged"))
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
            return job.refusal(too_complex("judging it took too long"))
        except EOFError:
            await self._end_child()
            return job.refusal(too_complex("the parser gave up on it"))
        except (OSError, CodecError):
            await self._end_child()
            await asyncio.sleep(_RETRY_SECONDS)
            return job.refusal(busy("no process to judge it in"))

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
