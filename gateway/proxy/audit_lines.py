"""Records become lines: dated, numbered, and marked with the worker that wrote them."""

import time
from typing import Final

_SECOND: Final = 1_000_000_000


class Stamp:
    """`seq` is the number of the last record. `at` is the wall clock's, to the microsecond; `mono` never goes back."""

    __slots__ = ("_middle", "_second", "_second_text", "seq")

    def __init__(self, worker: int, seq: int) -> None:
        self.seq = seq
        self._middle = b'"worker":%d,"seq":' % worker
        self._second = 0
        self._second_text = b""

    def lines(self, bodies: list[bytes]) -> bytes:
        """One line each. The clocks are read once for all of them."""
        nanoseconds = time.time_ns() - self._second
        if not 0 <= nanoseconds < _SECOND:
            nanoseconds = self._new_second()
        seq = self.seq
        if len(bodies) == 1:
            self.seq = seq = seq + 1
            at = self._second_text, nanoseconds // 1000, time.monotonic(), self._middle, seq, bodies[0]
            return b'%b%06dZ","mono":%.6f,%b%d,%b}\n' % at
        head = b'%b%06dZ","mono":%.6f,%b' % (self._second_text, nanoseconds // 1000, time.monotonic(), self._middle)
        self.seq = seq + len(bodies)
        return b"".join([b"%b%d,%b}\n" % (head, number, body) for number, body in enumerate(bodies, seq + 1)])

    def _new_second(self) -> int:
        """Read again: the second's text is made once for all records in it. Returns the nanoseconds into it."""
        second, nanoseconds = divmod(time.time_ns(), _SECOND)
        self._second = second * _SECOND
        self._second_text = time.strftime('{"at":"%Y-%m-%dT%H:%M:%S.', time.gmtime(second)).encode()
        return nanoseconds
