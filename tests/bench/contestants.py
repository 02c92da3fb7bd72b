"""The servers of a comparison: PostgreSQL itself, PgBouncer and the gateway, all on loopback, SCRAM on both sides, no TLS."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from gateway.access.model import TlsMode
from gateway.access_mode import AccessMode
from tests.support.gateway import running_gateway
from tests.support.upstream import Database, Login, Upstream

_CLK = 1e9


@dataclass(frozen=True)
class Contestant:
    """`pids` are the processes whose CPU counts as the proxy's (none for the direct connection)."""

    name: str
    host: str
    port: int
    user: str
    password: str
    dbname: str
    pids: tuple[int, ...]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.dbname,
            "PGSSLMODE": "disable",
        }

    def cpu_seconds(self) -> float:
        """On-CPU time of all threads of all its processes, from schedstat (nanoseconds)."""
        total = 0
        for pid in self.pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    total += int((task / "schedstat").read_text().split()[0])
        return total / _CLK


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def pgbouncer(database: Database, login: Login) -> Iterator[Contestant]:
    """Session pooling, one server connection per client, SCRAM to it and from it. It refuses to run as root."""
    binary = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        raise SystemExit("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as made:
        home = Path(made)
        home.chmod(0o755)
        upstream = database.upstream
        (home / "users.txt").write_text(f'"{login.name}" "{login.password.reveal()}"\n')
        (home / "pgbouncer.ini").write_text(
            f"[databases]\n{database.name} = host={upstream.host} port={upstream.port} dbname={database.name}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = scram-sha-256\n"
            f"auth_file = {home}/users.txt\npool_mode = session\ndefault_pool_size = 200\nmax_client_conn = 1000\n"
            "unix_socket_dir =\nserver_reset_query =\n"
        )
        user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.geteuid() == 0 else {}
        if user:
            for path in (home, *home.iterdir()):
                shutil.chown(path, "nobody")
        process = subprocess.Popen([binary, "-q", str(home / "pgbouncer.ini")], **user)  # type: ignore[call-overload]
        try:
            yield _answering(
                Contestant("PgBouncer", "127.0.0.1", port, login.name, login.password.reveal(), database.name, (process.pid,))
            )
        finally:
            process.terminate()
            process.wait(10)


@contextlib.contextmanager
def gateway(database: Database) -> Iterator[Contestant]:
    with running_gateway(tls={"mode": "disable"}) as running:
        person, target = running.person(), running.target(database, tls=TlsMode.DISABLE)
        running.grant(person, target, AccessMode.READ_ONLY)
        workers = tuple(running.worker_pids())
        contestant = Contestant("pgbastion", "127.0.0.1", running.port, person.name, person.password, target, workers)
        yield _answering(contestant)


def direct(database: Database, login: Login) -> Contestant:
    upstream = database.upstream
    return Contestant("direct", upstream.host, upstream.port, login.name, login.password.reveal(), database.name, ())


def _answering(contestant: Contestant) -> Contestant:
    deadline = time.monotonic() + 10
    while True:
        try:
            environment = contestant.environment()
            psycopg.connect(
                host=contestant.host,
                port=contestant.port,
                user=contestant.user,
                password=environment["PGPASSWORD"],
                dbname=contestant.dbname,
                sslmode="disable",
            ).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return contestant


def fill(upstream: Upstream, dbname: str, scale: int) -> None:
    """pgbench's own tables."""
    environment = {
        **os.environ,
        "PGHOST": upstream.host,
        "PGPORT": str(upstream.port),
        "PGUSER": upstream.superuser,
        "PGPASSWORD": upstream.superuser_password.reveal(),
    }
    subprocess.run(["pgbench", "-i", "-q", "-s", str(scale), dbname], env=environment, check=True, stderr=subprocess.DEVNULL)
    with upstream.connect(dbname) as connection:
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")


__all__ = ["Contestant", "direct", "fill", "gateway", "pgbouncer"]
