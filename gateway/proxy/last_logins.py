"""When each user logged in last, told to whoever writes it down: at most once a second, however many log in."""

import asyncio
from datetime import datetime
from typing import Final, Protocol

from gateway.bus.lines import CLERK, Payload

_SECONDS: Final = 1.0
_MOST: Final = 10_000  # users that are waited with while nobody hears us


class _Peers(Protocol):
    def send(self, to: str, kind: str, payload: Payload) -> bool: ...


class LastLogins:
    def __init__(self, peers: _Peers) -> None:
        self._peers = peers
        self._waiting: dict[str, datetime] = {}
        self._timer: asyncio.TimerHandle | None = None

    def note(self, user_id: str, at: datetime) -> None:
        if len(self._waiting) < _MOST or user_id in self._waiting:
            self._waiting[user_id] = at
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS, self.tell)

    def tell(self) -> None:
        """Now. Whom nobody heard of is told again with the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        said: Payload = {user_id: at.isoformat() for user_id, at in self._waiting.items()}
        if said and self._peers.send(CLERK, "logged-in", said):
            self._waiting.clear()
