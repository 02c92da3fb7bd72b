"""The audit trail that waits for the disk: what is written while a thread syncs the file shares the next sync (group commit).

A record may stand twice after a failed sync: `worker` and `seq` name it.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

from gateway.proxy.audit_copies import Copies
from gateway.proxy.audit_file import Action, Sync, run_actions
from gateway.proxy.audit_trail import AuditTrail
from gateway.proxy.counters import Counters

_LAZY_SYNC_SECONDS: Final = 0.5  # for records that nobody waits for


class SyncedAuditTrail(AuditTrail):
    """Implements ports.AuditSink: a release runs when its records are on disk."""

    def __init__(
        self,
        directory: Path,
        worker: int,
        rotate_bytes: int,
        loop: asyncio.AbstractEventLoop,
        *,
        counters: Counters | None = None,
        copies: Copies | None = None,
    ) -> None:
        # Written, not yet on disk. A sync takes both lists.
        self._unsynced: list[bytes] = []
        self._waiting: list[Action] = []
        self._syncing: Sync | None = None
        self._lazy_sync: asyncio.TimerHandle | None = None
        super().__init__(directory, worker, rotate_bytes, loop, journal=False, counters=counters, copies=copies)

    def _wrote(self, data: bytes) -> None:
        super()._wrote(data)
        self._unsynced.append(data)

    def _settle(self, releases: list[Action]) -> None:
        self._waiting += releases
        if self._syncing is None:
            self._after_write()

    def _after_write(self) -> None:
        """No sync is running: begin the next one, or answer who waits."""
        if not self.healthy:
            waiting, self._waiting = self._waiting, []
            run_actions(waiting, written=False)
        elif self._waiting and not self._unsynced:
            waiting, self._waiting = self._waiting, []
            run_actions(waiting, written=True)
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
            self._backlog.keep_first([*sync.lines, *self._unsynced])
            self._unsynced = []
            if (former := self._rotate()) is not None:
                os.close(former)
        elif sync.recovers:
            self._succeed()
        run_actions(sync.actions, written=sync.failure is None)
        if self._syncing is None:
            self._after_write()

    def _recover(self) -> None:
        if self._syncing is None:
            super()._recover()

    def _recovered(self) -> None:
        self._start_sync(recovers=True)

    def _await_disk(self) -> None:
        if self._syncing is not None:
            self._synced(self._syncing)
        if self._unsynced:
            self._start_sync()

    def _cancel_timers(self) -> None:
        super()._cancel_timers()
        if self._lazy_sync is not None:
            self._lazy_sync.cancel()
        self._lazy_sync = None
