"""Records become lines: dated, numbered, and marked with the worker that wrote them."""

import time
from typing import Final

from gateway.compiled import twin_of

_SECOND: Final = 1_000_000  # microseconds


class PureStamp:
    """`seq` is the number of the last record. `at` is the wall clock's, to the microsecond; `mono` never goes back."""

    __slots__ = ("_head", "_line", "_second", "_second_began", "_worker", "seq")

    def __init__(self, worker: int, seq: int) -> None:
        self.seq = seq
        self._worker = worker
        self._second_began = -_SECOND  # on the monotonic clock, in microseconds
        self._second = 0
        self._head = self._line = b""  # formats that hold the second's text

    def lines(self, bodies: list[bytes]) -> bytes:
        """One line each. The clocks are read once for all of them."""
        now = time.monotonic_ns() // 1000
        since = now - self._second_began
        if since >= _SECOND:
            since = self._new_second(now)
        seq = self.seq
        if len(bodies) == 1:
            self.seq = seq = seq + 1
            return self._line % (since, now // _SECOND, now % _SECOND, seq, bodies[0])
        head = self._head % (since, now // _SECOND, now % _SECOND)
        self.seq = seq + len(bodies)
        return b"".join([b"%b%d,%b}\n" % (head, number, body) for number, body in enumerate(bodies, seq + 1)])

    def look_at_the_clock(self) -> None:
        """Now and then, since the wall clock may be set, or go on while a machine sleeps."""
        second, since = divmod(time.time_ns() // 1000, _SECOND)
        if second == self._second:
            self._second_began = time.monotonic_ns() // 1000 - since
        else:
            self._second_began = -_SECOND

    def _new_second(self, now: int) -> int:
        """The wall clock is read, and the second's text made: in between the other clock is as good.

        Returns the microseconds into that second.
        """
        second, since = divmod(time.time_ns() // 1000, _SECOND)
        self._second, self._second_began = second, now - since
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._head = f'{{"at":"{text}.%06dZ","mono":%d.%06d,"worker":{self._worker},"seq":'.encode()
        self._line = self._head + b"%d,%b}\n"
        return since


_twin: Final = twin_of(__name__)
Stamp: Final[type[PureStamp]] = _twin.Stamp if _twin is not None else PureStamp
