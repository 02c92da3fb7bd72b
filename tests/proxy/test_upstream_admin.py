"""A connection that administers a server keeps to the rules of sessions: whoever asks for the password itself gets nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.access.model import DEFAULT_ENVIRONMENT, Target, TlsMode
from gateway.custody.upstream_admin import AdminConnection, UpstreamAdminError, admin_connection, scram_verifier
from gateway.secret import Secret
from gateway.services.target_facts import Place
from gateway.services.targets import sketch_target
from tests.support.upstream import Database

PASSWORD = Secret("canary-admin-83")


def authentication(code: int, rest: bytes = b"") -> bytes:
    body = code.to_bytes(4, "big") + rest
    return b"R" + (4 + len(body)).to_bytes(4, "big") + body


@asynccontextmanager
async def impostor(answer: bytes) -> AsyncIterator[tuple[Target, list[bytes]]]:
    """Says this after the startup packet, and remembers what it is told."""
    told: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4), "big")
        told.append(await reader.readexactly(size - 4))
        writer.write(answer)
        told.append(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    place = Place("127.0.0.1", server.sockets[0].getsockname()[1], "shop", TlsMode.DISABLE)
    async with server:
        yield sketch_target("shop", place, DEFAULT_ENVIRONMENT), told


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (authentication(3), "unsupported-authentication"),
        (authentication(5, b"salt"), "md5-not-allowed"),
        (authentication(0), "no-password-asked"),
        (authentication(10, b"OTHER\0\0"), "unsupported-authentication"),
        (b"nonsense of no kind", "protocol"),
        (b"", "unreachable"),
    ],
)
async def test_who_asks_for_the_password_itself_gets_nothing(answer: bytes, kind: str) -> None:
    async with impostor(answer) as (target, told):
        with pytest.raises(UpstreamAdminError) as refused:
            async with admin_connection(target, "postgres", PASSWORD, timeout_seconds=0.5):
                pass
    assert refused.value.kind == kind
    assert not any(PASSWORD.reveal().encode() in each for each in told)
    assert PASSWORD.reveal() not in str(refused.value) + repr(refused.value)


async def test_nobody_there() -> None:
    async with impostor(b"") as (target, _):
        pass
    with pytest.raises(UpstreamAdminError) as refused:
        async with admin_connection(target, "postgres", PASSWORD):
            pass
    assert refused.value.kind == "unreachable"


def place_of(database: Database) -> Target:
    upstream = database.upstream
    tls = TlsMode.VERIFY_FULL if upstream.has_tls else TlsMode.DISABLE
    ca_pem = upstream.ca_file.read_text() if upstream.has_tls else None
    place = Place("127.0.0.1", upstream.port, database.name, tls, ca_pem)
    return sketch_target("shop", place, DEFAULT_ENVIRONMENT)


@asynccontextmanager
async def connected(
    database: Database, change: Callable[[Target], Target] = lambda target: target
) -> AsyncIterator[AdminConnection]:
    upstream = database.upstream
    async with admin_connection(change(place_of(database)), upstream.superuser, upstream.superuser_password) as connection:
        yield connection


async def half_done(connection: AdminConnection) -> None:
    async with connection.transaction():
        await connection.run("CREATE TABLE half ()")
        await connection.run("SELECT 1 / 0")


async def test_a_failed_statement_leaves_the_connection_whole_and_shows_no_verifier(database: Database) -> None:
    verifier = scram_verifier(PASSWORD)
    async with connected(database) as connection:
        with pytest.raises(UpstreamAdminError) as refused:
            await connection.run(f"SELECT '{verifier}'::int")
        assert refused.value.sqlstate == "22P02"
        assert verifier[:30] not in str(refused.value)
        assert await connection.rows("SELECT 1, NULL; SELECT 'ä'") == [("1", None), ("ä",)]
        with pytest.raises(UpstreamAdminError):
            await half_done(connection)
        assert await connection.rows("SELECT to_regclass('public.half')") == [(None,)]
        assert connection.is_superuser
        assert await connection.rows("SELECT pg_backend_pid()") == [(str(connection.process_id),)]


async def test_another_servers_certificate_is_refused(database: Database) -> None:
    if not database.upstream.has_tls:
        pytest.skip("this server has no TLS")
    with pytest.raises(UpstreamAdminError) as refused:
        async with connected(database, lambda target: replace(target, ca_pem=None)):
            pass
    assert refused.value.kind == "tls"


async def test_a_cancelled_question_ends_the_connection(database: Database) -> None:
    async with connected(database) as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connection.run("SELECT pg_sleep(5)")
        with pytest.raises(UpstreamAdminError):
            await connection.rows("SELECT 1")
