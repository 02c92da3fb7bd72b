"""The courier's place: empty until there is something to deliver, or somebody to tell; then kept like any other.

What it delivers for is set up in the settings or in the store. When those sections of the settings change, a courier that is made
of the new ones takes the place of the one at work.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from gateway.settings import Changes, CurrentSettings
from gateway.store.errors import StoreError
from gateway.supervision.child import Child
from gateway.supervision.parts import CourierPart
from gateway.supervision.post import Post

_LOOK_SECONDS: Final = 5.0
_RETIRE_SECONDS: Final = 20.0  # it gives what is on its way some seconds
_SECTIONS: Final = frozenset({"notify", "mail", "pagerduty", "slack", "public"})
_log: Final = structlog.stdlib.get_logger("gateway.supervision")


class CourierPost:
    """`post` is the place itself. `keep` is until `stop`."""

    def __init__(self, current: CurrentSettings, part: CourierPart, gone: Callable[[Child], None]) -> None:
        self.post = Post("courier", self._start, gone, self._changed)
        self._current = current
        self._part = part
        self._stopping = False
        self._look = asyncio.Event()
        self._renew = asyncio.Event()

    async def keep(self) -> None:
        renewing = asyncio.create_task(self._keep_renewing(), name="renew courier")
        try:
            while not self._stopping and not await self._is_wanted():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._look.wait(), _LOOK_SECONDS)
                self._look.clear()
            if not self._stopping:
                await self.post.keep()
        finally:
            renewing.cancel()

    def reloaded(self, changes: Changes) -> None:
        """Settings are others now."""
        if any(key.partition(".")[0] in _SECTIONS for key in changes.live):
            self._look.set()
            self._renew.set()

    def stop(self) -> None:
        self._stopping = True
        self._look.set()
        self.post.stop()

    async def _start(self, _former: Child | None) -> Child:
        child = await Child.start("courier", self._part.command(), ())
        child.become("courier", self._current.now)
        return child

    async def _is_wanted(self) -> bool:
        try:
            return await self._part.wanted(self._current.now)
        except StoreError as error:
            _log.warning("the store cannot be asked about messages", reason=str(error))
            return False

    async def _keep_renewing(self) -> None:
        while True:
            await self._renew.wait()
            self._renew.clear()
            if self.post.current is not None:
                await self.post.replace(_RETIRE_SECONDS)

    def _changed(self) -> None:
        """It got ready, or ended: no session hangs on it."""
