"""What every client's connection is told of keeping alive, it is told by the listening socket or one by one, but told."""

import socket

from gateway.proxy.sockets import ACCEPTED_INHERIT, keep_alive, open_doors


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
