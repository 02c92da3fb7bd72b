"""Bytes for upstream that wait until the audit trail has the records before them. Those without a record queue behind."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.ports import AuditSink
from gateway.proxy.flow import ReadGate, Reason

_UNRELEASED_LIMIT: Final = 512 * 1024


class Releasing:
    """False when nothing waits. `failed` is called when records could not be written: what waits behind them never leaves."""

    __slots__ = ("_bytes", "_closed", "_count", "_failed", "_gate", "_trail", "_upstream")

    def __init__(self, trail: AuditSink, upstream: asyncio.Transport, gate: ReadGate, failed: Callable[[], None]) -> None:
        """`gate`: the client's, closed while too much waits."""
        self._trail = trail
        self._upstream = upstream
        self._gate = gate
        self._failed = failed
        self._count = self._bytes = 0
        self._closed = False

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, out: bytes, records: list[bytes]) -> None:
        """`records` may be empty; the list stays the caller's."""
        self._count += 1
        self._bytes += len(out)
        if self._bytes > _UNRELEASED_LIMIT:
            self._gate.close(Reason.AUDIT_PENDING)
        self._trail.submit(records, partial(self._forward, out))

    def close(self) -> None:
        """The session is over: nothing leaves any more."""
        self._closed = True

    def _forward(self, out: bytes, written: bool) -> None:
        self._count -= 1
        self._bytes -= len(out)
        if self._closed:
            return
        if not written:
            self._failed()
            return
        self._upstream.write(out)
        if self._bytes <= _UNRELEASED_LIMIT // 2:
            self._gate.open(Reason.AUDIT_PENDING)
