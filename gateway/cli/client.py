"""The admin API, asked from a command: requests go out, JSON comes back, refusals become CommandErrors.

Every command is written against `Api`. How a request travels is a `Transport`: within this process over the opened store
(gateway/cli/local.py), or over the network (gateway/cli/remote.py). Both speak to the same routes.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Protocol, TypeAlias, TypeVar
from urllib.parse import quote
from uuid import uuid4

from gateway.cli.errors import CommandError
from gateway.cli.output import JsonValue, Record, note

T = TypeVar("T")
Query: TypeAlias = str | int | bool | None

_PREFIX: Final = "/v1"
_PAGE: Final = 500
ONCE: Final = "idempotency-key"
_REPLAYED: Final = "idempotency-replayed"
_CHANGED_HINT: Final = "Somebody else was quicker. Look at it again, then say once more what you want."


@dataclass(frozen=True, slots=True)
class Request:
    """`query` and `headers` hold no secrets; `body` may."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Transport(Protocol):
    """Carries requests. Raises CommandError when there is nobody to carry them to."""

    async def send(self, request: Request) -> Response: ...

    def stream(self, request: Request) -> AbstractAsyncContextManager[tuple[Response, AsyncIterator[bytes]]]:
        """A response whose body comes piece by piece; the Response's own body is empty."""
        ...

    @property
    def close(self) -> Callable[[], Awaitable[None]]: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """One object, and the version that `If-Match` would name."""

    record: Record
    version: int | None


def path(*segments: str) -> str:
    """`/v1/...` with each segment quoted. Raises CommandError for an empty one, which no object is called."""
    if not all(segments):
        raise CommandError("a name or an id cannot be empty")
    return "/".join((_PREFIX, *(quote(segment, safe="") for segment in segments)))


class Api:
    """The verbs. The transport is opened by the first request, so that a command's own errors cost nothing.

    Raises CommandError for everything that is not an answer to the question; its `rule` is the API's.
    """

    def __init__(self, connect: Callable[[], Coroutine[None, None, Transport]], url: str | None, config: Path | None) -> None:
        """`url`: None on the gateway's own machine; `config` is for that one."""
        self._connect = connect
        self._url = url
        self.config = config
        self.notes: list[str] = []  # what the API could not read, in sentences, of all pages so far
        self._runner = asyncio.Runner()
        self._transport: Transport | None = None

    @property
    def is_remote(self) -> bool:
        return self._url is not None

    @property
    def where(self) -> str:
        """For people."""
        return self._url or "this machine"

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._transport is not None:
            self.wait(self._transport.close())
        self._runner.close()

    def get(self, where: str, **query: Query) -> Fetched:
        response = self._send(Request("GET", where, _query(query)))
        return Fetched(_record(response), _version(response))

    def all(self, where: str, **query: Query) -> list[Record]:
        """All items of a listing, page after page."""
        return list(self.pages(where, **query))

    def pages(self, where: str, **query: Query) -> Iterator[Record]:
        """`limit` in the query: at most so many altogether. A page may be empty and have another behind it."""
        wanted = query.pop("limit", None)
        left = wanted if isinstance(wanted, int) else None
        after: str | None = None
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            page = _record(self._send(Request("GET", where, _query({**query, "limit": size, "after": after}))))
            items = records(page.get("items"))
            yield from items
            self.notes += [str(note) for note in _texts(page.get("notes")) if note not in self.notes]
            left = None if left is None else left - len(items)
            following = page.get("next")
            if following is None:
                return
            after = str(following)

    def post(self, where: str, body: Record | None = None, *, reason: str = "", **query: Query) -> Record:
        return self.change("POST", where, body, reason=reason, query=query)

    def put(
        self, where: str, body: Record | None = None, *, reason: str = "", version: int | None = None, **query: Query
    ) -> Record:
        return self.change("PUT", where, body, reason=reason, version=version, query=query)

    def patch(self, where: str, body: Record, *, reason: str = "", version: int | None = None) -> Record:
        return self.change("PATCH", where, body, reason=reason, version=version)

    def delete(self, where: str, *, reason: str = "", version: int | None = None, **query: Query) -> Record:
        return self.change("DELETE", where, None, reason=reason, version=version, query=query)

    def change(
        self,
        method: str,
        where: str,
        body: Record | None,
        *,
        reason: str = "",
        version: int | None = None,
        query: Mapping[str, Query] = MappingProxyType({}),
    ) -> Record:
        """One change. `version`: only if the object is still at that one.

        What goes over a network carries a key, by which the API knows it again when it comes twice.
        """
        headers = {} if version is None else {"if-match": f'"{version}"'}
        content = b""
        if body is not None:
            content = json.dumps(body).encode()
            headers["content-type"] = "application/json"
        if method == "POST" and self.is_remote:
            headers[ONCE] = uuid4().hex
        response = self._send(Request(method, where, _query({**query, "reason": reason or None}), headers, content))
        if _REPLAYED in response.headers:
            note("Note: the change was made, but the first answer was lost; what is shown only once is lost with it.")
        return _record(response)

    def follow(self, where: str, **query: Query) -> Iterator[Record]:
        """Server-sent events from this very moment on, as they come. Raises CommandError when the other side ends."""
        lines = self._lines(Request("GET", where, _query(query), {"accept": "text/event-stream"}))
        self.wait(_next(lines))  # the answer has begun
        return self._events(lines)

    def _events(self, lines: AsyncGenerator[str, None]) -> Iterator[Record]:
        kind = ""
        try:
            while True:
                try:
                    line = self.wait(_next(lines))
                except StopAsyncIteration:
                    raise CommandError("the stream ended") from None
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data" and kind == "end":
                    raise CommandError(f"the stream ended: {record(_parse(value.encode())).get('reason')}")
                elif name == "data":
                    yield record(_parse(value.encode()))
        finally:
            self.wait(lines.aclose())

    def wait(self, work: Awaitable[T]) -> T:
        """For what is done on this machine, in the same event loop."""

        async def waiting() -> T:
            return await work

        return self._runner.run(waiting())

    def run(self, work: Callable[[Transport], Coroutine[None, None, T]]) -> T:
        async def connected() -> T:
            if self._transport is None:
                self._transport = await self._connect()
            return await work(self._transport)

        return self._runner.run(connected())

    def _send(self, request: Request) -> Response:
        response = self.run(lambda transport: transport.send(request))
        _check(response)
        return response

    async def _lines(self, request: Request) -> AsyncGenerator[str, None]:
        if self._transport is None:
            self._transport = await self._connect()
        async with self._transport.stream(request) as (response, pieces):
            if response.status >= 400:
                _check(Response(response.status, response.headers, b"".join([piece async for piece in pieces])))
            yield ""
            rest = b""
            async for piece in pieces:
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    yield line.decode("utf-8", "replace")


def read_items(response: Response) -> list[Record]:
    """Of one page of a listing."""
    _check(response)
    return records(_record(response).get("items"))


def record(value: JsonValue) -> Record:
    """Raises CommandError when it is none."""
    if not isinstance(value, Mapping):
        raise CommandError("the answer is not what this version of pgbastion understands")
    return value


def records(value: JsonValue) -> list[Record]:
    if isinstance(value, str | Mapping) or not isinstance(value, list | tuple):
        raise CommandError("the answer is not what this version of pgbastion understands")
    return [record(each) for each in value]


def _texts(value: JsonValue) -> list[JsonValue]:
    return list(value) if isinstance(value, list) else []


async def _next(lines: AsyncIterator[str]) -> str:
    return await anext(lines)


def _record(response: Response) -> Record:
    return record(_parse(response.body)) if response.body else {}


def _parse(body: bytes) -> JsonValue:
    try:
        value: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        raise CommandError("the answer is not JSON: is this the admin API?") from None
    return value


def _version(response: Response) -> int | None:
    tag = response.headers.get("etag", "").removeprefix("W/").strip('"')
    return int(tag) if tag.isdecimal() else None


def _query(given: Mapping[str, Query]) -> tuple[tuple[str, str], ...]:
    return tuple((name, _text(value)) for name, value in given.items() if value is not None)


def _text(value: Query) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(response: Response) -> None:
    """Raises CommandError for a status that says no, with what the problem says."""
    if response.status < 400:
        return
    problem: Mapping[str, JsonValue] = {}
    if "json" in response.headers.get("content-type", ""):
        found = _parse(response.body)
        problem = found if isinstance(found, Mapping) else {}
    message = str(problem.get("detail") or problem.get("title") or f"the admin API answered with status {response.status}")
    hint, rule = str(problem.get("hint") or ""), str(problem.get("rule") or "")
    if rule == "body-too-large":
        hint = "Raise admin_api.max_body_bytes, or run this on the gateway's own machine."
    if rule == "no-such-page":
        message, hint = "there is nothing of that name", "Or the admin API is of another version than this command."
    if rule == "changed-meanwhile" and not hint:
        hint = _CHANGED_HINT
    raise CommandError(message, hint, rule)
