"""Our connection to PostgreSQL for one session: dial, TLS, login, then bytes.

TLS is asked for on the bare socket and exactly one byte of answer is read, so that nothing sent in the clear behind it can ever be
taken for part of the encrypted stream.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Final, Protocol, TypeVar, cast

from gateway.access.model import DatabaseRole, Target, TlsMode
from gateway.ports import SecretSource, SecretUnavailable
from gateway.proxy.client_keys import ClientKeyMemory
from gateway.proxy.handshake import shake_hands
from gateway.proxy.sockets import PlainSocket, handed_to, is_connected, keep_alive, until_able
from gateway.proxy.tls import TlsError, peer_binding, upstream_context
from gateway.proxy.tls_transport import TlsTransport
from gateway.secret import Secret
from gateway.session.upstream_login import UpstreamLogin, UpstreamPlan, UpstreamRefused, Welcome
from gateway.wire.errors import WireError
from gateway.wire.scram import Challenge, derive_client_keys
from gateway.wire.startup import SSL_REQUEST

#: Above this much that upstream has not taken yet, the client is not read.
HIGH_WATER: Final = 256 * 1024
_HANDSHAKE_SECONDS: Final = 10.0
_NOT_THE_PASSWORD: Final = frozenset({"28P01", "28000"})
P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session's server is, resolved: a cancel must go to the very same one."""

    family: int
    address: tuple[str, int] | tuple[str, int, int, int]
    tls: ssl.SSLContext | None
    server_name: str


class Relay(Protocol):
    """The session, as its upstream connection sees it."""

    def upstream_data(self, data: bytes) -> None: ...
    def upstream_lost(self) -> None: ...
    def upstream_full(self) -> None: ...
    def upstream_drained(self) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """During login it resolves `ready`; then reading is paused until a session is attached."""

    def __init__(self) -> None:
        self._login: UpstreamLogin | None = None
        self._on_challenge: Callable[[Challenge], None] | None = None
        self._lost = False
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.ready: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER)

    def log_in(self, login: UpstreamLogin, on_challenge: Callable[[Challenge], None]) -> None:
        self._login, self._on_challenge = login, on_challenge
        self.transport.write(login.start())

    def attach(self, session: Relay) -> None:
        """From here on the session gets what comes, without a detour over this object."""
        self._login = self._on_challenge = None  # with all that the login needed
        if self._lost:
            session.upstream_lost()
        else:
            self.transport.set_protocol(_Attached(session))
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._login is not None and not self.ready.done():
            try:
                out, welcome = self._login.feed(data)
            except (UpstreamRefused, WireError) as error:
                self.ready.set_exception(error)
                return
            if out:
                self.transport.write(out)
            if self._login.challenge is not None and self._on_challenge is not None:
                self._on_challenge(self._login.challenge)
            if welcome is not None:
                self.transport.pause_reading()
                self.ready.set_result(welcome)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if not self.ready.done():
            self.ready.set_exception(UpstreamRefused("closed", "the server closed the connection during login"))


class _Attached(asyncio.Protocol):
    """The session's own methods as the transport's callbacks."""

    __slots__ = ("_session", "data_received")

    def __init__(self, session: Relay) -> None:
        self._session = session
        self.data_received = session.upstream_data  # type: ignore[method-assign]

    def pause_writing(self) -> None:
        self._session.upstream_full()

    def resume_writing(self) -> None:
        self._session.upstream_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        self._session.upstream_lost()


class UpstreamDialer:
    """Opens upstream sessions, with the secrets that it asks for itself."""

    def __init__(self, secrets: SecretSource) -> None:
        self.keys: Final = ClientKeyMemory()
        self._secrets = secrets

    async def open(self, target: Target, role: DatabaseRole, plan: UpstreamPlan) -> tuple[UpstreamConnection, Welcome, Place]:
        """Raises UpstreamRefused. The caller bounds the time; a cancelled attempt leaves no socket."""
        try:
            secret = self._secrets.at_hand(target, role) or await self._secrets.secret_of(target, role)
        except SecretUnavailable as error:
            raise UpstreamRefused("secret", str(error)) from None
        try:
            return await self._open(target, role, secret, plan)
        except UpstreamRefused as refused:
            other = await self._another(target, role, secret, refused)
            if other is None:
                raise
        return await self._open(target, role, other, plan)

    async def _another(self, target: Target, role: DatabaseRole, secret: Secret, refused: UpstreamRefused) -> Secret | None:
        """What may have taken the place of a secret that the server refused."""
        if refused.sqlstate not in _NOT_THE_PASSWORD:
            return None
        try:
            return await self._secrets.after_refusal(target, role, secret)
        except SecretUnavailable:
            return None  # that it was refused is what there is to say

    async def _open(
        self, target: Target, role: DatabaseRole, secret: Secret, plan: UpstreamPlan
    ) -> tuple[UpstreamConnection, Welcome, Place]:
        connection: UpstreamConnection | None = None
        try:
            connection, place = await self._connect(target)
            binding = _binding_of(connection.transport)
            login = UpstreamLogin(plan, binding, os.urandom(18).hex(), secret.reveal)
            running: list[asyncio.Task[None]] = []
            upstream = connection

            def challenged(challenge: Challenge) -> None:
                if (keys := self.keys.find(role, secret, challenge)) is not None:
                    upstream.transport.write(login.derived(keys))
                else:
                    running.append(asyncio.create_task(self._derive(upstream, login, role, secret, challenge)))

            connection.log_in(login, challenged)
            return connection, await connection.ready, place
        except WireError as error:
            raise self._failed(connection, UpstreamRefused("protocol", error.message)) from error
        except ssl.SSLError as error:
            raise self._failed(connection, UpstreamRefused("tls", str(error))) from error
        except TlsError as error:
            raise self._failed(connection, UpstreamRefused("tls", str(error))) from error
        except OSError as error:
            raise self._failed(connection, UpstreamRefused("unreachable", str(error))) from error
        except BaseException:
            if connection is not None:
                connection.transport.abort()
            raise

    @staticmethod
    def _failed(connection: UpstreamConnection | None, refused: UpstreamRefused) -> UpstreamRefused:
        if connection is not None:
            connection.transport.abort()
        return refused

    async def _derive(
        self, connection: UpstreamConnection, login: UpstreamLogin, role: DatabaseRole, secret: Secret, challenge: Challenge
    ) -> None:
        keys = await asyncio.to_thread(derive_client_keys, secret.reveal(), challenge.salt, challenge.iterations)
        self.keys.keep(role, secret, challenge, keys)
        if not connection.ready.done():
            connection.transport.write(login.derived(keys))

    async def _connect(self, target: Target) -> tuple[UpstreamConnection, Place]:
        loop = asyncio.get_running_loop()
        infos = _literal(target.host, target.port) or [
            (family, cast("tuple[str, int]", address))
            for family, _, _, _, address in await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        ]
        failure: OSError = OSError(f"{target.host} has no address")
        for family, address in infos[:8]:
            place = _place(family, address, target.tls, target.ca_pem, target.host)
            try:
                _, connection = await connect(place, UpstreamConnection)
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
                continue
            return connection, place
        raise failure


@lru_cache(256)
def _place(family: int, address: tuple[str, int], tls: TlsMode, ca_pem: str | None, host: str) -> Place:
    """The same object for all sessions there. Raises TlsError for a broken CA."""
    return Place(family, address, upstream_context(tls, ca_pem), host)


@lru_cache(256)
def _literal(host: str, port: int) -> Sequence[tuple[int, tuple[str, int]]]:
    """Of a host that is an IPv4 address: there is nothing to look up. Empty for any other."""
    try:
        return ((socket.AF_INET, (str(IPv4Address(host)), port)),)
    except ValueError:
        return ()


async def connect(place: Place, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
    """A socket to this very place, inside TLS where the target wants it. Raises OSError (ssl.SSLError among them)."""
    loop = asyncio.get_running_loop()
    sock = PlainSocket(place.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await _reach(sock, place.address)
        keep_alive(sock)
        if place.tls is not None:
            await loop.sock_sendall(sock, SSL_REQUEST)
            if await loop.sock_recv(sock, 1) != b"S":
                raise ssl.SSLError("the server does not offer TLS, and the target asks for it")
            tls = await shake_hands(sock, place.tls, _HANDSHAKE_SECONDS, server_hostname=place.server_name)
            protocol = factory()
            secure = TlsTransport(loop, tls, protocol)
            secure.start()
            return secure, protocol
        return await loop.create_connection(factory, sock=handed_to(loop, sock))
    except BaseException:
        sock.close()
        raise


async def _reach(sock: socket.socket, address: tuple[str, int] | tuple[str, int, int, int]) -> None:
    """What `loop.sock_connect` is for; uvloop's has a thread look up the address first, although it is one."""
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        if is_connected(sock):  # over the loopback it is done by now
            return
        loop = asyncio.get_running_loop()
        await until_able(sock, loop.add_writer, loop.remove_writer)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _binding_of(transport: asyncio.Transport) -> bytes | None:
    tls = transport.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    return peer_binding(certificate) if certificate else None
