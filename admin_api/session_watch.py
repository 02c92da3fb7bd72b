"""What changes in the list of live sessions, for streams. However many streams there are, the gateway is asked once a second."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

from admin_api.models.sessions import SessionRecord, session_record
from admin_api.streams import LOOK_SECONDS, Event, said
from gateway.ports import GatewayUnavailable, LiveGateway, SessionFacts

_STILL_NEW_SECONDS: Final = 0.9 * LOOK_SECONDS

Wanted = Callable[[SessionFacts], bool]


class SessionWatch:
    def __init__(self, gateway: LiveGateway) -> None:
        self._gateway = gateway
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._newest: list[SessionFacts] = []

    async def look(self) -> list[SessionFacts]:
        """The list, not older than a second. Raises GatewayUnavailable."""
        async with self._asking:
            if time.monotonic() - self._asked_at > _STILL_NEW_SECONDS:
                self._newest = await self._gateway.sessions()
                self._asked_at = time.monotonic()
            return self._newest

    async def events(self, wanted: Wanted) -> AsyncGenerator[Event, None]:
        """First an "added" for every session that there is; then what changes. "unavailable": it cannot be known at the moment."""
        known: dict[str, SessionRecord] = {}
        number, away = 0, False
        while True:
            try:
                found = {each.session: session_record(each) for each in await self.look() if wanted(each)}
            except GatewayUnavailable as error:
                if not away:
                    away = True
                    yield said("unavailable", str(error))
            else:
                away = False
                for kind, record in _differences(known, found):
                    number += 1
                    yield Event(kind, record.model_dump_json(), str(number))
                known = found
            await asyncio.sleep(LOOK_SECONDS)


def _differences(before: dict[str, SessionRecord], now: dict[str, SessionRecord]) -> list[tuple[str, SessionRecord]]:
    gone = [("removed", record) for name, record in before.items() if name not in now]
    new = [("added", record) for name, record in now.items() if name not in before]
    return gone + new + [("changed", record) for name, record in now.items() if name in before and before[name] != record]
