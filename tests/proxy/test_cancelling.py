"""Cancels on their way to upstream: one at a time, and none is forgotten for that.

The server is a socket of ours that reads cancel requests and closes when it is told to, as a busy PostgreSQL does.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.proxy import cancel
from gateway.proxy.cancel import UpstreamCancel
from gateway.proxy.upstream import Place

PATIENCE_SECONDS = 5.0
REQUEST_BYTES = 16


class SlowServer:
    """Counts requests; each one's connection stays open until `close_all`."""

    def __init__(self) -> None:
        self.requests = 0
        self._open: list[asyncio.StreamWriter] = []
        self._keeps = True

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(REQUEST_BYTES)
        self.requests += 1
        if self._keeps:
            self._open.append(writer)
        else:
            writer.close()

    def close_all(self) -> None:
        self._keeps = False
        for writer in self._open:
            writer.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - of what another task does
            await asyncio.sleep(0.005)


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[SlowServer, UpstreamCancel]]:
    taker = SlowServer()
    async with await asyncio.start_server(taker.take, "127.0.0.1", 0) as server:
        place = Place(socket.AF_INET, server.sockets[0].getsockname(), None, "127.0.0.1")
        yield taker, UpstreamCancel(place, 7, b"key!")
        taker.close_all()


async def test_a_cancel_of_the_next_statement_is_sent_when_the_one_before_is_through(
    upstream: tuple[SlowServer, UpstreamCancel],
) -> None:
    """The server signalled the first statement's end, but has not closed yet: the second one's cancel was forgotten for good."""
    server, cancels = upstream
    running: object | None = (first := object())
    cancels.insist(first, lambda: running)
    await until(lambda: server.requests == 1)
    running = second = object()
    cancels.insist(second, lambda: running)
    await asyncio.sleep(0.05)
    assert server.requests == 1
    server.close_all()
    await until(lambda: server.requests == 2)
    running = None


async def test_what_still_runs_is_cancelled_again_and_nothing_else(
    upstream: tuple[SlowServer, UpstreamCancel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second statement's, too, though the first one's turn to be looked at has not come."""
    monkeypatch.setattr(cancel, "_AGAIN_SECONDS", 0.05)
    server, cancels = upstream
    server.close_all()
    running: object | None = (first := object())
    cancels.insist(first, lambda: running)
    await until(lambda: server.requests == 1)
    running = second = object()
    cancels.insist(second, lambda: running)
    await until(lambda: server.requests >= 3)
    running = None
    await asyncio.sleep(0.2)  # one may have been on its way
    seen = server.requests
    await asyncio.sleep(0.5)
    assert server.requests == seen


async def test_of_definitions_alone_it_is_asked_once(
    upstream: tuple[SlowServer, UpstreamCancel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancel, "_AGAIN_SECONDS", 0.02)
    server, cancels = upstream
    server.close_all()
    cancels.insist(None, lambda: None)
    await until(lambda: server.requests == 1)
    await asyncio.sleep(0.2)
    assert server.requests == 1
