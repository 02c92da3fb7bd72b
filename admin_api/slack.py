"""Slack's requests over HTTP: signed by Slack, verified by its own library, and each taken once.

There is nothing here unless `slack.signing_secret_file` is set.
"""

import asyncio
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import structlog
from starlette.requests import Request
from starlette.responses import Response

from admin_api.context import AdminContext
from admin_api.problems import ApiError
from gateway.settings.notify import Slack

if TYPE_CHECKING:
    from slack_bolt.adapter.fastapi.async_handler import AsyncSlackRequestHandler

PATH: Final = "/slack/events"

_REMEMBERED_SECONDS: Final = 600.0
"""Twice what Slack's library takes for fresh."""
_MOST_REMEMBERED: Final = 100_000
_UNSIGNED: Final = 401
_log: Final = structlog.stdlib.get_logger("admin_api")


def is_open(settings: Slack, method: str, path: str) -> bool:
    """Whether this is asked without a token: the signature is the proof."""
    return path == PATH and method == "POST" and settings.signing_secret_file is not None


class Signatures:
    """Those of requests that were taken. A request that comes again was overheard, or is a repeat of Slack's: done already."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}  # in the order in which they came

    def is_new(self, signature: str) -> bool:
        """And is not from now on."""
        now = self._clock()
        while self._seen and (
            len(self._seen) >= _MOST_REMEMBERED or next(iter(self._seen.values())) < now - _REMEMBERED_SECONDS
        ):
            del self._seen[next(iter(self._seen))]
        if signature in self._seen:
            return False
        self._seen[signature] = now
        return True

    def forget(self, signature: str) -> None:
        """It was no good one."""
        self._seen.pop(signature, None)


class SlackDoor:
    """Made with the first request, and anew when the settings of Slack change."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._made_of: Slack | None = None
        self._handler: AsyncSlackRequestHandler | None = None
        self._signatures = Signatures()
        self._making = asyncio.Lock()

    async def warm(self) -> None:
        """Loading the library takes a good part of the time that Slack gives."""
        settings = self._context.settings.now.slack
        if settings.signing_secret_file is not None:
            try:
                await self._made(settings)
            except ApiError as error:
                _log.error("Slack's requests cannot be taken", reason=error.detail)

    async def take(self, request: Request) -> Response:
        """Raises ApiError where it is closed."""
        settings = self._context.settings.now.slack
        if settings.signing_secret_file is None:
            raise ApiError(404, "no-such-page", "there is no such page")
        handler = await self._made(settings)
        signature = request.headers.get("x-slack-signature", "")
        if not _is_plausible(request):
            return Response(status_code=_UNSIGNED)
        if not self._signatures.is_new(signature):
            return Response(status_code=200)
        try:
            answer = await handler.handle(request)
        except ValueError:  # the library reads it before it verifies it
            answer = Response(status_code=_UNSIGNED)
        if answer.status_code == _UNSIGNED:
            self._signatures.forget(signature)
            _log.warning("a request was not signed by Slack")
        return answer

    async def _made(self, settings: Slack) -> "AsyncSlackRequestHandler":
        async with self._making:
            if self._handler is None or self._made_of != settings:
                self._handler = await asyncio.to_thread(_load, self._context, settings)
                self._made_of = settings
            return self._handler


def _load(context: AdminContext, settings: Slack) -> "AsyncSlackRequestHandler":
    """Raises ApiError."""
    if find_spec("slack_bolt") is None:
        raise ApiError(503, "slack-unusable", "Slack needs more than is installed", 'pip install "pgbastion[slack]"')
    from slack_bolt.adapter.fastapi.async_handler import AsyncSlackRequestHandler

    from gateway.notify.slack.hearing import app_over_http
    from gateway.notify.slack.workspace import SlackUnusable

    try:
        return AsyncSlackRequestHandler(app_over_http(settings, context.store, context.clock))
    except SlackUnusable as error:
        raise ApiError(503, "slack-unusable", str(error)) from error


def _is_plausible(request: Request) -> bool:
    """What the library would stumble over. Whether it is right, it finds out."""
    stamp = request.headers.get("x-slack-request-timestamp", "")
    return stamp.isascii() and stamp.isdigit() and len(stamp) < 12 and bool(request.headers.get("x-slack-signature"))
