"""Words of ours never land inside a message of upstream's: what stands in for the session until the message is over."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.proxy.between_messages import Interposed, LastWords


@dataclass
class Socket(asyncio.Transport):
    """A transport that only remembers."""

    protocol: Any = None
    written: list[bytes] = field(default_factory=list)
    closed: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol  # type: ignore[no-any-return]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True
        self.over.set()

    def abort(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


@dataclass
class Session(asyncio.Protocol):
    client: Socket
    lost: bool = False

    def data_received(self, data: bytes) -> None:
        self.client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


@pytest.mark.parametrize("cuts", [(), (3,), (5,), (7,), (1, 2, 3, 4, 5, 6, 7, 8, 9)])
async def test_what_is_said_comes_behind_the_message_however_it_is_cut(cuts: tuple[int, ...]) -> None:
    client, upstream = Socket(), Socket()
    upstream.protocol = session = Session(client)
    Interposed(upstream, 5, lambda: client.write(b"|"))
    data = b"-----NEXT!"
    for begin, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        upstream.protocol.data_received(data[begin:end])
    assert b"".join(client.written) == b"-----|NEXT!"
    assert upstream.protocol is session


async def test_the_last_words_come_behind_the_rest_of_the_message_and_nothing_after_them() -> None:
    client, upstream = Socket(), Socket()
    upstream.protocol = session = Session(client)
    LastWords(upstream, 5, client, b"FATAL")
    upstream.protocol.data_received(b"---")
    upstream.protocol.data_received(b"--and more")
    upstream.protocol.data_received(b"and more")
    upstream.protocol.connection_lost(None)
    assert b"".join(client.written) == b"-----FATAL"
    assert client.closed
    assert session.lost


@pytest.mark.parametrize("lost", [True, False])
async def test_a_rest_that_does_not_come_ends_the_client_without_words(lost: bool) -> None:
    client, upstream = Socket(), Socket()
    upstream.protocol = Session(client)
    LastWords(upstream, 5, client, b"FATAL")
    upstream.protocol.data_received(b"--")
    if lost:
        upstream.protocol.connection_lost(None)
    else:
        await asyncio.wait_for(client.over.wait(), 5)
    upstream.protocol.data_received(b"---")
    assert b"".join(client.written) == b"--"
    assert client.closed
