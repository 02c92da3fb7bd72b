"""What is PostgreSQL's own: passwords, TLS, NOTIFY, and a server that is cut off, stopped or turned into a replica (F14)."""

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import replace

import pytest
from psycopg import sql

from gateway.access.model import TlsMode
from gateway.store.directory import StoreDirectory
from gateway.store.errors import StoreConflictError, StoreError, StoreUnavailableError
from gateway.store.places import PostgresPlace, locate
from gateway.store.sql_store import SqlStore
from tests.store.directories import Lag, running, until
from tests.store.test_store_unit_of_work import EVENT, put
from tests.store.writers import add_user, user


@contextlib.asynccontextmanager
async def door(place):
    """A way to the server that can be closed: `hang()` stops all bytes, `refuse()` answers nobody, `open()` is as before."""
    passage = Door(place.server.host, place.server.port)
    async with await asyncio.start_server(passage.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield passage, replace(place.where, port=port)
        passage.cut()


class Door:
    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader, writer):
        if self._refusing:
            writer.close()
            return
        behind, ahead = await asyncio.open_connection(*self._address)
        self._writers += [writer, ahead]
        await asyncio.gather(self._pump(reader, ahead), self._pump(behind, writer), return_exceptions=True)

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    def hang(self):
        self._flowing.clear()

    def refuse(self):
        self._refusing = True
        self.cut()

    def cut(self):
        for writer in self._writers:
            writer.transport.abort()
        self._writers = []

    def open(self):
        self._refusing = False
        self._flowing.set()


@contextlib.asynccontextmanager
async def watching(where, keys, **settings):
    directory = StoreDirectory(where, **{"poll_seconds": 0.1, "stale_after_seconds": 1.5, **settings}, keys=keys)
    await directory.start()
    try:
        yield directory
    finally:
        await directory.close()


@pytest.mark.parametrize("how", ["hang", "refuse"])
async def test_a_server_that_is_cut_off_goes_stale_in_time_and_recovers(postgres_place, how):
    place = postgres_place
    await place.add_user("alice")
    async with door(place) as (passage, where), watching(where, place.vault) as directory:
        began = time.monotonic()
        getattr(passage, how)()
        async with Lag() as lag:
            await until(lambda: not directory.fresh)
            print(f"noticed after {time.monotonic() - began:.2f} s")
            assert time.monotonic() - began < 1.9
            asked = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                await add_user(SqlStore(where), "bob")
            print(f"a change failed after {time.monotonic() - asked:.2f} s")
            assert time.monotonic() - asked < 4
            await asyncio.sleep(1)
            assert not directory.fresh
        print(f"longest lag {lag.longest_seconds * 1000:.0f} ms")
        assert lag.longest_seconds < 0.25  # 0.05 on an idle machine
        assert set(directory.snapshot.users) == {"alice"}
        await place.add_user("carol")
        passage.open()
        await until(lambda: directory.fresh and "carol" in directory.snapshot.users)


POLLING = (
    "SELECT pid FROM pg_stat_activity WHERE usename = current_database() AND query LIKE '%pg_is_in_recovery%'"
    " AND pid <> pg_backend_pid()"
)


async def test_a_backend_that_stands_still_is_left_for_another(postgres_place):
    place = postgres_place
    async with running(place, stale_after_seconds=1.5) as directory:
        await until(lambda: place.run(POLLING))
        ((pid,),) = place.run(POLLING)
        os.kill(pid, signal.SIGSTOP)
        try:
            # The socket stays open with nobody behind it; a new link tells that the store is well before anybody is turned away.
            await place.add_user("alice")
            await until(lambda: "alice" in directory.snapshot.users)
            assert directory.fresh
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_a_lost_notify_is_covered_by_the_poll(postgres_place):
    place = postgres_place
    async with running(place) as directory:
        place.run("INSERT INTO users VALUES ('u', 'alice', 'v', 1, NULL, 'inherit', 1, 1)", "UPDATE meta SET revision = 2")
        began = time.monotonic()
        await until(lambda: "alice" in directory.snapshot.users)
        assert time.monotonic() - began < 0.5


async def test_notify_is_prompt_and_a_cut_link_is_made_anew(postgres_place):
    place = postgres_place
    async with running(place, poll_seconds=30, stale_after_seconds=60) as directory:
        for name in ("alice", "bob"):
            await place.add_user(name)
            await until(lambda name=name: name in directory.snapshot.users, 1)
            place.run(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{place.database}'"
                " AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.5)  # the new link


async def test_a_replica_or_a_read_only_server_lets_nobody_in(postgres_place):
    place = postgres_place
    await place.add_user("alice")
    name = sql.Identifier(place.database)
    with place.server.connect() as superuser:
        superuser.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        async with running(place) as directory:
            await until(lambda: not directory.fresh)
            with pytest.raises(StoreUnavailableError, match="read-only"):
                await place.add_user("bob")
            superuser.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))
            place.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_database()")
            await until(lambda: directory.fresh)
            await place.add_user("bob")
            await until(lambda: "bob" in directory.snapshot.users)


async def test_a_change_that_is_killed_leaves_nothing_and_says_what_is_known(postgres_place):
    place = postgres_place
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_database()"
    async with place.store.begin() as work:
        work.put(user("alice"))
        place.run(kill)
        with pytest.raises(StoreUnavailableError):
            await work.commit(EVENT)
    assert (await place.store.read()).users == {}


async def test_a_commit_whose_answer_is_lost_says_that_it_may_have_been_made(postgres_place):
    place = postgres_place
    place.run(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION dawdle()",
    )
    async with door(place) as (passage, where), SqlStore(where).begin() as work:
        work.put(user("alice"))
        asyncio.get_running_loop().call_later(0.5, passage.hang)  # while the server is at the commit
        with pytest.raises(StoreUnavailableError, match="may or may not"):
            await asyncio.wait_for(work.commit(EVENT), 9)
    await until(lambda: place.run("SELECT name FROM users") == [("alice",)])


async def test_errors_of_the_server_repeat_no_values(postgres_place):
    place = postgres_place
    await put(place.store, user("alice"))
    with pytest.raises(StoreConflictError) as caught:
        await put(place.store, replace(user("alice"), id="name-canary"))
    assert caught.value.__cause__ is None
    with pytest.raises(StoreError, match="cannot hold such a value") as caught:
        await put(place.store, replace(user("bob"), verifier="canary\0"))
    assert "canary" not in str(caught.value)


async def test_a_wrong_password_is_said_and_not_repeated(postgres_place, monkeypatch):
    place = postgres_place
    right = place.password_file.read_text()
    place.password_file.write_text("wrong-canary\n")
    monkeypatch.setenv("PGPASSWORD", right.strip())  # nobody looks there
    with pytest.raises(StoreUnavailableError, match="password authentication failed") as caught:
        await place.store.read()
    assert "canary" not in str(caught.value)
    place.password_file.chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        await place.store.read()
    place.password_file.unlink()
    with pytest.raises(StoreError, match=r"password_file .* cannot be read: No such file"):
        await place.store.read()


async def test_a_server_that_cannot_be_verified_is_refused(postgres_place, tmp_path):
    place = postgres_place
    if not place.server.has_tls:
        pytest.skip("this server was built without TLS")
    by_address = place.where
    for where in (replace(by_address, root_cert=None), replace(by_address, host="localhost.localdomain")):
        with pytest.raises(StoreUnavailableError):
            await SqlStore(where).read()
    with pytest.raises(StoreError, match="sslrootcert"):
        await SqlStore(replace(by_address, root_cert=tmp_path / "none")).read()
    await SqlStore(replace(by_address, root_cert=None, tls=TlsMode.REQUIRE)).read()


def test_what_a_url_says():
    place = locate("postgresql://bastion@db.example/store?sslmode=verify-ca&sslrootcert=/etc/ca.pem")
    assert (place.host, place.port, place.user, place.database) == ("db.example", 5432, "bastion", "store")
    assert (place.tls, str(place.root_cert)) == (TlsMode.VERIFY_CA, "/etc/ca.pem")
    assert locate("postgresql://bastion@db.example/store").tls is TlsMode.VERIFY_FULL
    assert locate("postgresql://bastion@[::1]:5433/store?sslmode=require").host == "::1"
    assert locate("postgres://bastion@db/store?sslmode=require&sslrootcert=ca.pem").tls is TlsMode.VERIFY_CA
    socket = locate("postgresql://bastion@/store?host=/run/postgresql")
    assert isinstance(socket, PostgresPlace)
    assert (socket.host, socket.tls) == ("/run/postgresql", TlsMode.DISABLE)
