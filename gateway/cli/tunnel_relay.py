"""A port of this machine that leads to the gateway. Towards the gateway there is TLS, verified; on this machine there is none.

It carries bytes, and knows no password: whoever connects to the port logs in at the gateway as they would without it.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from gateway.connection_strings import Trust
from gateway.wire.backend import ErrorFields, authentication_sasl, build_error
from gateway.wire.errors import ProtocolViolation, WireError
from gateway.wire.framing import HEADER_SIZE, unpack_header
from gateway.wire.scram import SCRAM_PLUS
from gateway.wire.sqlstate import CONNECTION_FAILURE
from gateway.wire.startup import GssRequest, SslRequest, packet_size, read_packet

_CHUNK: Final = 64 * 1024
_FIRST_PACKET_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 15.0
_CLOSE_SECONDS: Final = 1.0
_ALPN: Final = "postgresql"
_NO: Final = b"N"
_LENGTH_BYTES: Final = 4
_AUTHENTICATION: Final = ord("R")
_NEGOTIATE: Final = ord("v")
_SASL: Final = (10).to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Way:
    """Where the gateway is. `context`: None without TLS."""

    host: str
    port: int
    context: ssl.SSLContext | None


def trusting(trust: Trust | None, ca_pem: str | None) -> ssl.SSLContext | None:
    """As `sslmode=verify-full`. Raises ValueError or ssl.SSLError for a CA that is none."""
    if trust is Trust.SAME_MACHINE:
        return None
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=None if trust is Trust.SYSTEM else ca_pem or "none")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # From Python 3.13 on the default; it refuses CAs of the kind that the PostgreSQL manual shows how to make.
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    context.set_alpn_protocols([_ALPN])
    return context


class Relay:
    """From `listen` to `close`. `failed` hears why the gateway could not be reached."""

    def __init__(self, way: Way, failed: Callable[[str], None]) -> None:
        self._way = way
        self._failed = failed
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def listen(self, port: int) -> int:
        """On 127.0.0.1 alone; 0: any free port. Returns the port. Raises OSError."""
        self._server = await asyncio.start_server(self._admit, "127.0.0.1", port, limit=_CHUNK)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def check(self) -> None:
        """Whether the gateway is there, and is the one that it should be. Raises OSError."""
        _, writer = await self._connect()
        await _close(writer)

    async def close(self) -> None:
        """Nobody comes in, nobody stays."""
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        way = self._way
        async with asyncio.timeout(_CONNECT_SECONDS):
            return await asyncio.open_connection(
                way.host, way.port, ssl=way.context, server_hostname=way.host if way.context else None, limit=_CHUNK
            )

    def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="tunnel")
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_FIRST_PACKET_SECONDS):
                first = await _first_packet(reader, writer)
            try:
                gateway = await self._connect()
            except OSError as error:
                words = f"the gateway cannot be reached: {reason_of(error)}"
                self._failed(words)
                writer.write(build_error(ErrorFields("FATAL", CONNECTION_FAILURE, words)))
                await _close(writer)
                return
            gateway[1].write(first)
            try:
                await _offer_scram(gateway[0], writer)
                await _relay((reader, writer), gateway)
            finally:
                gateway[1].transport.abort()
        except (OSError, EOFError, WireError):  # TimeoutError among them: this client is gone, or is none
            writer.transport.abort()


async def _first_packet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The first one that asks for no encryption: there is none on this machine."""
    while True:
        head = await reader.readexactly(4)
        packet = head + await reader.readexactly((packet_size(head) or 4) - 4)
        match read_packet(packet):
            case SslRequest() | GssRequest():
                writer.write(_NO)
            case _:
                return packet


async def _offer_scram(gateway: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Up to the gateway's first answer, or its end: a cancel request has none.

    Without TLS on this side there is no channel to bind a login to, and libpq takes an offer to do so for an attack.
    """
    while True:
        try:
            head = await gateway.readexactly(HEADER_SIZE)
        except asyncio.IncompleteReadError as ended:
            writer.write(ended.partial)
            return
        kind, length = unpack_header(head, 0)
        if not _LENGTH_BYTES <= length <= _CHUNK:
            raise ProtocolViolation("the gateway's answer is not PostgreSQL's")
        body = await gateway.readexactly(length - _LENGTH_BYTES)
        if kind == _AUTHENTICATION and body[:4] == _SASL:
            offered = [name.decode("ascii") for name in body[4:].split(b"\0") if name]
            writer.write(authentication_sasl([name for name in offered if name != SCRAM_PLUS]))
            return
        writer.write(head + body)
        if kind != _NEGOTIATE:
            return


async def _relay(
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter], gateway: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """Until one side ends; what it said before still reaches the other."""
    for _, writer in (client, gateway):
        if (sock := writer.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    ways = [asyncio.create_task(_carry(client[0], gateway[1])), asyncio.create_task(_carry(gateway[0], client[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await asyncio.gather(_close(client[1]), _close(gateway[1]))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await writer.wait_closed()


def reason_of(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return error.strerror or str(error)
