"""Server-sent events: what they tell, and what ends them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from admin_api import streams
from gateway.access.model import TokenScope
from gateway.services.tokens import revoke_token
from tests.api.conftest import WHY, Api, Worker

PATHS = ("/v1/sessions/stream", "/v1/audit/stream")


class Stream:
    """One answer without end, read event by event."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = asyncio.Event()
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._started = asyncio.Event()
        self._left = asyncio.Event()
        self._rest = b""

    async def receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self._started.set()
            return
        await self._pieces.put(message["body"])
        if not message.get("more_body", False):
            self.ended.set()

    def leave(self) -> None:
        self._left.set()

    async def started(self) -> None:
        await asyncio.wait_for(self._started.wait(), 5)

    async def next(self, seconds: float = 5) -> tuple[str, Any, str]:
        """Kind, data, id."""
        while b"\n\n" not in self._rest:
            self._rest += await asyncio.wait_for(self._pieces.get(), seconds)
        block, self._rest = self._rest.split(b"\n\n", 1)
        fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if not line.startswith(":"))
        return fields.get("event", ""), json.loads(fields.get("data", "null")), fields.get("id", "")


@asynccontextmanager
async def streaming(api: Api, path: str, token: str, address: str = "127.0.0.1", **headers: str) -> AsyncIterator[Stream]:
    given = {"authorization": f"Bearer {token}", **headers}
    where, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": where,
        "raw_path": where.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
        "client": (address, 4000),
        "server": ("gateway.test", 80),
    }
    stream = Stream()
    first = True

    async def receive() -> dict[str, Any]:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        return await stream.receive()

    task = asyncio.create_task(api.app(scope, receive, stream.send))
    try:
        await stream.started()
        yield stream
    finally:
        stream.leave()
        await asyncio.wait_for(task, 5)


async def test_sessions_are_told_as_they_come_change_and_go(api: Api, worker: Worker) -> None:
    worker.session("s1")
    async with streaming(api, PATHS[0], api.read_token) as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert stream.headers["cache-control"] == "no-store"
        kind, session, first = await stream.next()
        assert (kind, session["session"]) == ("added", "s1")
        worker.session("s2", user="ben")
        kind, session, second = await stream.next()
        assert (kind, session["session"], int(second)) == ("added", "s2", int(first) + 1)
        worker.sessions[0]["state"] = "active"
        kind, session, _ = await stream.next()
        assert (kind, session["session"], session["state"]) == ("changed", "s1", "active")
        worker.sessions.pop(0)
        kind, session, _ = await stream.next()
        assert (kind, session["session"]) == ("removed", "s1")


async def test_a_stream_can_be_of_one_user(api: Api, worker: Worker) -> None:
    worker.session("s1", user="ana")
    worker.session("s2", user="ben")
    async with streaming(api, f"{PATHS[0]}?user=ben", api.read_token) as stream:
        assert (await stream.next())[1]["session"] == "s2"


async def test_a_gateway_that_goes_away_is_said_and_looked_for(api: Api, worker: Worker) -> None:
    worker.session("s1")
    async with streaming(api, PATHS[0], api.read_token) as stream:
        await stream.next()
        await worker.peer.close()
        kind, said, _ = await stream.next()
        assert kind == "unavailable"
        assert said["reason"]
        await worker.peer.start()
        worker.sessions.clear()
        assert (await stream.next())[0] == "removed"


async def test_audit_records_are_told_as_they_are_written(api: Api) -> None:
    async with streaming(api, PATHS[1], api.read_token) as stream:
        await api.user("ana")
        kind, record, first = await stream.next()
        assert (kind, record["action"], record["object"]) == ("record", "user.created", "ana")
    await api.user("ben")
    await api.user("cyd")
    async with streaming(api, PATHS[1], api.read_token, **{"last-event-id": first}) as stream:
        assert [(await stream.next())[1]["object"] for _ in range(2)] == ["ben", "cyd"]


async def test_the_audit_is_searched_in_pages(api: Api) -> None:
    for name in ("ana", "ben", "cyd"):
        await api.user(name)
    query = {"event": "user.*", "order": "oldest_first"}
    whole = (await api.reader.get("/v1/audit", params=query)).json()
    assert [each["object"] for each in whole["items"]] == ["ana", "ben", "cyd"]
    assert (whole["next"], whole["notes"]) == (None, [])
    found, after = [], None
    while True:
        page = (await api.reader.get("/v1/audit", params={**query, "limit": 2, **({"after": after} if after else {})})).json()
        found += [each["object"] for each in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert found == ["ana", "ben", "cyd"]
    newest = (await api.reader.get("/v1/audit", params={"limit": 1})).json()
    assert [each["object"] for each in newest["items"]] == ["cyd"]
    assert (await api.reader.get("/v1/audit", params={"user": "ben"})).json()["items"][0]["object"] == "ben"
    for wrong in (
        {"after": "x"},
        {"limit": "1001"},
        {"since": "yesterday"},
        {"order": "random"},
        {"after": newest["next"] + "x"},
    ):
        assert (await api.reader.get("/v1/audit", params=wrong)).status_code == 422, wrong


@pytest.mark.parametrize("path", PATHS)
async def test_a_stream_ends_when_its_token_does(api: Api, worker: Worker, path: str) -> None:  # R06
    name, text = await api.token(TokenScope.READ)
    async with streaming(api, path, text) as stream:
        await asyncio.sleep(0.1)
        await revoke_token(api.store, name=name, **WHY)
        while True:
            kind, said, _ = await stream.next(2.5)
            if kind == "end":
                break
        assert said == {"reason": "the token has ended"}
        await asyncio.wait_for(stream.ended.wait(), 1)


@pytest.mark.parametrize("path", PATHS)
async def test_a_stream_ends_with_the_process(api: Api, worker: Worker, path: str) -> None:
    async with streaming(api, path, api.read_token) as stream:
        api.context.stopping.set()
        assert await stream.next() == ("end", {"reason": "the admin API stops"}, "")


@pytest.mark.parametrize("path", PATHS)
async def test_a_stream_is_for_listed_addresses_and_tokens(api: Api, worker: Worker, path: str) -> None:  # L08
    async with streaming(api, path, api.read_token, "192.0.2.7") as stream:
        assert stream.status == 403
    async with streaming(api, path, "pgb_" + "x" * 43) as stream:
        assert stream.status == 401


async def test_there_is_a_bound_to_streams(api: Api, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_STREAMS", 1)
    async with streaming(api, PATHS[0], api.read_token) as one:
        assert one.status == 200
        async with streaming(api, PATHS[0], api.read_token) as other:
            assert other.status == 503
    async with streaming(api, PATHS[0], api.read_token) as later:
        assert later.status == 200


async def test_a_reader_that_does_not_read_is_given_up(api: Api, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_SEND_SECONDS", 0.2)
    worker.session("s1")

    async def stuck(_self: Stream, message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(3600)
        _self._started.set()

    monkeypatch.setattr(Stream, "send", stuck)
    async with streaming(api, PATHS[0], api.read_token):
        await asyncio.sleep(1.0)
        assert api.app.state.streams.open == 0
