"""The workspace as a server: `async with running_slack() as slack`, and then `slack.api_url`."""

import asyncio
import contextlib
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from aiohttp import WSMsgType, web

from tests.support.fakes.slack.methods import call
from tests.support.fakes.slack.signing import signed
from tests.support.fakes.slack.state import RESPONSE_USES, SCOPES, Posting, SlackError, State

ACK_SECONDS: Final = 3.0
ALL_SCOPES: Final = frozenset({"chat:write", "commands", "im:write", "users:read", "users:read.email"})


@dataclass
class Acknowledged:
    """What the app answered, in time. `status`: of HTTP; 200 over a socket."""

    status: int
    body: Any = None
    seconds: float = 0.0


class NotAcknowledged(Exception):
    """Nothing came within three seconds: Slack shows an error to the person."""


@dataclass
class Limits:
    """Of methods: so many calls are refused with 429, and told to wait so long."""

    times: dict[str, int] = field(default_factory=dict)
    wait_seconds: dict[str, int] = field(default_factory=dict)


class FakeSlack:
    """`request_url`: where events are posted (signed); None: they go over the sockets that are open.

    `down`: no method answers. `closed`: no socket is opened. `slow_seconds`: by method.
    `tickets` are good for one socket each, `issued` are all there were, `refused` counts sockets.
    """

    def __init__(self, scopes: frozenset[str] = ALL_SCOPES) -> None:
        self.state = State(scopes)
        self.bot_token = f"xoxb-{secrets.token_hex(12)}"
        self.app_token = f"xapp-{secrets.token_hex(12)}"
        self.signing_secret = secrets.token_hex(16)
        self.request_url: str | None = None
        self.down = False
        self.closed = False
        self.refused = 0
        self.slow_seconds: dict[str, float] = {}
        self.limits = Limits()
        self.calls: Counter[str] = Counter()
        self.api_url = ""
        self.tickets: set[str] = set()
        self.issued: set[str] = set()
        self.sockets: list[web.WebSocketResponse] = []
        self.connected = asyncio.Condition()
        self._waiting: dict[str, asyncio.Future[Any]] = {}

    # What the app calls.

    async def api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.calls[method] += 1
        if self.down:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=503)
        if method in self.slow_seconds:
            await asyncio.sleep(self.slow_seconds[method])
        if self.limits.times.get(method, 0) > 0:
            self.limits.times[method] -= 1
            headers = {"Retry-After": str(self.limits.wait_seconds.get(method, 1))}
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
        try:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if method == "apps.connections.open":
                return web.json_response(self._open_connection(token))
            self._authorize(method, token)
            return web.json_response(call(self.state, method, await _arguments(request)))
        except SlackError as error:
            return web.json_response(error.answer)

    def _authorize(self, method: str, token: str) -> None:
        if not token:
            raise SlackError("not_authed")
        if token == self.app_token:
            raise SlackError("not_allowed_token_type")
        if token != self.bot_token:
            raise SlackError("invalid_auth")
        needed = SCOPES.get(method)
        if needed is not None and needed not in self.state.scopes:
            raise SlackError("missing_scope", needed=needed, provided=",".join(sorted(self.state.scopes)))

    def _open_connection(self, token: str) -> dict[str, Any]:
        if token == self.bot_token:
            raise SlackError("not_allowed_token_type")
        if token != self.app_token:
            raise SlackError("invalid_auth")
        ticket = f"ticket-{secrets.token_hex(16)}"
        self.tickets.add(ticket)
        self.issued.add(ticket)
        place = self.api_url.replace("http://", "ws://").removesuffix("/api/")
        return {"ok": True, "url": f"{place}/link/?ticket={ticket}&app_id={self.state.app_id}"}

    async def link(self, request: web.Request) -> web.StreamResponse:
        """Socket Mode."""
        ticket = request.query.get("ticket", "")
        if ticket not in self.tickets or self.closed:
            self.refused += 1
            return web.Response(status=403)
        self.tickets.discard(ticket)  # good once
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        await socket.send_json(
            {"type": "hello", "num_connections": len(self.sockets), "connection_info": {"app_id": self.state.app_id}}
        )
        async with self.connected:
            self.connected.notify_all()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._acknowledged(json.loads(message.data))
        finally:
            self.sockets.remove(socket)
        return socket

    def _acknowledged(self, answer: dict[str, Any]) -> None:
        waiting = self._waiting.pop(str(answer.get("envelope_id")), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer.get("payload"))

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """A response_url: five times within half an hour."""
        answering = self.state.answering.get(request.match_info["key"])
        if answering is None or self.state.now > answering.until:
            return web.Response(status=404, text="expired_url")
        if answering.uses >= RESPONSE_USES:
            return web.Response(status=404, text="used_url")
        answering.uses += 1
        body = await request.json()
        original = None if answering.message_ts is None else self.state.find(answering.channel, answering.message_ts)
        if body.get("replace_original") and original is not None:
            original.text, original.blocks = body.get("text", ""), body.get("blocks", [])
            original.edits += 1
            return web.Response(text="ok")
        only_to = None if body.get("response_type") == "in_channel" else answering.member
        posting = Posting(
            answering.channel, self.state.new_ts(), body.get("text", ""), body.get("blocks") or [], ephemeral_to=only_to
        )
        self.state.postings.append(posting)
        return web.Response(text="ok")

    # What Slack sends.

    async def send(self, kind: str, payload: dict[str, Any]) -> Acknowledged:
        """`kind`: "slash_commands" or "interactive". Raises NotAcknowledged."""
        started = asyncio.get_running_loop().time()
        found = await (self._post(kind, payload) if self.request_url is not None else self._push(kind, payload))
        found.seconds = asyncio.get_running_loop().time() - started
        return found

    async def _push(self, kind: str, payload: dict[str, Any]) -> Acknowledged:
        if not self.sockets:
            raise NotAcknowledged("the app is not connected")
        envelope = secrets.token_hex(8)
        self._waiting[envelope] = waiting = asyncio.get_running_loop().create_future()
        body = {"type": kind, "envelope_id": envelope, "payload": payload, "accepts_response_payload": True}
        await self.sockets[-1].send_json(body)
        try:
            return Acknowledged(200, await asyncio.wait_for(waiting, ACK_SECONDS))
        except TimeoutError:
            raise NotAcknowledged(kind) from None

    async def _post(self, kind: str, payload: dict[str, Any]) -> Acknowledged:
        fields = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
        return await self.post_raw(urlencode(fields).encode())

    async def post_raw(self, body: bytes, **changed: str) -> Acknowledged:
        """Signed as Slack signs, but for the headers that are `changed` (with _ for -)."""
        assert self.request_url is not None
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            **signed(self.signing_secret, body, int(time.time())),
            **{name.replace("_", "-"): value for name, value in changed.items()},
        }
        timeout = aiohttp.ClientTimeout(total=ACK_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(self.request_url, data=body, headers=headers) as answer,
            ):
                text = await answer.text()
                is_json = text and answer.content_type == "application/json"
                return Acknowledged(answer.status, json.loads(text) if is_json else text or None)
        except TimeoutError:
            raise NotAcknowledged("no answer to a request") from None

    async def until_connected(self, connections: int = 1) -> None:
        async with self.connected:
            async with asyncio.timeout(20):
                await self.connected.wait_for(lambda: len(self.sockets) >= connections)

    async def refresh(self) -> None:
        """As Slack does every few hours: the app is asked to connect anew."""
        for socket in list(self.sockets):
            await socket.send_json({"type": "disconnect", "reason": "refresh_requested"})

    async def drop(self) -> None:
        """The connection is lost."""
        for socket in list(self.sockets):
            await socket.close(code=1011)


@contextlib.asynccontextmanager
async def running_slack(scopes: frozenset[str] = ALL_SCOPES) -> AsyncIterator[FakeSlack]:
    slack = FakeSlack(scopes)
    app = web.Application()
    app.router.add_route("*", "/api/{method}", slack.api)
    app.router.add_get("/link/", slack.link)
    app.router.add_post("/respond/{key}", slack.respond)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    slack.api_url = f"http://{host}:{port}/api/"
    try:
        yield slack
    finally:
        await slack.drop()
        await runner.cleanup()


async def _arguments(request: web.Request) -> dict[str, Any]:
    """From wherever a method may have them."""
    found: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        found |= await request.json()
    elif request.method == "POST":
        found |= dict((await request.post()).items())
    return found
