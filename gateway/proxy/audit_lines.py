"""Records become lines: dated, numbered, and marked with the worker that wrote them."""

import time
from time import monotonic_ns
from typing import Final

from gateway.compiled import twin_of

_SECOND: Final = 1_000_000  # microseconds


class PureStamp:
    """`seq` is the number of the last record. `at` is the wall clock's, to the microsecond; `mono` never goes back."""

    __slots__ = ("_began", "_line", "_next_line", "_second", "_text", "_turn", "_worker", "seq")

    def __init__(self, worker: int, seq: int) -> None:
        self.seq = seq
        self._worker = worker
        self._second = 0
        self._text = ""
        self._anchor(-_SECOND, 0)

    def lines(self, bodies: list[bytes]) -> bytes:
        """One line each. The clocks are read once for all of them."""
        now = monotonic_ns() // 1000
        since = now - self._began
        if since >= _SECOND:
            since = self._new_second(now)
        seq = self.seq + 1
        micro = since - self._turn
        if micro < 0:
            micro += _SECOND
            line = self._line
        else:
            line = self._next_line
        if len(bodies) == 1:
            self.seq = seq
            return line % (since, micro, seq, bodies[0])
        self.seq += len(bodies)
        return b"".join([line % (since, micro, number, body) for number, body in enumerate(bodies, seq)])

    def look_at_the_clock(self) -> None:
        """Now and then, since the wall clock may be set, or go on while a machine sleeps."""
        second, since = divmod(time.time_ns() // 1000, _SECOND)
        if second == self._second:
            self._anchor(monotonic_ns() // 1000, since)
        else:
            self._began = -_SECOND

    def _new_second(self, now: int) -> int:
        """The wall clock is read, and the second's text made: in between the other clock is as good.

        Returns the microseconds into that second.
        """
        self._second, since = divmod(time.time_ns() // 1000, _SECOND)
        self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._second))
        self._anchor(now, since)
        return since

    def _anchor(self, now: int, since: int) -> None:
        """It is `since` microseconds into the wall clock's second. The other clock's turns within it: two formats."""
        self._began = now - since
        second, into = divmod(self._began, _SECOND)
        self._turn = _SECOND - into
        self._line, self._next_line = self._format(second), self._format(second + 1)

    def _format(self, second: int) -> bytes:
        """Of a line: microseconds of both clocks, number and body are still to come."""
        return f'{{"at":"{self._text}.%06dZ","mono":{second}.%06d,"worker":{self._worker},"seq":%d,%b}}\n'.encode()


_twin: Final = twin_of(__name__)
Stamp: Final[type[PureStamp]] = _twin.Stamp if _twin is not None else PureStamp
