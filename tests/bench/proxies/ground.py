"""What all contestants stand on: one PostgreSQL with the tables of every workload, two logins, one certificate."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.demo.postgres import TlsFiles, start_postgres
from tests.bench.proxies.contestant import Contestant, Door
from tests.bench.proxies.processes import find_program
from tests.support.upstream import Database, Upstream, fresh_database, make_certificates, make_logins

_SQL = Path(__file__).parents[1] / "workloads" / "sql"
_MB = 1_000_000
#: One row of `wide` and of `narrow` on the wire, as COPY writes it.
WIDE_ROW_BYTES, NARROW_ROW_BYTES = 1013, 19


@dataclass(frozen=True, slots=True)
class Ground:
    """`max_connections` is what PostgreSQL will take, over all contestants together."""

    database: Database
    ca_file: Path
    tls: TlsFiles
    max_connections: int

    def reader(self) -> Door:
        """Straight to PostgreSQL."""
        return self._door(self.database.app_ro.name, self.database.app_ro.password.reveal())

    def writer(self) -> Door:
        return self._door(self.database.app_rw.name, self.database.app_rw.password.reveal())

    def verifier(self, role: str) -> str:
        """The SCRAM secret that PostgreSQL keeps for one of the logins."""
        with self.database.upstream.connect() as connection:
            row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role]).fetchone()
        return str(row[0]) if row else ""

    def through(self, port: int, name: str, *roots: int, ca_file: Path | None = None, forks_ahead: bool = False) -> Contestant:
        """A contestant that lets the database's own logins in on a port of 127.0.0.1."""
        reader, writer = self.reader(), self.writer()
        here = [Door("127.0.0.1", port, door.user, door.password, door.dbname, ca_file) for door in (reader, writer)]
        return Contestant(name, here[0], here[1], roots, forks_ahead).answering()

    def _door(self, user: str, password: str) -> Door:
        upstream = self.database.upstream
        return Door(upstream.host, upstream.port, user, password, self.database.name)


@contextlib.contextmanager
def prepared_ground(*, max_connections: int, stream_megabytes: int) -> Iterator[Ground]:
    """PostgreSQL, filled; one contestant speaks TLS to it, no other. `stream_megabytes`: of `wide`, and of `narrow`."""
    settings = {"max_connections": str(max_connections), "shared_buffers": "512MB", "autovacuum": "off", "jit": "off"}
    with tempfile.TemporaryDirectory(prefix="bench-ca-") as made:
        ca_file, tls = make_certificates(Path(made))
        with start_postgres(Path(tempfile.gettempdir()), prefer="any", tls=tls, settings=settings) as server:
            secret = server.superuser_password
            upstream = Upstream(
                server.host, server.port, server.superuser, secret, server.has_tls, server.major, ca_file, server.log_file
            )
            with fresh_database(upstream, make_logins(upstream)) as database:
                _fill(database, stream_megabytes)
                yield Ground(database, ca_file, tls, max_connections)


def _fill(database: Database, stream_megabytes: int) -> None:
    upstream = database.upstream
    pgbench = find_program("pgbench")
    if pgbench is None:
        raise SystemExit("pgbench is not installed (Debian: apt-get install postgresql-15)")
    environment = {
        **os.environ,
        "PGHOST": upstream.host,
        "PGPORT": str(upstream.port),
        "PGUSER": upstream.superuser,
        "PGPASSWORD": upstream.superuser_password.reveal(),
    }
    subprocess.run([pgbench, "-i", "-q", "-s", "1", database.name], env=environment, check=True, stderr=subprocess.DEVNULL)
    with upstream.connect(database.name) as connection:
        connection.execute((_SQL / "shop.schema.sql").read_text().encode())
        connection.execute((_SQL / "streams.schema.sql").read_text().encode())
        for table, row_bytes in (("wide", WIDE_ROW_BYTES), ("narrow", NARROW_ROW_BYTES)):
            connection.execute(f"SELECT fill_{table}({stream_megabytes * _MB // row_bytes})".encode())
        connection.execute("GRANT USAGE ON SCHEMA shop TO PUBLIC")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public, shop TO PUBLIC")
        connection.execute("GRANT INSERT ON sink TO app_rw")
        for role in ("app_ro", "app_rw"):
            connection.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1".encode())
        connection.execute("VACUUM ANALYZE")
