"""Where a store is: a URL, read once. Pure.

The URL alone decides which database keeps the store. Nothing here repeats a URL in an error: people put passwords there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import URL, exc, make_url

from gateway.access.model import TlsMode
from gateway.store.errors import StoreError

if TYPE_CHECKING:
    from gateway.settings import Settings

_SHAPES: Final = "sqlite+aiosqlite:///path/to/file or postgresql://user@host/database?sslmode=verify-full&sslrootcert=ca.pem"
_SQLITE: Final = frozenset({"sqlite", "sqlite+aiosqlite"})
_POSTGRES: Final = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})
_PORT: Final = 5432

CHANNEL: Final = "pgbastion_store"
"""With every commit on PostgreSQL, NOTIFY goes here: look again."""


@dataclass(frozen=True, slots=True)
class SqlitePlace:
    """A file on this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """A database on a server. `host` is a name, an address or the folder of a Unix socket; `password_file` holds one line.

    `root_cert`: the CA file to verify by; None: the system's.
    """

    host: str
    port: int
    user: str
    database: str
    tls: TlsMode
    root_cert: Path | None = None
    password_file: Path | None = None

    @property
    def is_socket(self) -> bool:
        return self.host.startswith("/")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"


Place = SqlitePlace | PostgresPlace


def locate(where: "Settings | str | Place", password_file: Path | None = None) -> Place:
    """The place that settings, or a URL of its own, name. Raises StoreError (without repeating the URL)."""
    if isinstance(where, SqlitePlace | PostgresPlace):
        return where
    if not isinstance(where, str):
        return locate(where.store_url, where.store.password_file)
    try:
        url = make_url(where)
    except (exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        raise StoreError(f"store.url cannot be read: write {_SHAPES}") from None
    if url.drivername in _SQLITE:
        return _sqlite(url)
    if url.drivername in _POSTGRES:
        return _postgres(url, password_file)
    raise StoreError(f"store.url must name an SQLite file or a PostgreSQL database: {_SHAPES}")


def _sqlite(url: URL) -> SqlitePlace:
    if not url.database or url.database == ":memory:" or url.host:
        raise StoreError("store.url must name an SQLite file: sqlite+aiosqlite:///path/to/file")
    return SqlitePlace(Path(url.database))


def _postgres(url: URL, password_file: Path | None) -> PostgresPlace:
    options = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    if url.password is not None or "password" in options:
        raise StoreError(
            "store.url must not hold a password: put it into a file of its own and name that in store.password_file"
        )
    unknown = sorted(options.keys() - {"sslmode", "sslrootcert", "host"})
    if unknown:
        raise StoreError("store.url may have the options sslmode, sslrootcert and host (a socket's folder), and no others")
    host = url.host or options.get("host", "")
    if not host or not url.username or not url.database:
        raise StoreError(f"store.url must name a user, a host and a database: {_SHAPES}")
    root_cert = Path(options["sslrootcert"]) if options.get("sslrootcert", "system") != "system" else None
    mode = _tls_mode(options.get("sslmode"), host)
    if mode is TlsMode.REQUIRE and root_cert is not None:
        mode = TlsMode.VERIFY_CA  # as libpq has it
    return PostgresPlace(host, url.port or _PORT, url.username, url.database, mode, root_cert, password_file)


def _tls_mode(given: str | None, host: str) -> TlsMode:
    """Nothing that falls back to plain text: what is not said is verify-full, but for a socket of this machine."""
    if host.startswith("/"):
        return TlsMode.DISABLE
    try:
        return TlsMode.VERIFY_FULL if given is None else TlsMode(given)
    except ValueError:
        raise StoreError(f"sslmode in store.url must be one of {', '.join(TlsMode)}") from None
