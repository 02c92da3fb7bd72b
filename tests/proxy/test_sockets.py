"""What every client's connection is told of keeping alive, it is told by the listening socket or one by one, but told."""

import asyncio
import os
import socket
from collections.abc import Callable

import pytest
import uvloop

from gateway.proxy.sockets import ACCEPTED_INHERIT, handed_to, keep_alive, open_doors


def options(sock: socket.socket) -> dict[str, int]:
    wanted = [(socket.SOL_SOCKET, "SO_KEEPALIVE"), (socket.IPPROTO_TCP, "TCP_NODELAY")]
    wanted += [(socket.IPPROTO_TCP, name) for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")]
    return {name: sock.getsockopt(level, getattr(socket, name)) for level, name in wanted if hasattr(socket, name)}


def test_an_accepted_connection_is_kept_alive() -> None:
    doors = open_doors("127.0.0.1", 0, 10, 1)
    try:
        listening = doors.shares[0][0]
        listening.setblocking(True)
        with socket.create_connection(("127.0.0.1", doors.port)), listening.accept()[0] as accepted:
            if not ACCEPTED_INHERIT:
                keep_alive(accepted)
            with socket.socket() as told:
                keep_alive(told)
                assert options(accepted) == options(told)
            assert options(accepted)["SO_KEEPALIVE"] == 1
    finally:
        doors.close()


class Heard(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.heard, self.lost = asyncio.Event(), asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.heard.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@pytest.mark.parametrize("loop_factory", [uvloop.Loop, asyncio.SelectorEventLoop])
def test_what_the_loop_was_handed_is_its_own(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Each of many connections keeps its own number, is closed once, and closes no number that is somebody else's by then."""

    async def come_and_go() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as server:
            ends: list[tuple[socket.socket, socket.socket]] = []
            for _ in range(5):
                near = socket.create_connection(server.getsockname())
                ends.append((near, server.accept()[0]))
        for pair in ends:
            for end in pair:
                end.setblocking(False)
        numbers = [end.fileno() for pair in ends for end in pair]
        made = await asyncio.gather(
            *(loop.create_connection(Heard, sock=handed_to(loop, near)) for near, _ in ends),
            *(loop.connect_accepted_socket(Heard, handed_to(loop, far)) for _, far in ends),
        )
        for number, (transport, _) in enumerate(made[:5]):
            transport.write(b"%d" % number)
        for _, protocol in made[5:]:
            await protocol.heard.wait()
        assert [heard.data for _, heard in made[5:]] == [b"%d" % number for number in range(5)]
        for transport, _ in made:
            transport.close()
        for _, protocol in made:
            await protocol.lost.wait()
        await asyncio.sleep(0)
        others = [os.dup(0) for _ in numbers]
        assert set(others) & set(numbers), "they take the lowest numbers that are free"
        for near, far in ends:
            near.close()
            far.close()
        made.clear()
        for other in others:
            os.close(other)  # raises if it was closed already

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(come_and_go())
