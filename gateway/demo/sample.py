"""Fill a PostgreSQL server with the sample web shop and the two upstream logins of a target."""

import secrets
from dataclasses import dataclass
from importlib import resources
from typing import Final

import asyncpg

from gateway.demo.postgres import PostgresServer
from gateway.secret import Secret
from gateway.services.target_sql import harden_sql

DATABASE: Final = "webshop"
SCHEMAS: Final = ("shop", "billing", "support", "hr")


@dataclass(frozen=True, slots=True)
class UpstreamLogin:
    """A database role and its password: what the gateway uses, and nobody else ever sees."""

    name: str
    password: Secret


@dataclass(frozen=True, slots=True)
class SampleDatabase:
    """The filled database. `rows` is the number of rows in all its tables."""

    name: str
    read_only: UpstreamLogin
    read_write: UpstreamLogin
    rows: int


async def load_sample(server: PostgresServer) -> SampleDatabase:
    """Create the database, its data (some seconds) and its logins. The server must not have them yet."""
    read_only = UpstreamLogin("app_ro", Secret(secrets.token_urlsafe(24)))
    read_write = UpstreamLogin("app_rw", Secret(secrets.token_urlsafe(24)))
    admin = await connect_superuser(server, "postgres")
    try:
        await admin.execute(_script("roles.sql", read_only, read_write))
        await admin.execute(f'CREATE DATABASE "{DATABASE}"')
    finally:
        await admin.close()
    owner = await connect_superuser(server, DATABASE)
    try:
        await owner.execute(_script("sample.sql", read_only, read_write))
        await owner.execute(harden_sql())
        await owner.execute("VACUUM ANALYZE")
        rows = await count_rows(owner)
    finally:
        await owner.close()
    return SampleDatabase(DATABASE, read_only, read_write, rows)


async def connect_superuser(server: PostgresServer, dbname: str) -> "asyncpg.Connection[asyncpg.Record]":
    """A direct connection, around the gateway."""
    return await asyncpg.connect(
        host=server.host,
        port=server.port,
        user=server.superuser,
        password=server.superuser_password.reveal(),
        database=dbname,
        ssl=False,
        timeout=20,
    )


async def count_rows(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    """Exactly, over every table of the sample's schemas."""
    tables = await connection.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = ANY ($1)", list(SCHEMAS)
    )
    counts = [await connection.fetchval(f"SELECT count(*) FROM {table['name']}") for table in tables]  # noqa: S608
    return sum(counts)


def _script(name: str, read_only: UpstreamLogin, read_write: UpstreamLogin) -> str:
    """A script of gateway/demo/data with its placeholders filled in."""
    text = resources.files("gateway.demo").joinpath("data", name).read_text(encoding="utf-8")
    for key, login in (("ro", read_only), ("rw", read_write)):
        text = text.replace(f"%{key}%", f'"{login.name}"')
        text = text.replace(f"%{key}_password%", "'" + login.password.reveal().replace("'", "''") + "'")
    return text
