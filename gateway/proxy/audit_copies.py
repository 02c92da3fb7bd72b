"""Copies of audit records for those who collect them from stdout or syslog. The files are the record; these are a courtesy.

Nobody waits for a copy: each way out has a thread, and a bounded queue before it. What does not fit, or cannot be delivered, is
counted, lost, and said in the log at most once a minute.
"""

import fcntl
import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from logging.handlers import SysLogHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import structlog

from gateway.proxy.counters import Counters
from gateway.settings import Audit

_MAX_QUEUED_BYTES: Final = 8 * 1024 * 1024
_LOG_SECONDS: Final = 60.0
_PATIENCE_SECONDS: Final = 1.0  # at the end
#: What a collector should take at least (RFC 5424, 6.1); a local one takes more.
_UDP_LIMIT: Final = 2048
_LOCAL_LIMIT: Final = 8192
_EVENT: Final = re.compile(rb'"event":"([!-~]{1,32}?)"')
_STAMP: Final = slice(len('{"at":"'), len('{"at":"2026-01-01T00:00:00.000000Z'))

_log: Final = structlog.stdlib.get_logger("gateway.audit")

#: Delivers whole lines, blocking; returns how many it could not deliver. Raises OSError when it could not deliver any.
Deliver = Callable[[bytes], int]


class CopyQueue:
    """One way out."""

    def __init__(self, name: str, deliver: Deliver, counters: Counters, max_bytes: int = _MAX_QUEUED_BYTES) -> None:
        self._name = name
        self._deliver = deliver
        self._counters = counters
        self._max_bytes = max_bytes
        self._queue = SimpleQueue[bytes | None]()
        # Each of these has one writer: the caller's thread, or ours.
        self._put_bytes = self._taken_bytes = 0
        self._undelivered = self._counted = 0
        self._why = ""
        self._said_at = -_LOG_SECONDS
        self._thread = threading.Thread(target=self._run, name=f"audit-{name}", daemon=True)
        self._thread.start()

    def offer(self, lines: bytes) -> None:
        """Never blocks."""
        if self._put_bytes - self._taken_bytes + len(lines) > self._max_bytes:
            self._drop(lines.count(b"\n"), "the queue is full")
        else:
            self._put_bytes += len(lines)
            self._queue.put(lines)
        if (undelivered := self._undelivered) > self._counted:
            self._drop(undelivered - self._counted, self._why)
            self._counted = undelivered

    def close(self) -> None:
        """What is queued may take a moment to leave."""
        self._queue.put(None)
        self._thread.join(_PATIENCE_SECONDS)

    def _drop(self, count: int, why: str) -> None:
        self._counters.audit_copies_dropped += count
        now = time.monotonic()
        if now - self._said_at >= _LOG_SECONDS:
            self._said_at = now
            dropped = self._counters.audit_copies_dropped
            _log.warning("copies of audit records are lost", to=self._name, reason=why, dropped_so_far=dropped)

    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            self._taken_bytes += len(lines)
            try:
                failed = self._deliver(lines)
            except (OSError, ValueError) as error:
                self._why, failed = str(error), lines.count(b"\n")
            self._undelivered += failed


class Copies:
    """All ways out that the settings ask for."""

    def __init__(self, queues: tuple[CopyQueue, ...] = ()) -> None:
        self._queues = queues

    def offer(self, lines: bytes) -> None:
        for queue in self._queues:
            queue.offer(lines)

    def close(self) -> None:
        for queue in self._queues:
            queue.close()


def open_copies(directory: Path, audit: Audit, counters: Counters) -> Copies:
    """`directory` is the audit's: it holds the lock by which processes take turns on their common stdout."""
    ways: dict[str, Callable[[], Deliver]] = {
        "stdout": lambda: to_stdout(directory / "stdout.lock"),
        "syslog": lambda: Syslog(audit.syslog_address),
    }
    return Copies(tuple(CopyQueue(name, ways[name](), counters) for name in dict.fromkeys(audit.also)))


def to_stdout(lock: Path, fd: int = 1) -> Deliver:
    """Whole lines, never two of them mixed: the processes of a gateway have one stdout, and a pipe tears long writes."""

    def deliver(lines: bytes) -> int:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        turn = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)
            view = memoryview(lines)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(turn)
        return 0

    return deliver


class Syslog:
    """RFC 5424, one datagram a record, to a local socket ("/dev/log") or "host:port" by UDP."""

    def __init__(self, address: str) -> None:
        local = address.startswith("/")
        host, _, port = address.rpartition(":")
        self._address: str | tuple[str, int] = address if local else (host.strip("[]"), int(port))
        self._limit = _LOCAL_LIMIT if local else _UDP_LIMIT
        name = socket.gethostname()
        self._host = name[:255] if name.isascii() and name.isprintable() and name.strip() == name != "" else "-"
        self._handler: _Handler | None = None

    def __call__(self, lines: bytes) -> int:
        failed = 0
        for line in lines.splitlines():
            try:
                if self._handler is None:
                    self._handler = _Handler(self._address, SysLogHandler.LOG_AUTHPRIV)
                self._handler.emit(logging.makeLogRecord({"msg": self.message(line), "levelname": "INFO"}))
            except OSError:
                failed += 1
                self._close()
        return failed

    def _close(self) -> None:
        if self._handler is not None:
            self._handler.close()
            self._handler = None

    def message(self, line: bytes) -> str:
        """Everything of it but the priority, which the handler puts before it; that has four characters."""
        event = _EVENT.search(line)
        head = f"1 {line[_STAMP].decode()} {self._host} pgbastion {os.getpid()} {event[1].decode() if event else '-'} - "
        return head + shortened(line, self._limit - len(head) - len("<86>")).decode()


class _Handler(SysLogHandler):
    append_nul = False

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802  (its name there)
        raise  # what `emit` caught: the caller counts it


def shortened(line: bytes, limit: int) -> bytes:
    """A record that fits, still JSON: the text is cut first (`"truncated":true`), then lists of names and messages go."""
    if len(line) <= limit:
        return line
    record = json.loads(line)
    for name in ("functions", "tables", "message", "detail"):
        record.pop(name, None)
    record["truncated"] = True
    room = limit - len(_dump({**record, "sql": ""}))
    if sql := str(record.get("sql", ""))[: max(room, 0)]:
        while (excess := len(_dump(sql)) - 2 - room) > 0:  # escaped, a character takes up to twelve bytes
            sql = sql[: -max(1, excess // 12)]
    if "sql" in record:
        record["sql"] = sql
    return _dump(record)[:limit]


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
