"""A port for a server that must be told one."""

import socket


def free_port() -> int:
    """Free at this moment, on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
