"""One session that waits, against a server that does what it likes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from gateway.proxy import waiting
from gateway.proxy.upstream import Place, UpstreamConnection, connect
from gateway.proxy.waiting import WaitingSession
from gateway.session.upstream_login import UpstreamRefused, Welcome
from tests.support.playbook import done, ready
from tests.support.wire import packet, text

NAMED = done("SET") + packet("S", text("application_name") + text("ada/s1")) + ready()
Start = Callable[[], AbstractAsyncContextManager[tuple[WaitingSession, asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture
def lost() -> list[WaitingSession]:
    return []


@pytest.fixture
def start(lost: list[WaitingSession]) -> Start:
    @asynccontextmanager
    async def one() -> AsyncIterator[tuple[WaitingSession, asyncio.StreamReader, asyncio.StreamWriter]]:
        accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda *pair: accepted.set_result(pair), "127.0.0.1", 0)
        family, address = server.sockets[0].family, server.sockets[0].getsockname()
        place = Place(family, address, None, "localhost")
        transport, connection = await connect(place, UpstreamConnection)
        transport.pause_reading()  # as after a login
        reader, writer = await accepted
        session = WaitingSession("s1", connection, Welcome({}, 7, b"key", b"", False, False), place, lost.append)
        try:
            yield session, reader, writer
        finally:
            writer.close()
            transport.abort()
            server.close()

    return one


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(3):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def test_it_is_handed_over_with_its_answer(start: Start, lost: list[WaitingSession]) -> None:
    async with start() as (session, reader, writer):
        session.begin("ada/s1", {})
        assert b"SET application_name = 'ada/s1'" in await reader.read(1000)
        writer.write(NAMED)
        welcome = await session.finish()
        assert welcome.statuses == {"application_name": "ada/s1"}
        assert session.connection.transport.get_protocol() is session.connection
        assert lost == []


@pytest.mark.parametrize("word", [packet("N", b"\0"), packet("S", text("a") + text("b")), packet("E", b"\0")])
async def test_whatever_the_server_says_while_it_waits_is_the_end_of_waiting(
    start: Start, lost: list[WaitingSession], word: bytes
) -> None:
    async with start() as (session, _, writer):
        writer.write(word)
        await until(lambda: lost == [session])


async def test_a_server_that_closes_is_noticed_at_once(start: Start, lost: list[WaitingSession]) -> None:
    async with start() as (session, _, writer):
        writer.close()
        await until(lambda: lost == [session])


async def test_a_mute_server_costs_a_moment(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_ANSWER_SECONDS", 0.05)
    async with start() as (session, _, _):
        session.begin("ada/s1", {})
        with pytest.raises(UpstreamRefused):
            await session.finish()
        assert session.closing


async def test_a_server_that_closes_at_the_hand_over_is_none(start: Start, lost: list[WaitingSession]) -> None:
    async with start() as (session, _, writer):
        session.begin("ada/s1", {})
        writer.close()
        with pytest.raises(UpstreamRefused):
            await session.finish()
        assert lost == []


async def test_who_is_dropped_says_goodbye(start: Start, lost: list[WaitingSession]) -> None:
    async with start() as (session, reader, _):
        session.drop()
        session.drop()
        assert await reader.read() == packet("X")
        assert lost == []
