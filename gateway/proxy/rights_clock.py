"""The time by which rights are judged: the wall clock, but it never goes back while this process lives.

Whoever sets a machine's clock back must not give ended grants another life. The price: after a clock that was wrong (ahead) has
been put right, rights end too early until the gateway is restarted, and the log says so.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

_WORTH_SAYING_SECONDS: Final = 5.0
_log: Final = structlog.stdlib.get_logger("gateway.clock")


class RightsClock:
    """`wall` is aware UTC; `steady` is in seconds and goes with it, but nobody can set it."""

    def __init__(
        self, wall: Callable[[], datetime] = lambda: datetime.now(UTC), steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = float("-inf")  # of the steady clock, in seconds since 1970: the furthest that was ever seen
        self._said = 0.0

    def now(self) -> datetime:
        wall = self._wall()
        steady = self._steady()
        ahead = wall.timestamp() - steady
        if ahead >= self._ahead:
            self._ahead = ahead
            return wall
        back = self._ahead - ahead
        if back > self._said + _WORTH_SAYING_SECONDS:
            self._said = back
            _log.warning(
                "the clock was set back: until a restart, rights are judged by the time as it was", seconds=round(back)
            )
        return datetime.fromtimestamp(steady + self._ahead, UTC)


_CLOCK: Final = RightsClock()


def now() -> datetime:
    """One clock for all that this process decides."""
    return _CLOCK.now()
