"""The way to a target's server for a login that is not a session's: name, socket, TLS, login."""

import asyncio
import secrets
import socket
import ssl
from typing import Final

from gateway.access.model import Target
from gateway.access.verifiers import saslprep
from gateway.access_mode import AccessMode
from gateway.secret import Secret
from gateway.session.upstream_login import UpstreamLogin, UpstreamPlan, Welcome
from gateway.upstream_tls import peer_binding, upstream_context
from gateway.wire.scram import derive_client_keys
from gateway.wire.startup import SSL_REQUEST

APPLICATION_NAME: Final = "pgbastion-custody"

_ADDRESSES: Final = 8  # as many as a session tries
_ITERATIONS_MAX: Final = 1_000_000
#: Nobody waits for us for long: not the server for an answer, and not other sessions for a lock.
_BOUNDS: Final = (
    ("search_path", "pg_catalog"),
    ("lock_timeout", "10s"),
    ("statement_timeout", "120s"),
    ("idle_in_transaction_session_timeout", "120s"),
)


async def dial(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError, ssl.SSLError among them, and TlsError. The caller bounds the time.

    Exactly one byte of answer is read before TLS, so that nothing sent in the clear is ever taken for part of it.
    """
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    failure = OSError(f"{target.host} has no address")
    for family, _, _, _, address in infos[:_ADDRESSES]:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            context = upstream_context(target.tls, target.ca_pem)
            if context is None:
                return await asyncio.open_connection(sock=sock)
            await loop.sock_sendall(sock, SSL_REQUEST)
            if await loop.sock_recv(sock, 1) != b"S":
                raise ssl.SSLError("the server does not offer TLS, and the target asks for it")
            return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=target.host)
        except ssl.SSLError:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


async def log_in(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: Target,
    login: str,
    secret: Secret,
    mode: AccessMode,
) -> Welcome:
    """Raises UpstreamRefused, WireError, OSError, EOFError. The caller bounds the time."""
    upstream = UpstreamLogin(_plan(target, login, mode), _binding(writer), secrets.token_urlsafe(18), secret.reveal)
    writer.write(upstream.start())
    while True:
        data = await reader.read(65536)
        if not data:
            raise EOFError
        out, welcome = upstream.feed(data)
        writer.write(out)
        if welcome is not None:
            return welcome
        if (challenge := upstream.challenge) is not None:
            password = saslprep(secret.reveal())
            keys = await asyncio.to_thread(derive_client_keys, password, challenge.salt, challenge.iterations)
            writer.write(upstream.derived(keys))


def _plan(target: Target, login: str, mode: AccessMode) -> UpstreamPlan:
    read_only = "on" if mode is AccessMode.READ_ONLY else "off"
    pinned = {"client_encoding": "UTF8", "standard_conforming_strings": "on", "default_transaction_read_only": read_only}
    parameters = [
        ("user", login),
        ("database", target.dbname),
        ("application_name", APPLICATION_NAME),
        *_BOUNDS,
        *pinned.items(),
    ]
    return UpstreamPlan(parameters, mode, {**pinned, "session_authorization": login}, target.allow_md5, _ITERATIONS_MAX)


def _binding(writer: asyncio.StreamWriter) -> bytes | None:
    tls = writer.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    return peer_binding(certificate) if certificate else None
