"""The audit trail of one worker: records are on their way to disk before the bytes they speak of leave.

All records of one turn of the event loop are one write(2), so that a SIGKILL loses nothing that was acted on. With durability
"fsync" a thread syncs the file, and everything that was written while it did so shares the next sync (group commit).

When a write or sync fails, nothing is released any more. Records are kept, up to a bound, and tried again every second; the
record `trail_recovered` then says for how long and how many were dropped. A record may stand twice after a failed sync:
`worker` and `seq` name it.
"""

import asyncio
import contextlib
import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

import structlog

from gateway.audit.events import event
from gateway.proxy.audit_file import Action, AuditFile, AuditFileError, Sync, archive
from gateway.proxy.audit_recovery import end_crashed_sessions

__all__ = ["AuditFileError", "AuditTrail"]

_RETRY_SECONDS: Final = 1.0
_LAZY_SYNC_SECONDS: Final = 0.5  # for records that nobody waits for
_NOTE_SECONDS: Final = 0.005
_MAX_KEPT_BYTES: Final = 8 * 1024 * 1024

_log: Final = structlog.stdlib.get_logger("gateway.audit")


class AuditTrail:
    """Implements ports.AuditSink. Raises AuditFileError when the file cannot be opened."""

    def __init__(
        self,
        directory: Path,
        worker: int,
        durability: Literal["write", "fsync"],
        rotate_bytes: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._file = AuditFile(directory, worker)
        self._worker = worker
        self._seq = self._file.last_seq
        self._syncs = durability == "fsync"
        self._rotate_bytes = self._rotate_at = rotate_bytes
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit-sync")
        self._bodies: list[bytes] = []
        self._releases: list[Action] = []
        self._scheduled = False
        self._later: asyncio.TimerHandle | None = None
        self.healthy = True
        self._closing = False
        self._closed = False
        self.sqlstate_of_failure = "58030"  # what a refused statement should say: 53100 when the disk is full
        self._second, self._second_text = 0, ""
        # Failed: lines kept for the next try.
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._dropped = 0
        self._failed_at = 0.0
        self._retry: asyncio.TimerHandle | None = None
        # fsync: written, not yet on disk. A sync takes both lists.
        self._unsynced: list[bytes] = []
        self._waiting: list[Action] = []
        self._syncing: Sync | None = None
        self._lazy_sync: asyncio.TimerHandle | None = None
        if self._file.torn_bytes:
            self.append(event("trail_repaired", {"torn_bytes": self._file.torn_bytes}))
        for body in end_crashed_sessions(self._file.paths()):
            self.append(body)

    def append(self, body: bytes) -> None:
        self._bodies.append(body)
        if not self._scheduled:
            self._schedule()

    def submit(self, bodies: list[bytes], action: Action) -> None:
        self._bodies += bodies
        self._releases.append(action)
        if not self._scheduled:
            self._schedule()

    def note(self, bodies: list[bytes]) -> None:
        self._bodies += bodies
        if self._closed:
            self._flush()
        elif not self._scheduled and self._later is None and not self._closing:
            self._later = self._loop.call_later(_NOTE_SECONDS, self._flush_notes)

    def _flush_notes(self) -> None:
        self._later = None
        if self._bodies and not self._scheduled:
            self._flush()

    def release(self, action: Action) -> None:
        self._releases.append(action)
        if not self._scheduled:
            self._schedule()

    def close(self) -> None:
        """Write (and sync) what is left, blocking; works without a running loop. Afterwards nothing is written any more."""
        if self._closed:
            return
        self._closing = True  # from here on syncs run in the foreground
        self._cancel_timers()
        self._thread.shutdown(wait=True)
        if self._syncing is not None:
            self._synced(self._syncing)
        if not self.healthy:
            self._recover()
        while self._bodies or self._releases:
            self._flush()
        if self._unsynced:
            self._start_sync()
        self._cancel_timers()
        if not self.healthy:
            _log.error("audit records lost at the end", bytes=self._kept_bytes, records_dropped=self._dropped)
        self._closed = True
        self._file.close()

    def _schedule(self) -> None:
        self._scheduled = True
        if self._closed:
            self._flush()
        elif not self._closing:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        bodies, self._bodies = self._bodies, []
        releases, self._releases = self._releases, []
        self._scheduled = False
        if self._closed:
            if bodies:
                _log.error("audit records after the trail was closed", count=len(bodies))
            _run(releases, written=False)
            return
        if bodies:
            lines = self._format(bodies)
            if self.healthy:
                self._write(lines)
            else:
                self._keep(lines, len(bodies))
        if not self._syncs:
            _run(releases, written=self.healthy)
            if self._file.size >= self._rotate_at and (former := self._rotate()) is not None:
                self._archive(former)
            return
        self._waiting += releases
        if self._syncing is None:
            self._after_write()

    def _format(self, bodies: list[bytes]) -> bytes:
        """Whole lines. The clocks are read and printed once for all of them."""
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        at = f"{self._second_text}.{nanoseconds // 1000:06d}Z"
        head = f'{{"at":"{at}","mono":{time.monotonic():.6f},"worker":{self._worker},"seq":'.encode()
        first = self._seq + 1
        self._seq += len(bodies)
        return b"".join([b"%b%d,%b}\n" % (head, seq, body) for seq, body in enumerate(bodies, first)])

    def _write(self, lines: bytes) -> None:
        try:
            self._file.write(lines)
        except OSError as error:
            self._fail(error)
            self._keep(lines, lines.count(b"\n"))
            return
        if self._syncs:
            self._unsynced.append(lines)

    def _rotate(self) -> int | None:
        """The former file's descriptor, to be synced and closed by the thread; None: not rotated."""
        try:
            former = self._file.rotate(self._seq)
        except (OSError, AuditFileError) as error:
            _log.warning("audit file not rotated", reason=str(error))
            self._rotate_at = self._file.size + self._rotate_bytes
            return None
        self._rotate_at = self._rotate_bytes
        return former

    def _archive(self, former: int) -> None:
        if self._closing:
            archive(former, self._file)
        else:
            self._thread.submit(archive, former, self._file)

    # --- fsync

    def _after_write(self) -> None:
        """No sync is running: begin the next one, or answer who waits."""
        if not self.healthy:
            waiting, self._waiting = self._waiting, []
            _run(waiting, written=False)
        elif self._waiting and not self._unsynced:
            waiting, self._waiting = self._waiting, []
            _run(waiting, written=True)
        elif self._waiting:
            self._start_sync()
        elif self._unsynced and self._lazy_sync is None and not self._closing:
            self._lazy_sync = self._loop.call_later(_LAZY_SYNC_SECONDS, self._sync_lazily)

    def _sync_lazily(self) -> None:
        self._lazy_sync = None
        if self._syncing is None and self._unsynced and self.healthy:
            self._start_sync()

    def _start_sync(self, *, recovers: bool = False) -> None:
        if self._lazy_sync is not None:
            self._lazy_sync.cancel()
            self._lazy_sync = None
        former = self._rotate() if self._file.size >= self._rotate_at else None
        sync = self._syncing = Sync(self._file, self._file.fd, former, self._unsynced, self._waiting, recovers)
        self._unsynced, self._waiting = [], []
        if self._closing:
            sync.run()
            self._synced(sync)
        else:
            self._thread.submit(self._sync_in_thread, sync)

    def _sync_in_thread(self, sync: Sync) -> None:
        sync.run()
        with contextlib.suppress(RuntimeError):  # the loop is gone: close() does the rest
            self._loop.call_soon_threadsafe(self._synced, sync)

    def _synced(self, sync: Sync) -> None:
        if self._syncing is not sync:  # close() was quicker
            return
        self._syncing = None
        if sync.failure is not None:
            # The kernel may have forgotten these pages: only writing them again, elsewhere, makes them sure.
            self._fail(sync.failure)
            self._kept[:0] = [*sync.lines, *self._unsynced]
            self._kept_bytes = sum(map(len, self._kept))
            self._unsynced = []
            if (former := self._rotate()) is not None:
                os.close(former)
        elif sync.recovers:
            self._succeed()
        _run(sync.actions, written=sync.failure is None)
        if self._syncing is None:
            self._after_write()

    # --- failure and recovery

    def _fail(self, error: OSError) -> None:
        self.sqlstate_of_failure = "53100" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "58030"
        if self.healthy:
            self.healthy = False
            self._failed_at = time.monotonic()
            with contextlib.suppress(OSError):  # what fills the disk of the trail may fill that of the log
                _log.error("audit trail cannot be written: statements are refused", reason=error.strerror)
        self._schedule_retry()

    def _schedule_retry(self) -> None:
        if self._retry is None and not self._closing:
            self._retry = self._loop.call_later(_RETRY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if not self.healthy and self._syncing is None:
            self._recover()
        if not self.healthy:
            self._schedule_retry()

    def _keep(self, lines: bytes, count: int) -> None:
        if self._kept_bytes + len(lines) > _MAX_KEPT_BYTES:
            self._dropped += count  # their numbers are missing in the trail
            return
        self._kept.append(lines)
        self._kept_bytes += len(lines)

    def _recover(self) -> None:
        """Write what was kept and a record that says what happened; that it can be written is the proof of recovery."""
        seconds = round(time.monotonic() - self._failed_at, 3)
        seq = self._seq
        probe = self._format([event("trail_recovered", {"seconds": seconds, "records_dropped": self._dropped})])
        lines = b"".join(self._kept) + probe
        try:
            self._file.write(lines)
        except OSError as error:
            self._seq = seq
            self._fail(error)
            return
        self._kept, self._kept_bytes, self._dropped = [], 0, 0
        if self._syncs:
            self._unsynced.append(lines)
            self._start_sync(recovers=True)
        else:
            self._succeed()

    def _succeed(self) -> None:
        self.healthy = True
        with contextlib.suppress(OSError):
            _log.info("audit trail is written again")
        kept, dropped = self._kept, self._dropped  # what came while the recovery was synced
        self._kept, self._kept_bytes, self._dropped = [], 0, 0
        if kept:
            self._write(b"".join(kept))
        if dropped:
            self.append(event("trail_dropped", {"records_dropped": dropped}))

    def _cancel_timers(self) -> None:
        for timer in (self._retry, self._lazy_sync, self._later):
            if timer is not None:
                timer.cancel()
        self._retry = self._lazy_sync = self._later = None


def _run(actions: list[Action], *, written: bool) -> None:
    for action in actions:
        try:
            action(written)
        except Exception:
            # One session's fault must not keep the others' statements back.
            _log.exception("audit release failed")
