"""The server around the application: uvicorn with limits, plain on a loopback address and TLS on any other."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog
from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.settings import Settings

GRACE_SECONDS: Final = 3.0
_HANDSHAKE_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 30
_LAST_ASK_SECONDS: Final = 0.25
_MAX_HEAD_BYTES: Final = 32 * 1024
_WATCH_SECONDS: Final = 2.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

_log: Final = structlog.stdlib.get_logger("admin_api")


class ServerError(Exception):
    """It cannot serve; one line for the operator."""


class AdminServer(Server):
    """uvicorn's, without its own signal handlers, and with a handshake that cannot take for ever."""

    def __init__(
        self, app: ASGIApp, protocol: type[H11Protocol], context: ssl.SSLContext | None, ready: Callable[[], None]
    ) -> None:
        """`ready` is called when it listens."""
        config = Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=int(GRACE_SECONDS),
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
        )
        config.load()
        super().__init__(config)
        self._context = context
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process has its own, see admin_api.__main__."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop
            )
            return made

        patience = None if self._context is None else _HANDSHAKE_SECONDS
        self.servers = [
            await loop.create_server(connection, sock=sock, ssl=self._context, ssl_handshake_timeout=patience)
            for sock in sockets or ()
        ]
        self.started = True
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Who was let in a moment ago may still ask: uvicorn would close at once what has not asked yet."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_ASK_SECONDS)
        await super().shutdown(sockets)


def is_plain(settings: Settings) -> bool:
    """Whether it speaks HTTP without TLS: only where nothing leaves this machine."""
    return settings.admin_api.tls == "auto" and settings.admin_api.host in _LOOPBACK


class Certificate:
    """Of the admin API, else the gateway's; replaced while we run. Raises ServerError when the first one cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._files = _files(settings)
        self._seen = self._stamp()
        self.context = self._load(_empty())

    async def watch(self) -> None:
        """Whenever the files change, new connections get what they hold then, for ever."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if (stamp := self._stamp()) == self._seen:
                continue
            self._seen = stamp
            try:
                self._load(_empty())  # a pair that does not fit must not spoil the one in use
                self._load(self.context)
            except ServerError as error:
                _log.warning("certificate not reloaded", reason=str(error))
            else:
                _log.info("certificate reloaded", file=str(self._files[0]))

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        certificate, key = self._files
        try:
            # An encrypted key must fail here, not ask for its password on a terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not a usable pair"
            raise ServerError(f"the admin API cannot use {certificate} with {key}: {reason}") from error
        return context

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        found = []
        for path in self._files:
            try:
                status = path.stat()
                found.append((status.st_ino, status.st_mtime_ns))
            except OSError:
                found.append((0, 0))
        return tuple(found)


def listen(settings: Settings) -> list[socket.socket]:
    """When no supervisor has given any. Raises ServerError."""
    host, port = settings.admin_api.host, settings.admin_api.port
    found: list[socket.socket] = []
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            sock = socket.socket(family, kind)
            found.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setblocking(False)
            sock.bind(address)
            sock.listen()
    except OSError as error:
        for sock in found:
            sock.close()
        raise ServerError(f"admin_api: cannot listen on {host} port {port}: {error.strerror}") from error
    return found


def log_through_structlog() -> None:
    """What uvicorn and asyncio have to say goes where everything goes."""
    for name in ("uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers, logger.propagate = [_Forward()], False


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        _log.log(record.levelno, record.getMessage(), traceback=trace)


def _empty() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _files(settings: Settings) -> tuple[Path, Path]:
    choices: Sequence[tuple[Path | None, Path | None]] = (
        (settings.admin_api.cert_file, settings.admin_api.key_file),
        (settings.tls.cert_file, settings.tls.key_file),
    )
    for certificate, key in choices:
        if certificate is not None and key is not None:
            return certificate, key
    return settings.tls_dir / "server.pem", settings.tls_dir / "server.key"
