"""Server-sent events: one long answer, which ends when the token does, when the process does, or when nobody reads it any more.

Nothing is queued for a slow reader: what is not taken within some seconds ends the stream, and its reader comes back.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from admin_api.admission import still_valid
from admin_api.calls import Look
from admin_api.problems import ApiError
from gateway.access.model import Snapshot
from gateway.services.actor import Actor, resolve_actor
from gateway.services.errors import ServiceError
from gateway.store.errors import StoreError

MAX_STREAMS: Final = 64
LOOK_SECONDS: Final = 1.0
_HEARTBEAT_SECONDS: Final = 15.0
_SEND_SECONDS: Final = 10.0
_NOBODY: Final = ""  # there is no one left to be told why

_log: Final = structlog.stdlib.get_logger("admin_api")


@dataclass(frozen=True, slots=True)
class Event:
    """`data`: JSON on one line. `id` comes back as `Last-Event-ID` when a reader returns; "" for none."""

    kind: str
    data: str
    id: str = ""

    def encode(self) -> bytes:
        head = f"id: {self.id}\n" if self.id else ""
        return f"{head}event: {self.kind}\ndata: {self.data}\n\n".encode()


def said(kind: str, reason: str) -> Event:
    """Not about an object, but about the stream. The last one is called "end"."""
    return Event(kind, json.dumps({"reason": reason}))


class Streams:
    """How many there are. Each holds a connection."""

    def __init__(self) -> None:
        self.open = 0

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        if self.open >= MAX_STREAMS:
            raise ApiError(503, "too-many-streams", f"there are {MAX_STREAMS} streams already", "Close some, or try later.")
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


class EventStream(Response):
    """`events` is asked for one after the other, and closed at the end."""

    media_type = "text/event-stream"

    def __init__(self, call: Look, events: AsyncGenerator[Event, None]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._call = call
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        streams: Streams = self._call.request.app.state.streams
        with streams.one_more():
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            reason = await self._run(receive, send)
            last = said("end", reason).encode() if reason else b""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SEND_SECONDS):
                    await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _run(self, receive: Receive, send: Send) -> str:
        """Until the first of what can end it; the reason."""
        tasks = [asyncio.create_task(work) for work in (self._watch(), self._stopping(), _departure(receive), self._pump(send))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(task.result() for task in tasks if task.done())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._events.aclose()

    async def _pump(self, send: Send) -> str:
        while True:
            coming = asyncio.ensure_future(anext(self._events))
            try:
                while not (await asyncio.wait({coming}, timeout=_HEARTBEAT_SECONDS))[0]:
                    await _sent(send, b": still here\n\n")
                await _sent(send, coming.result().encode())
            except StopAsyncIteration:
                return "nothing more will come"
            except TimeoutError:
                return _NOBODY
            except (ServiceError, StoreError) as error:
                _log.warning("a stream ends", error=str(error))
                return "what it shows cannot be read at the moment"
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)  # else the generator still runs when it is closed

    async def _watch(self) -> str:
        """Asks each second whether who opened it may still be answered; a store that is silent cannot say so."""
        context = self._call.context
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                snapshot = await context.read()
            except StoreError:
                return "the store does not answer"
            if not still_valid(self._call.caller, snapshot, context.clock()):
                return "the token has ended"
            if self._rights_differ(snapshot, context.clock()):
                return "your rights have changed"

    def _rights_differ(self, snapshot: Snapshot, now: datetime) -> bool:
        """Whether who opened it may see something else by now."""
        before = self._call.actor
        try:
            actor = resolve_actor(self._call.caller.actor, snapshot, now)
        except ServiceError:
            return True
        if actor.owner and before.owner:
            return False
        return (actor.rights, actor.owner, _places(snapshot, actor)) != (
            before.rights,
            before.owner,
            _places(self._call.whole, before),
        )

    async def _stopping(self) -> str:
        await self._call.context.stopping.wait()
        return "the admin API stops"


def _places(snapshot: Snapshot, actor: Actor) -> dict[str, str]:
    """Of the targets that it has rights over: others may come and go."""
    return {target.name: target.environment_id for target in snapshot.targets.values() if target.environment_id in actor.rights}


async def _departure(receive: Receive) -> str:
    while (await receive())["type"] != "http.disconnect":
        pass
    return _NOBODY


async def _sent(send: Send, body: bytes) -> None:
    """Raises TimeoutError when the reader does not read."""
    async with asyncio.timeout(_SEND_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": True})
