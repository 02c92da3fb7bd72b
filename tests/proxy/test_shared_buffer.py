"""TLS connections that read into one buffer get every byte, in order, each its own, and hear of the end; on both event loops."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import uvloop

from gateway.proxy.shared_buffer import SharedBuffer, set_protocol
from tests.support.upstream import make_certificates

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.Loop}


class Echo(asyncio.Protocol):
    """Sends back what it reads; behind b"turn" another one of it takes over, which marks what it sends."""

    def __init__(self, mark: bytes = b"") -> None:
        self.mark = mark
        self.transport: asyncio.Transport | None = None
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        assert type(data) is bytes
        self.transport.write(self.mark + data)
        if data == b"turn":
            after = Echo(b"after:")
            after.transport, after.ended = self.transport, self.ended
            set_protocol(self.transport, after)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


class Tls:
    """Both ends' contexts, and what the server made."""

    def __init__(self, folder: Path) -> None:
        ca_file, files = make_certificates(folder)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(files.cert_file, files.key_file)
        self.client = ssl.create_default_context(cafile=str(ca_file))
        self.echoes: list[Echo] = []

    def echo(self) -> SharedBuffer:
        self.echoes.append(Echo())
        return SharedBuffer(self.echoes[-1])


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"))


async def talk(tls: Tls, text: bytes, clients: int) -> None:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(tls.echo, "127.0.0.1", 0, ssl=tls.server) as server:
        port = server.sockets[0].getsockname()[1]
        ends = [
            await asyncio.open_connection("127.0.0.1", port, ssl=tls.client, server_hostname="localhost")
            for _ in range(clients)
        ]
        texts = [bytes([65 + number]) + text for number in range(clients)]
        for (_, writer), sent in zip(ends, texts, strict=True):
            writer.write(sent)
        for (reader, _), sent in zip(ends, texts, strict=True):
            assert await reader.readexactly(len(sent)) == sent
        reader, writer = ends[0]
        for sent, expected in ((b"turn", b"turn"), (b"on", b"after:on")):
            writer.write(sent)
            assert await reader.readexactly(len(expected)) == expected
        for _, writer in ends:
            writer.close()
        for echo in tls.echoes[-clients:]:
            await asyncio.wait_for(echo.ended.wait(), 5)


@pytest.mark.parametrize("size", [1, 16 * 1024, 64 * 1024 - 1, 300_000])
@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_sent_comes_whole_to_its_own_connection(tls: Tls, loop: str, size: int) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(talk(tls, b"x" * size, 3))


class Bare(asyncio.Transport):
    """One that is not inside TLS."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.BaseProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


def test_a_transport_without_tls_gets_the_protocol_itself() -> None:
    async def attach() -> None:
        transport, protocol = Bare(), Echo()
        set_protocol(transport, protocol)
        assert transport.protocol is protocol

    asyncio.run(attach())
