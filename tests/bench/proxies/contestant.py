"""What a running contestant is to a workload: places to log in, and processes whose CPU and memory are its cost."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from tests.bench.proxies.processes import Snapshot, memory_bytes, snapshot, tree
from tests.support.wire import Place, RawClient

_READY_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Door:
    """One login. `ca_file` is None where the client speaks no TLS."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    dbname: str
    ca_file: Path | None = None

    def environment(self) -> dict[str, str]:
        """For libpq programs; nothing of the caller's own PG... variables."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG") or name == "PGBASTION_CONFIG"}
        named = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.dbname,
            "PGGSSENCMODE": "disable",
        }
        return {**clean, **named, **self._tls("PGSSLMODE", "PGSSLROOTCERT")}

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        """In autocommit."""
        words = {
            "host": self.host,
            "port": str(self.port),
            "user": self.user,
            "password": self.password,
            "dbname": self.dbname,
            "gssencmode": "disable",
            **self._tls("sslmode", "sslrootcert"),
        }
        return psycopg.connect(make_conninfo(**words), autocommit=True)

    def raw(self) -> RawClient:
        """A client without a driver, logged in: what it costs is next to nothing."""
        return Place(self.host, self.port, self.ca_file).log_in(self.user, self.password, self.dbname)

    def _tls(self, mode: str, root: str) -> dict[str, str]:
        if self.ca_file is None:
            return {mode: "disable"}
        return {mode: "verify-full", root: str(self.ca_file)}


@dataclass(frozen=True, slots=True)
class Contestant:
    """`reader` may read, `writer` may write. `roots` (process ids) with all descendants are the proxy; none: direct.

    `forks_ahead` says that it made a process for each connection that may come, before it comes (pgpool-II). `shut` ends all
    sessions and lets nobody in any more, where it has such a thing. So many seconds after its start (`complete_seconds`) the last
    of its processes is there.
    """

    name: str
    reader: Door
    writer: Door
    roots: tuple[int, ...] = ()
    forks_ahead: bool = False
    shut: Callable[[], object] | None = None
    complete_seconds: float = 0.0

    @property
    def is_direct(self) -> bool:
        return not self.roots

    def cpu(self) -> Snapshot:
        return snapshot(self.roots)

    def processes(self) -> list[int]:
        return sorted(tree(self.roots))

    def memory_bytes(self) -> int:
        return memory_bytes(self.roots)

    def answering(self) -> "Contestant":
        """Itself, once both doors let somebody in. Raises psycopg.OperationalError."""
        deadline = time.monotonic() + _READY_SECONDS
        for door in (self.reader, self.writer):
            while True:
                try:
                    door.connect().close()
                except psycopg.OperationalError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
                else:
                    break
        return self
