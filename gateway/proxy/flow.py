"""Back-pressure: who may not read now, and why. A transport reads again when no reason is left."""

import asyncio
from enum import Flag, auto


class Reason(Flag):
    OTHER_SIDE_FULL = auto()
    ON_HOLD = auto()
    AUDIT_PENDING = auto()
    NOT_READY = auto()


class ReadGate:
    """Idempotent pause and resume of one transport's reading."""

    __slots__ = ("_reasons", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reasons = Reason(0)

    @property
    def closed(self) -> bool:
        return bool(self._reasons)

    def close(self, reason: Reason) -> None:
        if not self._reasons and not self._transport.is_closing():
            self._transport.pause_reading()
        self._reasons |= reason

    def open(self, reason: Reason) -> None:
        if reason not in self._reasons:
            return
        self._reasons &= ~reason
        if not self._reasons and not self._transport.is_closing():
            self._transport.resume_reading()
