"""PgBouncer: session pooling, one server connection per client, SCRAM on both sides. It inspects nothing; it refuses root.

Its users file holds the server's own SCRAM secrets: with plain passwords each login would cost it milliseconds.
"""

import contextlib
from collections.abc import Iterator

from tests.bench.proxies.contestant import Contestant
from tests.bench.proxies.ground import Ground
from tests.bench.proxies.processes import find_program, hand_over, home_of_its_own, running
from tests.support.free_port import free_port

PROGRAM = "pgbouncer"


@contextlib.contextmanager
def pgbouncer(ground: Ground, capacity: int) -> Iterator[Contestant]:
    """Without client TLS."""
    with _started(ground, capacity, secure=False) as contestant:
        yield contestant


@contextlib.contextmanager
def pgbouncer_tls(ground: Ground, capacity: int) -> Iterator[Contestant]:
    with _started(ground, capacity, secure=True) as contestant:
        yield contestant


@contextlib.contextmanager
def _started(ground: Ground, capacity: int, *, secure: bool) -> Iterator[Contestant]:
    port, upstream = free_port(), ground.reader()
    with home_of_its_own(PROGRAM) as home:
        lines = [
            "[databases]",
            f"{upstream.dbname} = host={upstream.host} port={upstream.port} dbname={upstream.dbname}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {port}",
            "auth_type = scram-sha-256",
            f"auth_file = {home}/users.txt",
            "pool_mode = session",
            f"default_pool_size = {capacity}",
            f"max_client_conn = {capacity + 50}",
            "server_reset_query =",
            "unix_socket_dir =",
        ]
        if secure:
            (home / "server.pem").write_bytes(ground.tls.cert_file.read_bytes())
            (home / "server.key").write_bytes(ground.tls.key_file.read_bytes())
            lines += [
                "client_tls_sslmode = require",
                f"client_tls_cert_file = {home}/server.pem",
                f"client_tls_key_file = {home}/server.key",
            ]
        verifiers = ((door.user, ground.verifier(door.user)) for door in (ground.reader(), ground.writer()))
        (home / "users.txt").write_text("".join(f'"{user}" "{verifier}"\n' for user, verifier in verifiers))
        (home / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        hand_over(home)
        with running([find_program(PROGRAM) or PROGRAM, "-q", home / "pgbouncer.ini"], home) as pid:
            name = "PgBouncer, TLS" if secure else "PgBouncer"
            yield ground.through(port, name, pid, ca_file=ground.ca_file if secure else None)
