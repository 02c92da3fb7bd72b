"""ssh -L: the tunnel that a gateway replaces. A server and a client of ours, with keys made for this run; both ends count."""

import contextlib
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.demo.binaries import server_account
from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.ground import Ground
from tests.bench.proxies.processes import find_program, hand_over, home_of_its_own, running
from tests.support.free_port import free_port

PROGRAM = "sshd"
_READY_SECONDS = 10.0


@contextlib.contextmanager
def ssh_tunnel(ground: Ground, capacity: int) -> Iterator[Contestant]:
    """All connections are channels of one tunnel, whatever the capacity."""
    server_port, port, upstream = free_port(), free_port(), ground.reader()
    user = pwd.getpwuid(server_account().uid).pw_name
    with home_of_its_own("ssh") as home:
        for name in ("host_key", "user_key"):
            keygen = [find_program("ssh-keygen") or "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)]
            subprocess.run(keygen, check=True, stdin=subprocess.DEVNULL)
        (home / "sshd_config").write_text("\n".join(_server_lines(home, server_port)) + "\n")
        (home / "ssh_config").write_text("\n".join(_client_lines(home, server_port)) + "\n")
        host_key = (home / "host_key.pub").read_text()
        (home / "known_hosts").write_text(f"[127.0.0.1]:{server_port} {host_key}")
        hand_over(home)
        # sshd starts itself anew for each connection, and so must be called by its whole path.
        with running([find_program(PROGRAM) or PROGRAM, "-D", "-e", "-f", home / "sshd_config"], home) as server:
            _wait_for(server_port)
            forward = ["-N", "-F", str(home / "ssh_config"), "-L", f"127.0.0.1:{port}:{upstream.host}:{upstream.port}"]
            with running([find_program("ssh") or "ssh", *forward, f"{user}@127.0.0.1"], home) as client:
                yield ground.through(port, "ssh -L", server, client)


def _server_lines(home: Path, port: int) -> list[str]:
    return [
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {home}/host_key",
        f"AuthorizedKeysFile {home}/user_key.pub",
        "StrictModes no",
        "UsePAM yes",
        "PidFile none",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "AllowTcpForwarding local",
        "PermitTTY no",
    ]


def _client_lines(home: Path, port: int) -> list[str]:
    return [
        f"Port {port}",
        f"IdentityFile {home}/user_key",
        "IdentitiesOnly yes",
        "BatchMode yes",
        f"UserKnownHostsFile {home}/known_hosts",
        "ExitOnForwardFailure yes",
    ]


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


__all__ = ["PROGRAM", "ssh_tunnel"]
