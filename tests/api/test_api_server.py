"""The process: a real server on a socket, raw bytes where a client library would be too polite."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import trustme

from gateway.access.model import TokenScope
from gateway.services.tokens import create_token, revoke_token
from gateway.store.sql_store import SqlStore
from tests.api.conftest import WHY, make_settings, make_store
from tests.support.gateway import write_config
from tests.support.short_names import SHORT_NAMES

HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


POST = b"POST /v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@dataclass
class Server:
    """`python -m admin_api` with a store of its own and no gateway beside it."""

    process: "subprocess.Popen[str]"
    port: int
    store: SqlStore
    token: str
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, verify=self.tls or True, trust_env=False)

    def rss(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss

    def say(self, *pieces: bytes, wait: float = 5.0) -> bytes:
        """Send the pieces; everything that comes back until the server closes or is silent for `wait` seconds."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
            sock.settimeout(wait)
            heard = b""
            with contextlib.suppress(TimeoutError, ConnectionError):
                for piece in pieces:
                    sock.sendall(piece)
                while data := sock.recv(65536):
                    heard += data
            return heard


def head_of(answer: bytes) -> tuple[int, dict[str, str]]:
    lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), {name.lower(): value for name, value in headers.items()}


@contextlib.contextmanager
def process(config: Path) -> Iterator["tuple[subprocess.Popen[str], int]"]:
    command = [sys.executable, "-P", "-m", "admin_api", "--config", str(config)]
    started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert started.stdout is not None
    try:
        line = started.stdout.readline()
        match = re.search(r"ready on port (\d+)", line)
        assert match, line
        yield started, int(match[1])
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            assert started.wait(10) == 0
        finally:
            started.kill()


async def prepared(folder: Path, **sections: Any) -> tuple[Path, SqlStore, str]:
    """The configuration, the store and an admin's token."""
    sections = {**sections, "admin_api": {"port": 0, **sections.get("admin_api", {})}}
    store, _ = await make_store(make_settings(folder, **sections))
    soon = datetime.now(UTC) + timedelta(hours=1)
    token = await create_token(store, name="boss", scope=TokenScope.ADMIN, valid_until=soon, **WHY)
    return write_config(folder, users=SHORT_NAMES, **sections), store, token.secret.reveal()


@contextlib.asynccontextmanager
async def serving(folder: Path, tls: ssl.SSLContext | None = None, **sections: Any) -> AsyncIterator[Server]:
    config, store, token = await prepared(folder, **sections)
    with process(config) as (started, port):
        yield Server(started, port, store, token, tls)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config, store, token = asyncio.run(prepared(tmp_path_factory.mktemp("api")))
    with process(config) as (started, port):
        yield Server(started, port, store, token)


async def test_it_serves_and_reads_its_own_writes(server: Server) -> None:
    async with server.client() as client:
        for number in range(20):
            made = await client.post("/v1/users", json={"name": f"u{number}"})
            assert made.status_code == 201, made.text
            assert (await client.get(f"/v1/users/u{number}")).json()["version"] == made.json()["version"]
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["store"], ready.json()["workers"]) == (503, True, 0)


async def test_a_token_that_another_process_revoked_is_dead_within_a_second(server: Server) -> None:  # W11
    soon = datetime.now(UTC) + timedelta(hours=1)
    new = await create_token(server.store, name="brief", scope=TokenScope.READ, valid_until=soon, **WHY)
    async with server.client(new.secret.reveal()) as client:
        deadline = time.monotonic() + 1
        while (await client.get("/v1/whoami")).status_code != 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        await revoke_token(server.store, name="brief", **WHY)
        revoked_at = time.monotonic()
        while (await client.get("/v1/whoami")).status_code == 200:
            assert time.monotonic() - revoked_at < 1.0


async def test_headers_say_nothing_of_what_serves(server: Server) -> None:
    async with server.client() as client:
        answer = await client.get("/v1/users")
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
        cross = await client.options(
            "/v1/users", headers={"Origin": "https://evil.test", "Access-Control-Request-Method": "GET"}
        )
        assert cross.status_code == 405
        assert not [name for name in cross.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: b\r\n\r\n",
        b"POST /v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1/users HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        b"GET http://evil.test/v1/users HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/users\r\n\r\n",
        b"GET /v1/users HTTP/1.1\r\n\r\n",
        b"GET /v1/users HTTP/1.1\r\nHost: localhost\r\nA b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\x00" * 100 + b"\r\n\r\n",
    ],
)
async def test_malformed_requests_are_refused_with_every_header(server: Server, request_: bytes) -> None:  # W17, W20
    status, headers = head_of(server.say(request_, wait=2.0))
    assert status in (400, 401)
    assert HEADERS.items() <= headers.items()
    assert headers["content-type"] == "application/problem+json"


async def test_content_length_beside_chunks_is_not_two_requests(server: Server) -> None:  # W20
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    lengths = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(smuggled))
    heard = server.say(b"POST /v1/users HTTP/1.1\r\nHost: localhost\r\n" + lengths + smuggled, wait=2.0)
    assert b'"status":"ok"' not in heard.partition(b"\r\n\r\n")[2] or heard.count(b"HTTP/1.1") == 2
    assert head_of(heard)[0] in (400, 401)


async def test_a_gigabyte_is_refused_by_what_it_says(server: Server) -> None:  # W19
    before = server.rss()
    auth = f"Authorization: Bearer {server.token}\r\n".encode()
    for who in (b"", auth):
        request = (
            b"POST /v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            + who
            + b"Content-Length: 1073741824\r\n\r\n"
        )
        status, headers = head_of(server.say(request, *[b" " * 65536] * 64))
        assert status == (413 if who else 401)
        assert HEADERS.items() <= headers.items()
    assert server.rss() - before < 16 * 1024 * 1024


async def test_chunks_without_end_are_cut_off(server: Server) -> None:  # W19
    before = server.rss()
    auth = f"Authorization: Bearer {server.token}\r\n".encode()
    request = POST + auth + b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    assert head_of(server.say(request, *[chunk] * 400))[0] == 413
    assert server.rss() - before < 16 * 1024 * 1024


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
async def test_deep_json_is_a_plain_refusal(server: Server, opening: str, closing: str) -> None:  # W19
    async with server.client() as client:
        body = opening * 100_000 + "1" + closing * 100_000
        for path in ("/v1/users", "/v1/manifest"):
            answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 422), answer.text
        assert (await client.get("/healthz")).status_code == 200


async def test_other_kinds_of_bodies_are_refused(server: Server) -> None:  # W21
    async with server.client() as client:
        kinds = ("multipart/form-data; boundary=x", "text/plain", "application/x-www-form-urlencoded")
        for kind in kinds:
            answer = await client.post("/v1/users", content=b"--x\r\n" * 10_000, headers={"Content-Type": kind})
            assert answer.status_code == 415
        packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert (await client.post("/v1/users", content=b"\x1f\x8b", headers=packed)).status_code == 415
        many = await client.get("/v1/users", headers={"Range": "bytes=" + ",".join(f"{n}-" for n in range(5000))})
        assert many.status_code in (200, 400)


async def test_a_head_that_trickles_is_cut_off(tmp_path: Path) -> None:  # W19: 1 B/s
    async with serving(tmp_path) as server:

        def trickle() -> tuple[float, bytes]:
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", server.port), 5) as sock:
                sock.settimeout(0.5)
                for byte in b"GET /healthz HTTP/1.1\r\nHost: " + b"a" * 100:
                    try:
                        sock.sendall(bytes([byte]))
                        data = sock.recv(4096)
                    except TimeoutError:
                        continue
                    return time.monotonic() - began, data
            raise AssertionError("still open")

        took, heard = await asyncio.to_thread(trickle)
        assert 9 < took < 13
        assert head_of(heard)[0] == 408


async def test_an_address_off_the_list_is_refused_before_it_speaks(tmp_path: Path) -> None:  # L08
    async with serving(tmp_path, admin_api={"allow": ["192.0.2.0/24"]}) as server:
        status, headers = head_of(server.say(b"", wait=2.0))
        assert status == 403
        assert HEADERS.items() <= headers.items()
        async with server.client() as client:
            forwarded = {"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7", "X-Real-IP": "192.0.2.7"}
            assert (await client.get("/healthz", headers=forwarded)).status_code == 403


async def test_sigterm_ends_streams_and_the_process_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reading = asyncio.create_task(_end_of_stream(server))
        await asyncio.sleep(1.0)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, 10) == 0
        assert time.monotonic() - began < 3
        assert b"event: end" in await reading


async def test_who_was_let_in_before_the_end_may_still_ask(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.port), 5) as sock:
            await asyncio.sleep(0.2)
            server.process.terminate()
            await asyncio.sleep(0.15)  # it looks for its end ten times a second
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert server.process.wait(5) == 0


async def _end_of_stream(server: Server) -> bytes:
    heard = b""
    async with server.client() as client, client.stream("GET", "/v1/audit/stream", timeout=20) as answer:
        assert answer.status_code == 200
        with contextlib.suppress(httpx.HTTPError):
            async for piece in answer.aiter_raw():
                heard += piece
    return heard


async def test_beyond_loopback_it_speaks_tls_with_the_gateways_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    state = tmp_path / "state" / "tls"
    state.mkdir(parents=True, mode=0o700)
    issued.cert_chain_pems[0].write_to_path(str(state / "server.pem"))
    issued.private_key_pem.write_to_path(str(state / "server.key"))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with serving(tmp_path, trust, admin_api={"tls": "require"}) as server:
        async with server.client() as client:
            answer = await client.get("/v1/users")
            assert (answer.status_code, answer.headers["strict-transport-security"]) == (200, "max-age=31536000")
        assert b"HTTP" not in server.say(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", wait=2.0)


async def test_what_keeps_it_from_starting_is_one_line(tmp_path: Path) -> None:
    config = write_config(tmp_path, admin_api={"port": 0})
    command = [sys.executable, "-P", "-m", "admin_api", "--config", str(config)]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert ended.returncode == 1
    assert ended.stderr.startswith("pgbastion: admin API: ")
    assert len(ended.stderr.splitlines()) == 1
