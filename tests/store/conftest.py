"""A fresh store of each kind, made the way the program makes it: what holds for one must hold for the other."""

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from gateway.access.model import User
from gateway.store.migrate import bind_key, upgrade
from gateway.store.places import Place, locate
from gateway.store.sql_store import SqlStore
from gateway.store.vault import SealedVault, ensure_key
from tests.store.writers import add_user, start_writer
from tests.support.upstream import Upstream


@dataclass(frozen=True)
class StoreHere:
    """One store, and the means to look and reach into it from outside."""

    folder: Path
    url: str
    password_file: Path | None
    vault: SealedVault
    server: Upstream | None

    @property
    def file(self) -> Path:
        return self.folder / "store.sqlite3"

    @property
    def where(self) -> Place:
        return locate(self.url, self.password_file)

    @property
    def database(self) -> str:
        return self.url.partition("?")[0].rpartition("/")[2]

    @property
    def store(self) -> SqlStore:
        return SqlStore(self.where)

    async def add_user(self, name: str) -> User:
        return await add_user(self.store, name)

    async def writer(self, prefix: str, count: int, pause_seconds: float = 0.0):
        return await start_writer(self.url, self.password_file, prefix, count, pause_seconds)

    def outsider(self):
        """A connection of another program; closing it is the caller's business."""
        if self.server is None:
            return sqlite3.connect(self.file, isolation_level=None)
        return self.server.connect(self.database)

    def run(self, *statements: str) -> list[tuple]:
        """From outside, each committed; the rows of the last one."""
        with contextlib.closing(self.outsider()) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Somebody else is changing the store and does not come to an end."""
        with contextlib.closing(self.outsider()) as connection:
            if self.server is None:
                connection.execute("BEGIN EXCLUSIVE")
            else:
                connection.execute("BEGIN")
                connection.execute("LOCK TABLE meta IN ACCESS EXCLUSIVE MODE")
            yield


@contextlib.contextmanager
def database_on(server: Upstream, folder: Path) -> Iterator[tuple[str, Path]]:
    """The URL and the password file of an empty database of its own, with an owner of its own."""
    name, password = f"store_{secrets.token_hex(6)}", secrets.token_urlsafe(24)
    identifier = sql.Identifier(name)
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(identifier, sql.Literal(password)))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(identifier, identifier))
    password_file = folder / f"{name}.password"
    password_file.write_text(f"{password}\n")
    password_file.chmod(0o600)
    options = f"sslmode=verify-full&sslrootcert={server.ca_file}" if server.has_tls else "sslmode=disable"
    try:
        yield f"postgresql://{name}@{server.host}:{server.port}/{name}?{options}", password_file
    finally:
        with server.connect() as connection, contextlib.suppress(psycopg.Error):
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))
            connection.execute(sql.SQL("DROP ROLE {}").format(identifier))


def made_vault(folder: Path) -> SealedVault:
    ensure_key(folder / "master.key")
    return SealedVault.load(folder / "master.key")


async def made(here: StoreHere) -> StoreHere:
    await upgrade(here.where)
    await bind_key(here.where, here.vault)
    return here


@pytest.fixture
async def sqlite_place(tmp_path: Path) -> StoreHere:
    folder = tmp_path / "state"
    vault = made_vault(folder)
    return await made(StoreHere(folder, f"sqlite+aiosqlite:///{folder}/store.sqlite3", None, vault, None))


@pytest.fixture
async def postgres_place(tmp_path: Path, postgres: Upstream):
    folder = tmp_path / "state"
    vault = made_vault(folder)
    with database_on(postgres, folder) as (url, password_file):
        yield await made(StoreHere(folder, url, password_file, vault, postgres))


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> StoreHere:
    """Each kind in turn."""
    return request.getfixturevalue("sqlite_place" if request.param == "sqlite" else "postgres_place")
