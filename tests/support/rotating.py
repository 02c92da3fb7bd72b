"""A role of a test's own on the real server, and a store with targets that use it."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from gateway.access.model import TlsMode
from gateway.access_mode import AccessMode
from gateway.ports import SealedUse
from gateway.secret import Secret
from gateway.services import targets
from gateway.services.rotation import Which
from gateway.services.target_admins import keep_admin
from gateway.store.migrate import upgrade
from gateway.store.sql_store import SqlStore
from gateway.store.vault import SealedVault, ensure_key
from tests.support.upstream import Database, Upstream

BY = {"actor": "os:test", "reason": "a test"}
RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE


@dataclass
class Role:
    """`password`: as it was made."""

    database: Database
    name: str
    password: Secret

    @property
    def upstream(self) -> Upstream:
        return self.database.upstream

    def log_in(self, password: Secret, **more: Any) -> "psycopg.Connection[Any]":
        """Raises psycopg.OperationalError."""
        return psycopg.connect(
            host=self.upstream.host,
            port=self.upstream.port,
            user=self.name,
            password=password.reveal(),
            dbname=self.database.name,
            **more,
        )

    def lets_in(self, password: Secret) -> bool:
        try:
            self.log_in(password).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                return False
            raise
        return True

    def alter(self, clause: str) -> None:
        with self.upstream.connect() as connection:
            connection.execute(sql.SQL("ALTER ROLE {} " + clause).format(sql.Identifier(self.name)))


@contextlib.contextmanager
def fresh_role(database: Database, attributes: str = "") -> Iterator[Role]:
    """May log in, connect and read public; gone at the end."""
    name, password = f"r_{secrets.token_hex(5)}", Secret(secrets.token_urlsafe(20))
    role = Role(database, name, password)
    identifier = sql.Identifier(name)
    with database.upstream.connect(database.name) as connection:
        made = sql.SQL("CREATE ROLE {} LOGIN " + attributes + " PASSWORD {}")
        connection.execute(made.format(identifier, sql.Literal(password.reveal())))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database.name), identifier))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(identifier))
    try:
        yield role
    finally:
        with database.upstream.connect(database.name) as connection:
            connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", (name,))
            connection.execute(sql.SQL("DROP OWNED BY {}").format(identifier))
            connection.execute(sql.SQL("DROP ROLE {}").format(identifier))


@dataclass
class Custody:
    """A store, its key, and what it says of logins."""

    folder: Path
    store: SqlStore
    vault: SealedVault

    @classmethod
    async def made(cls, folder: Path) -> "Custody":
        ensure_key(folder / "master.key")
        url = f"sqlite+aiosqlite:///{folder}/store.sqlite3"
        await upgrade(url)
        return cls(folder, SqlStore(url), SealedVault.load(folder / "master.key"))

    async def target(self, name: str, role: Role, *modes: AccessMode, host: str = "", password: Secret | None = None) -> None:
        upstream = role.upstream
        tls = TlsMode.VERIFY_FULL if upstream.has_tls else TlsMode.DISABLE
        ca_pem = upstream.ca_file.read_text() if upstream.has_tls else None
        place = targets.Place(host or upstream.host, upstream.port, role.database.name, tls, ca_pem)
        await targets.create_target(self.store, name=name, place=place, **BY)
        for mode in modes:
            given = password or role.password
            await targets.set_login(self.store, self.vault, name=name, mode=mode, login=role.name, password=given, **BY)

    async def admin(self, name: str, role: Role) -> None:
        await keep_admin(self.store, self.vault, name=name, login=role.name, password=role.password, **BY)

    async def passwords(self, name: str, which: Which = Which.READ_ONLY) -> list[Secret]:
        """The current one, and the pending one if there is one."""
        target = (await self.store.read()).targets[name]
        mode = which.mode
        if mode is None:
            admin = await self.store.target_admin(target.id)
            assert admin is not None
            sealed = [admin.sealed_secret, admin.pending_secret]
            return [self._of_admin(target.id, each) for each in sealed if each is not None]
        role = target.roles[mode]
        sealed = [role.sealed_secret, role.pending_secret]
        return [self.vault.open(replace(role, sealed_secret=each)) for each in sealed if each is not None]

    def _of_admin(self, target_id: str, sealed: bytes) -> Secret:
        return self.vault.open_for(SealedUse.TARGET_ADMIN, target_id, sealed)

    async def actions(self) -> list[str]:
        return [each.event.action for each in await self.store.read_events()]
