"""The audit trail of one worker: records are written before the bytes they speak of leave.

With a journal (see audit_journal) a record is written in the call that brings it; the journal is drained into the file some
milliseconds later. Without one, all records of one turn of the event loop are one write(2). Either way a SIGKILL loses nothing
that was acted on. `SyncedAuditTrail` also waits for the disk.

When the file cannot be written, nothing is released any more. Records are kept, up to a bound, and tried again every second; the
record `trail_recovered` then says for how long and how many were dropped. What the journal holds is safe meanwhile.
"""

import asyncio
import contextlib
import errno
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import structlog

from gateway.audit.events import event
from gateway.proxy.audit_copies import Copies
from gateway.proxy.audit_file import Action, AuditFile, AuditFileError, archive, run_actions
from gateway.proxy.audit_journal import Outlet, PureJournal, empty_journal
from gateway.proxy.audit_lines import Stamp
from gateway.proxy.audit_recovery import Backlog, end_crashed_sessions, settle_journal
from gateway.proxy.counters import Counters
from gateway.proxy.grid import call_about

__all__ = ["AuditFileError", "AuditTrail"]

_RETRY_SECONDS: Final = 1.0
_DRAIN_SECONDS: Final = 0.01
_NOTE_SECONDS: Final = 0.005

_log: Final = structlog.stdlib.get_logger("gateway.audit")


class AuditTrail(Outlet):
    """Implements ports.AuditSink. Raises AuditFileError when the file cannot be opened or a journal not be drained into it."""

    def __init__(
        self,
        directory: Path,
        worker: int,
        rotate_bytes: int,
        loop: asyncio.AbstractEventLoop,
        *,
        journal: bool = True,
        counters: Counters | None = None,
        copies: Copies | None = None,
    ) -> None:
        self._file = AuditFile(directory, f"audit-{worker}")
        self._rotate_bytes = self._rotate_at = rotate_bytes
        self._loop = loop
        self._counters = counters or Counters()
        self._copies = copies or Copies()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit-sync")
        self._bodies: list[bytes] = []
        self._releases: list[Action] = []
        self._scheduled = False
        self._later: asyncio.TimerHandle | None = None
        self.healthy = True
        self._closing = False
        self._closed = False
        self.sqlstate_of_failure = "58030"  # what a refused statement should say: 53100 when the disk is full
        self._backlog = Backlog()  # while it is not healthy
        self._failed_at = 0.0
        self._retry: asyncio.TimerHandle | None = None
        journal_path = directory / f"audit-{worker}.journal"
        settled = settle_journal(journal_path, self._file)
        if settled.lines:
            self._copies.offer(settled.lines)
        self._first_seq = settled.last_seq
        self.stamp = Stamp(worker, self._first_seq)
        self.journal = empty_journal(journal_path) if journal else None
        if self.journal is None:
            journal_path.unlink(missing_ok=True)
        self.at_once = self.journal
        if settled.torn_bytes:
            self.append(event("trail_repaired", {"torn_bytes": settled.torn_bytes}))
        for body in end_crashed_sessions(self._file.paths()):
            self.append(body)

    # --- records

    def write_now(self, bodies: list[bytes]) -> bool:
        journal = self.at_once
        if journal is None or not bodies:
            return journal is not None
        lines = self.stamp.lines(bodies)
        if not journal.put(lines) and not self._make_room(journal, lines):
            self.stamp.seq -= len(bodies)
            return False
        if self._later is None:
            self.drain_later()
        return True

    def drain_later(self) -> None:
        """Something was put into the journal."""
        if self._later is None:
            self._later = call_about(self._loop, _DRAIN_SECONDS, self._tick)

    def append(self, body: bytes) -> None:
        if not self.write_now([body]):
            self._bodies.append(body)
            if not self._scheduled:
                self._schedule()

    def submit(self, bodies: list[bytes], action: Action) -> None:
        if not self._releases and self.write_now(bodies):
            run_actions([action], written=True)
            return
        self._bodies += bodies
        self.release(action)

    def note(self, bodies: list[bytes]) -> None:
        if self.write_now(bodies):
            return
        self._bodies += bodies
        if self._closed:
            self._flush()
        elif not self._scheduled and self._later is None and not self._closing:
            self._later = self._loop.call_later(_NOTE_SECONDS, self._tick)

    def _tick(self) -> None:
        self._later = None
        self.stamp.look_at_the_clock()
        if not self._scheduled:
            self._flush()

    def release(self, action: Action) -> None:
        self._releases.append(action)
        if not self._scheduled:
            self._schedule()

    def close(self) -> None:
        """Write (and sync) what is left, blocking; works without a running loop. Afterwards nothing is written any more."""
        if self._closed:
            return
        self._closing = True  # from here on everything happens in the foreground
        self.at_once = None
        self._cancel_timers()
        self._thread.shutdown(wait=True)
        self._await_disk()
        if not self.healthy:
            self._recover()
        while self._bodies or self._releases:
            self._flush()
        if self.healthy:
            self._write(b"")
        self._await_disk()
        self._cancel_timers()
        if not self.healthy:
            _log.error("audit records lost at the end", bytes=self._backlog.size, records_dropped=self._backlog.dropped)
        self._closed = True
        if self.journal is not None:
            self.journal.close()
        self._file.close()
        self._copies.close()

    # --- the way without a journal, and what drains one

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
            run_actions(releases, written=False)
            return
        lines = self.stamp.lines(bodies) if bodies else b""
        if not (self.healthy and self._write(lines)) and lines:
            self._backlog.keep(lines, len(bodies))
        self._settle(releases)

    def _settle(self, releases: list[Action]) -> None:
        """What was to be written is, or the trail is not healthy any more."""
        run_actions(releases, written=self.healthy)
        self._rotate_if_due()

    # --- the file

    def _make_room(self, journal: PureJournal, lines: bytes) -> bool:
        """The journal goes into the file; so does at once what is larger than a journal."""
        if not self._write(b""):
            return False
        return journal.put(lines) or self._write(lines)

    def _write(self, lines: bytes) -> bool:
        """To the file: what the journal holds, and these. False: neither is there, and the trail is not healthy any more."""
        journal = self.journal
        data = lines if journal is None else journal.pending() + lines
        if not data:
            return True
        try:
            self._file.write(data)
        except OSError as error:
            self._fail(error)
            return False
        if journal is not None:
            journal.clear()
        self._wrote(data)
        return True

    def _wrote(self, data: bytes) -> None:
        self._copy(data)

    def _copy(self, data: bytes) -> None:
        self._counters.audit_records = self.stamp.seq - self._first_seq
        self._copies.offer(data)

    def _rotate_if_due(self) -> None:
        if self._file.size >= self._rotate_at and (former := self._rotate()) is not None:
            if self._closing:
                archive(former, self._file)
            else:
                self._thread.submit(archive, former, self._file)

    def _rotate(self) -> int | None:
        """The former file's descriptor, to be synced and closed by the thread; None: not rotated."""
        try:
            former = self._file.rotate(self.stamp.seq)
        except (OSError, AuditFileError) as error:
            _log.warning("audit file not rotated", reason=str(error))
            self._rotate_at = self._file.size + self._rotate_bytes
            return None
        self._rotate_at = self._rotate_bytes
        return former

    # --- failure and recovery

    def _fail(self, error: OSError) -> None:
        self.sqlstate_of_failure = "53100" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "58030"
        self.at_once = None
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
        if not self.healthy:
            self._recover()
        if not self.healthy:
            self._schedule_retry()

    def _recover(self) -> None:
        """Write what was kept and a record that says what happened; that it can be written is the proof of recovery."""
        seconds = round(time.monotonic() - self._failed_at, 3)
        dropped = self._backlog.dropped
        probe = self.stamp.lines([event("trail_recovered", {"seconds": seconds, "records_dropped": dropped})])
        if self._write(self._backlog.lines + probe):
            self._backlog = Backlog()
            self._recovered()
        else:
            self.stamp.seq -= 1

    def _recovered(self) -> None:
        self._succeed()

    def _succeed(self) -> None:
        self.healthy = True
        with contextlib.suppress(OSError):
            _log.info("audit trail is written again")
        backlog, self._backlog = self._backlog, Backlog()  # what came while the recovery was synced
        if not self._write(backlog.lines):
            self._backlog = backlog
        elif not self._closing:
            self.at_once = self.journal
        if self.healthy and backlog.dropped:
            self.append(event("trail_dropped", {"records_dropped": backlog.dropped}))

    # --- for the trail that waits for the disk

    def _await_disk(self) -> None:
        """Of `close`."""

    def _cancel_timers(self) -> None:
        for timer in (self._retry, self._later):
            if timer is not None:
                timer.cancel()
        self._retry = self._later = None
