"""Connections inside TLS get every byte, in order, each its own, obey back-pressure, and hear of the end; on both event loops."""

import asyncio
import concurrent.futures
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import uvloop

from gateway.proxy.handshake import shake_hands
from gateway.proxy.tls import ServerTls
from gateway.proxy.tls_transport import TlsTransport
from tests.support.upstream import make_certificates

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.Loop}
SECONDS = 10.0
LARGE = 4 * 1024 * 1024  # more than sockets keep


class Tls:
    def __init__(self, folder: Path) -> None:
        ca_file, files = make_certificates(folder)
        self.server = ServerTls(files.cert_file, files.key_file).context
        self.client = ssl.create_default_context(cafile=str(ca_file))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"))


W = TypeVar("W", bound="Witness")


class Witness(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.read = b""
        self.pieces = 0
        self.ended = asyncio.Event()
        self.came = asyncio.Event()
        self.error: Exception | None = None
        self.transport = cast(TlsTransport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append("made")
        self.transport = cast(TlsTransport, transport)

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.read += data
        self.pieces += 1
        self.came.set()

    def eof_received(self) -> bool:
        self.told.append("eof")
        return False

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.error = exc
        self.ended.set()

    async def has_read(self, size: int) -> bytes:
        async with asyncio.timeout(SECONDS):
            while len(self.read) < size:
                self.came.clear()
                await self.came.wait()
        return self.read


class Echo(Witness):
    """Sends back what it reads."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


@contextlib.contextmanager
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connected over the loopback, since what happens at the end is TCP's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or a reset overtakes what was said before it
    with near, far:
        yield near, far


async def open_between(tls: Tls, ours: W, ends: tuple[socket.socket, socket.socket]) -> tuple[W, ssl.SSLSocket]:
    """The server's end is ours; the other is Python's own blocking client."""
    near, far = ends

    def connect() -> ssl.SSLSocket:
        near.settimeout(SECONDS)
        return tls.client.wrap_socket(near, server_hostname="localhost")

    client = asyncio.create_task(asyncio.to_thread(connect))
    sock = await shake_hands(far, tls.server, SECONDS, server_side=True)
    TlsTransport(asyncio.get_running_loop(), sock, ours).start()
    return ours, await client


def run(loop: str, talk: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(4 * SECONDS):
            await talk()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(bounded())


async def ended(ours: Witness) -> None:
    async with asyncio.timeout(SECONDS):
        await ours.ended.wait()
    assert ours.told.count("lost") == 1
    assert ours.transport.get_extra_info("socket").fileno() == -1


def reset(client: ssl.SSLSocket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    socket.socket.close(client)


def read_all(client: ssl.SSLSocket, size: int) -> bytes:
    found = b""
    while len(found) < size and (part := client.recv(65536)):
        found += part
    return found


loops = pytest.mark.parametrize("loop", LOOPS)


@loops
@pytest.mark.parametrize("size", [1, 8 * 1024, 16 * 1024, 16 * 1024 + 1, 64 * 1024, 300_000, LARGE])
def test_what_is_sent_comes_whole_and_is_answered_whole_while_it_comes(tls: Tls, loop: str, size: int) -> None:
    text = (bytes(range(256)) * (size // 256 + 1))[:size]

    async def talk() -> None:
        with sockets() as (near, far):
            near.setblocking(False)
            client = asyncio.create_task(asyncio.open_connection(sock=near, ssl=tls.client, server_hostname="localhost"))
            ours = Echo()
            sock = await shake_hands(far, tls.server, SECONDS, server_side=True)
            TlsTransport(asyncio.get_running_loop(), sock, ours).start()
            reader, writer = await client
            writer.write(text)
            assert await reader.readexactly(size) == text
            assert ours.read == text
            writer.close()
            await ended(ours)

    run(loop, talk)


@loops
def test_each_connection_gets_its_own(tls: Tls, loop: str) -> None:
    async def talk() -> None:
        with contextlib.ExitStack() as stack:
            opened = [await open_between(tls, Echo(), stack.enter_context(sockets())) for _ in range(4)]
            for number, (_, client) in enumerate(opened):
                await asyncio.to_thread(client.sendall, bytes([65 + number]) * 40_000)
            for number, (ours, client) in enumerate(opened):
                assert await asyncio.to_thread(read_all, client, 40_000) == bytes([65 + number]) * 40_000
                assert ours.read == bytes([65 + number]) * 40_000

    run(loop, talk)


def test_event_loops_in_two_threads_get_their_own(tls: Tls) -> None:
    """The compiled twin reads into a buffer that connections take turns with."""

    def talk_alone(letter: str) -> None:
        async def talk() -> None:
            with sockets() as ends:
                ours, client = await open_between(tls, Echo(), ends)
                for size in range(1, 400):
                    await asyncio.to_thread(client.sendall, letter.encode() * size)
                    assert await asyncio.to_thread(read_all, client, size) == letter.encode() * size
                assert set(ours.read.decode()) == {letter}

        run("uvloop", talk)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(talk_alone, "abcd"))


@loops
def test_another_protocol_takes_over_between_two_reads(tls: Tls, loop: str) -> None:
    async def talk() -> None:
        with sockets() as ends:
            first, client = await open_between(tls, Witness(), ends)
            await asyncio.to_thread(client.sendall, b"one")
            await first.has_read(3)
            second = Echo()
            second.transport = first.transport
            first.transport.set_protocol(second)
            assert first.transport.get_protocol() is second
            await asyncio.to_thread(client.sendall, b"two")
            assert await asyncio.to_thread(read_all, client, 3) == b"two"
            client.close()
            await ended(second)
            assert first.told == ["made"]

    run(loop, talk)


@loops
def test_what_is_not_taken_is_kept_and_the_protocol_is_told(tls: Tls, loop: str) -> None:
    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Witness(), ends)
            transport = ours.transport
            transport.set_write_buffer_limits(high=100_000)
            for _ in range(8):
                transport.write(b"x" * (LARGE // 8))
            transport.write(b"the end")
            assert ours.told == ["made", "pause"]
            assert transport.get_write_buffer_size() > 100_000
            found = await asyncio.to_thread(read_all, client, LARGE + 7)
            assert found == b"x" * LARGE + b"the end"
            assert ours.told == ["made", "pause", "resume"]
            assert not transport.get_write_buffer_size()
            await asyncio.to_thread(client.sendall, b"still there")
            assert await ours.has_read(11) == b"still there"

    run(loop, talk)


@loops
def test_nothing_is_read_while_reading_is_paused(tls: Tls, loop: str) -> None:
    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Witness(), ends)
            ours.transport.pause_reading()
            ours.transport.pause_reading()
            assert not ours.transport.is_reading()
            await asyncio.to_thread(client.sendall, b"x" * 50_000)
            await asyncio.sleep(0.1)
            assert not ours.read
            ours.transport.resume_reading()
            ours.transport.resume_reading()
            assert await ours.has_read(50_000) == b"x" * 50_000

    run(loop, talk)


@loops
@pytest.mark.parametrize("how", ["close_notify", "end of the stream", "reset"])
def test_the_peers_end_is_heard_of_once(tls: Tls, loop: str, how: str) -> None:
    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Witness(), ends)
            await asyncio.to_thread(client.sendall, b"last words")
            await ours.has_read(10)
            match how:
                case "close_notify":
                    await asyncio.to_thread(client.unwrap)
                case "end of the stream":
                    socket.socket.close(client)
                case _:
                    reset(client)
            await ended(ours)
            assert (ours.error is not None) == (how == "reset")
            assert ours.told == (["made", "lost"] if how == "reset" else ["made", "eof", "lost"])

    run(loop, talk)


@loops
def test_what_the_peer_said_before_it_closed_is_read_though_it_hears_no_more(tls: Tls, loop: str) -> None:
    """As a server does that ends a session: its last words, and a closed socket, while more is on the way to it."""

    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Witness(), ends)
            ours.transport.pause_reading()
            await asyncio.to_thread(client.sendall, b"last words")
            socket.socket.close(client)
            for _ in range(5):
                ours.transport.write(b"more" * 1000)
                await asyncio.sleep(0.02)
            ours.transport.resume_reading()
            await ended(ours)
            assert ours.read == b"last words"

    run(loop, talk)


@loops
@pytest.mark.parametrize("size", [10, 50_000])
def test_a_reset_that_comes_with_something_to_read_is_heard_of(tls: Tls, loop: str, size: int) -> None:
    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Witness(), ends)
            ours.transport.pause_reading()
            await asyncio.to_thread(client.sendall, b"?" * size)
            await asyncio.sleep(0.05)  # until it is there
            reset(client)
            await asyncio.sleep(0.02)
            ours.transport.resume_reading()
            await ended(ours)
            assert ours.error is not None
            assert (b"?" * size).startswith(ours.read)

    run(loop, talk)


@loops
def test_a_reset_that_comes_with_something_to_read_is_heard_of_once_the_protocol_reads_on(tls: Tls, loop: str) -> None:
    class Slow(Witness):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Slow(), ends)
            ours.transport.pause_reading()
            await asyncio.to_thread(client.sendall, b"?" * 10)
            await asyncio.sleep(0.05)  # until it is there
            reset(client)
            await asyncio.sleep(0.02)
            ours.transport.resume_reading()
            await asyncio.sleep(0.05)
            assert "lost" not in ours.told
            ours.transport.resume_reading()
            await ended(ours)
            assert ours.error is not None

    run(loop, talk)


@loops
def test_a_peer_that_is_gone_is_not_looked_for_while_nobody_reads(tls: Tls, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    look = TlsTransport._look_again

    def counted(transport: TlsTransport) -> None:
        nonlocal looks
        looks += 1
        look(transport)

    monkeypatch.setattr(TlsTransport, "_look_again", counted)

    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Witness(), ends)
            ours.transport.pause_reading()
            reset(client)
            for _ in range(10):
                ours.transport.write(b"more")
                await asyncio.sleep(0.02)
            assert not looks
            assert "lost" not in ours.told
            ours.transport.resume_reading()
            await ended(ours)
            assert ours.error is not None

    run(loop, talk)


@loops
@pytest.mark.parametrize("paused", [False, True])
def test_to_close_when_the_peer_is_gone_is_the_end(tls: Tls, loop: str, paused: bool) -> None:
    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Witness(), ends)
            ours.transport.pause_reading()
            reset(client)
            ours.transport.write(b"more")
            ours.transport.write(b"more")
            if not paused:
                ours.transport.resume_reading()
            ours.transport.close()
            async with asyncio.timeout(1.0):  # not the time that a peer is given to close
                await ended(ours)

    run(loop, talk)


@loops
def test_what_was_written_leaves_before_the_end_though_the_peer_has_much_to_say(tls: Tls, loop: str) -> None:
    """Closing a socket with something unread resets the connection, and takes from the peer what it has not read yet."""

    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Witness(), ends)
            ours.transport.pause_reading()
            await asyncio.to_thread(client.sendall, b"?" * 30_000)
            await asyncio.sleep(0.05)
            ours.transport.write(b"x" * LARGE + b"farewell")
            ours.transport.close()
            ours.transport.write(b"not this")
            assert ours.transport.is_closing()
            found = await asyncio.to_thread(read_all, client, LARGE + 100)
            assert found == b"x" * LARGE + b"farewell"
            assert await asyncio.to_thread(client.recv, 1) == b""
            client.close()
            await ended(ours)
            assert not ours.read

    run(loop, talk)


@loops
def test_to_close_as_soon_as_all_has_left_is_to_close_once(tls: Tls, loop: str) -> None:
    class Hasty(Witness):
        def resume_writing(self) -> None:
            super().resume_writing()
            self.transport.write(b"farewell")
            self.transport.close()

    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Hasty(), ends)
            ours.transport.set_write_buffer_limits(high=100_000)
            ours.transport.write(b"x" * LARGE)
            assert await asyncio.to_thread(read_all, client, LARGE + 100) == b"x" * LARGE + b"farewell"
            client.close()
            await ended(ours)
            assert ours.told == ["made", "pause", "resume", "lost"]

    run(loop, talk)


@loops
def test_a_protocol_that_fails_at_once_leaves_no_socket(tls: Tls, loop: str) -> None:
    class Faulty(Witness):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raise ValueError("a defect")

    async def talk() -> None:
        with sockets() as (near, far):
            near.settimeout(SECONDS)
            client = asyncio.create_task(asyncio.to_thread(tls.client.wrap_socket, near, server_hostname="localhost"))
            sock = await shake_hands(far, tls.server, SECONDS, server_side=True)
            await client
            with pytest.raises(ValueError, match="a defect"):
                TlsTransport(asyncio.get_running_loop(), sock, Faulty()).start()
            assert sock.fileno() == -1

    run(loop, talk)


@loops
def test_a_peer_that_never_closes_is_left(tls: Tls, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.proxy.tls_transport._LINGER_SECONDS", 0.2)

    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Witness(), ends)
            ours.transport.close()
            await ended(ours)
            assert ours.error is None
            assert await asyncio.to_thread(client.recv, 1) == b""

    run(loop, talk)


@loops
@pytest.mark.parametrize("much", [b"", b"x" * LARGE])
def test_to_abort_ends_it_now(tls: Tls, loop: str, much: bytes) -> None:
    async def talk() -> None:
        with sockets() as ends:
            ours, _ = await open_between(tls, Witness(), ends)
            ours.transport.write(much)
            ours.transport.abort()
            ours.transport.abort()
            ours.transport.close()
            ours.transport.write(b"nothing")
            ours.transport.pause_reading()
            ours.transport.resume_reading()
            await ended(ours)

    run(loop, talk)


@loops
def test_bytes_that_are_no_tls_end_the_connection(tls: Tls, loop: str) -> None:
    async def talk() -> None:
        with sockets() as ends:
            ours, client = await open_between(tls, Witness(), ends)
            socket.socket.send(client, b"Q\0\0\0\x0dSELECT 1\0")
            await ended(ours)
            assert isinstance(ours.error, ssl.SSLError)
            assert not ours.read

    run(loop, talk)


@loops
def test_a_protocol_that_fails_loses_its_connection_and_nobody_elses(tls: Tls, loop: str) -> None:
    class Faulty(Witness):
        def data_received(self, data: bytes) -> None:
            raise ValueError("a defect")

    async def talk() -> None:
        said: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        with sockets() as ends, sockets() as others:
            ours, client = await open_between(tls, Faulty(), ends)
            other, another = await open_between(tls, Echo(), others)
            await asyncio.to_thread(client.sendall, b"go")
            await ended(ours)
            assert [str(each["exception"]) for each in said] == ["a defect"]
            await asyncio.to_thread(another.sendall, b"on")
            assert await asyncio.to_thread(read_all, another, 2) == b"on"
            assert other.told == ["made"]

    run(loop, talk)


@loops
def test_new_keys_in_the_middle_are_nothing_to_notice(tls: Tls, loop: str) -> None:
    """TLS 1.2 and 1.3 both; 1.3 with records behind the handshake that carry no text."""

    async def talk() -> None:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            tls.client.maximum_version = version
            try:
                with sockets() as ends:
                    ours, client = await open_between(tls, Echo(), ends)
                    assert ours.transport.get_extra_info("ssl_object").version() == client.version()
                    for size in (1, 16_384, 100_000):
                        await asyncio.to_thread(client.sendall, b"y" * size)
                        assert await asyncio.to_thread(read_all, client, size) == b"y" * size
            finally:
                tls.client.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED

    run(loop, talk)


@loops
def test_a_handshake_that_takes_too_long_leaves_no_socket(tls: Tls, loop: str) -> None:
    async def talk() -> None:
        with sockets() as (near, far):
            with pytest.raises(TimeoutError):
                await shake_hands(far, tls.server, 0.1, server_side=True)
            near.settimeout(SECONDS)
            assert near.recv(1) == b""

    run(loop, talk)


@loops
@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello" * 10, b""])
def test_a_peer_that_speaks_no_tls_is_refused_and_no_socket_is_left(tls: Tls, loop: str, first: bytes) -> None:
    async def talk() -> None:
        with sockets() as (near, far):
            near.sendall(first)
            near.shutdown(socket.SHUT_WR)
            with pytest.raises(OSError, match=r".*") as refused:
                await shake_hands(far, tls.server, SECONDS, server_side=True)
            assert not isinstance(refused.value, TimeoutError)
            assert far.fileno() == -1
            near.settimeout(SECONDS)
            with contextlib.suppress(ConnectionResetError):
                while near.recv(4096):
                    pass

    run(loop, talk)


@loops
def test_a_server_that_is_another_is_not_trusted(tls: Tls, loop: str) -> None:
    async def talk() -> None:
        with sockets() as (near, far):
            server = asyncio.create_task(shake_hands(far, tls.server, SECONDS, server_side=True))
            with pytest.raises(ssl.SSLCertVerificationError):
                await shake_hands(near, tls.client, SECONDS, server_hostname="elsewhere.example")
            with pytest.raises(OSError, match=r".*"):
                await server

    run(loop, talk)
