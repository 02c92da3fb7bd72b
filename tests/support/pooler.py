"""A real PgBouncer in front of a test's database, as somebody might wrongly configure it for a target."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.doors import program
from tests.support.upstream import Database

_SECONDS = 10


@contextlib.contextmanager
def running_pgbouncer(database: Database, **settings: str) -> Iterator[int]:
    """The port on 127.0.0.1 of one that lets both logins in by SCRAM; `settings` go into its [pgbouncer] section."""
    binary = program("pgbouncer", "pgbouncer")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as made:
        home = Path(made)
        home.chmod(0o755)
        logins = (database.app_ro, database.app_rw)
        (home / "users.txt").write_text("".join(f'"{login.name}" "{login.password.reveal()}"\n' for login in logins))
        upstream = database.upstream
        lines = [
            "[databases]",
            f"{database.name} = host={upstream.host} port={upstream.port} dbname={database.name}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {port}",
            "auth_type = scram-sha-256",
            f"auth_file = {home}/users.txt",
            "unix_socket_dir =",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        (home / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # it refuses to run as root
        for path in (home, *home.iterdir()) if account else ():
            shutil.chown(path, account.pw_uid, account.pw_gid)
        process = subprocess.Popen(
            [binary, "-q", str(home / "pgbouncer.ini")],
            stderr=subprocess.DEVNULL,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        try:
            _wait(process, port)
            yield port
        finally:
            process.terminate()
            process.wait(_SECONDS)


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        assert process.poll() is None, "PgBouncer ended by itself"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)
