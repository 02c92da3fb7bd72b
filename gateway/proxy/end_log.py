"""What the operators' log says of sessions that end. When thousands end at once, a line of each would take longer than their end.

The audit trail has a record of each in any case.
"""

import asyncio
from collections import Counter
from typing import Final

import structlog

_USUAL_ENDS: Final = frozenset({"client-quit", "client-vanished", "shutdown"})  # of which the log does not speak
_LINES: Final = 20  # of single sessions, within a second
_SECONDS: Final = 1.0
_log: Final = structlog.stdlib.get_logger("gateway.session")


class EndLog:
    def __init__(self) -> None:
        self._said = 0
        self._unsaid: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, session_id: str, user: str, kind: str) -> None:
        """`kind`: a class of ends (see `counters`)."""
        if kind in _USUAL_ENDS:
            return
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS, self.tell)
        self._said += 1
        if self._said <= _LINES:
            _log.info("session ended", session=session_id, user=user, kind=kind)
        else:
            self._unsaid[kind] += 1

    def tell(self) -> None:
        """How many there were of which nothing was said."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._said, unsaid, self._unsaid = 0, self._unsaid, Counter()
        for kind, count in unsaid.items():
            _log.info("more sessions ended", kind=kind, count=count)
