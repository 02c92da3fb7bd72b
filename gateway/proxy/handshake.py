"""The TLS handshake on a bare socket, in the event loop: `ssl`'s own sockets, which OpenSSL reads and writes by itself."""

import asyncio
import contextlib
import socket
import ssl

from gateway.proxy.sockets import until_able


async def shake_hands(
    sock: socket.socket,
    context: ssl.SSLContext,
    timeout_seconds: float,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
) -> ssl.SSLSocket:
    """The socket inside TLS, not blocking. `sock` is given away: whatever happens, only what is returned is open.

    Raises OSError: ssl.SSLError for what is wrong with the peer, TimeoutError, and what the network says.
    """
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    try:
        tls = context.wrap_socket(
            sock,
            server_side=server_side,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=True,
            server_hostname=server_hostname,
        )
    except BaseException:
        sock.close()
        raise
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    await until_able(tls, loop.add_reader, loop.remove_reader)
                except ssl.SSLWantWriteError:
                    await until_able(tls, loop.add_writer, loop.remove_writer)
                else:
                    return tls
    except BaseException:
        with contextlib.suppress(OSError):
            tls.close()
        raise
