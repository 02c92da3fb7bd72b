"""F10, F14: the store is locked, gone, broken, read-only, full, hung or restarted, while people work."""

import contextlib
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from gateway.demo.postgres import PostgresServer, start_postgres
from gateway.store.errors import StoreError
from tests.support.faults import Fault, Measured, Worker, endure, family, until
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.upstream import Database

FAULT_SECONDS = 5.0
STORE = {"stale_after_seconds": 1.5, "end_after_seconds": 30.0}
as_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root, to mount a small disk")


def store_file(gateway: RunningGateway) -> Path:
    return gateway.state_dir / "store.sqlite3"


def locked(gateway: RunningGateway) -> Fault:
    """Another process has taken the write lock and does not give it back."""
    connection = sqlite3.connect(store_file(gateway), isolation_level=None, check_same_thread=False, timeout=5)
    return Fault("locked", lambda: connection.execute("BEGIN EXCLUSIVE") and None, connection.close)


def frozen_readers(gateway: RunningGateway) -> Fault:
    """Another process holds every lock that there is on the write-ahead log: nobody reads either."""
    shared = Path(f"{store_file(gateway)}-shm")
    script = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'r+b')\n"
        "for byte in range(120, 128):\n"
        "    fcntl.lockf(file, fcntl.LOCK_EX, 1, byte)\n"
        "print('locked', flush=True)\n"
        "time.sleep(60)\n"
    )
    holders: list[subprocess.Popen[str]] = []

    def take() -> None:
        holders.append(subprocess.Popen([sys.executable, "-c", script, str(shared)], stdout=subprocess.PIPE, text=True))
        assert holders[0].stdout is not None
        assert holders[0].stdout.readline() == "locked\n"

    def give_back() -> None:
        holders[0].kill()
        holders[0].wait()

    return Fault("locked for readers, too", take, give_back)


def gone(gateway: RunningGateway) -> Fault:
    path = store_file(gateway)
    aside = path.with_name("aside.sqlite3")
    return Fault("moved away", lambda: path.rename(aside) and None, lambda: aside.rename(path) and None)


def scribbled_over(gateway: RunningGateway) -> Fault:
    """What stands in the file is no database any more; then an admin puts the right bytes back."""
    path = store_file(gateway)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = path.read_bytes()

    def write(data: bytes) -> None:
        with path.open("r+b") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    return Fault("corrupt", lambda: write(secrets.token_bytes(len(before))), lambda: write(before))


def read_only(gateway: RunningGateway) -> Fault:
    """By its mode; for root, who may write anyway, by the file system's own mark."""
    path = store_file(gateway)
    if os.geteuid() != 0:
        return Fault("read-only", lambda: path.chmod(0o400), lambda: path.chmod(0o600))
    files = [str(path), *(str(found) for found in path.parent.glob("store.sqlite3-*"))]
    chattr = shutil.which("chattr") or "chattr"
    with contextlib.suppress(OSError):
        if subprocess.run([chattr, "+i", files[0]], capture_output=True, check=False).returncode == 0:
            subprocess.run([chattr, "-i", files[0]], check=True)
            return Fault(
                "read-only",
                lambda: subprocess.run([chattr, "+i", *files], check=True) and None,
                lambda: subprocess.run([chattr, "-i", *files], check=True) and None,
            )
    pytest.skip("nothing here makes a file read-only for root")


@pytest.mark.parametrize("make", [locked, frozen_readers, gone, scribbled_over, read_only], ids=lambda make: make.__name__)
def test_f10_an_sqlite_store(database: Database, make: Callable[[RunningGateway], Fault], measured: Measured) -> None:
    with running_gateway(listen={"port": 0, "workers": 2, "drain_seconds": 1.0}, store=STORE) as gateway:
        person, target = gateway.analyst(database)
        endure(gateway, person, target, make(gateway), measured, seconds=FAULT_SECONDS)
        # Admins are back, too, and what they do counts.
        until(lambda: works(lambda: gateway.revoke(person, target)), 5)
        other, _ = gateway.analyst(database)
        assert other.name != person.name


def works(change: Callable[[], object]) -> bool:
    try:
        change()
    except StoreError:
        return False
    return True


def test_f10_admins_are_told_at_once(database: Database, measured: Measured) -> None:
    """Their command says what is wrong instead of hanging, and leaves nothing half done."""
    with running_gateway(store=STORE) as gateway:
        before = gateway.person().name
        started = time.monotonic()
        with locked(gateway), pytest.raises(StoreError) as raised:
            gateway.person("too_late")
        measured("a command on a locked store ends after", time.monotonic() - started)
        assert time.monotonic() - started < 10
        assert "lock" in str(raised.value)
        assert gateway.person("too_late").name != before


@contextlib.contextmanager
def small_disk(directory: Path, size: str = "16m") -> Iterator[Path]:
    """A file system of its own."""
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", directory], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=False)


@as_root
def test_f10_a_full_disk(database: Database, tmp_path: Path, measured: Measured) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = {**STORE, "url": f"sqlite+aiosqlite:///{disk}/store.sqlite3"}
        with running_gateway(store=store) as gateway:
            person, target = gateway.analyst(database)
            ballast = disk / "ballast"

            def fill() -> None:
                with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as output:
                    while True:
                        output.write(bytes(4096))

            fault = Fault("disk of the store full", fill, ballast.unlink)
            endure(gateway, person, target, fault, measured, seconds=FAULT_SECONDS)
            until(lambda: works(lambda: gateway.revoke(person, target)), 5)


@as_root
def test_f10_the_disk_of_the_audit_full(database: Database, tmp_path: Path, measured: Measured) -> None:
    """What cannot be written down does not run; and when there is room again it runs again."""
    with (
        small_disk(tmp_path / "disk", "64m") as disk,
        running_gateway(audit={"directory": str(disk / "audit"), "durability": "fsync"}) as gateway,
    ):
        person, target = gateway.person(), gateway.target(database)
        gateway.grant(person, target)
        gateway.settle(person, target)
        client = gateway.client(person, target)
        ballast = disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as output:
            while True:
                output.write(bytes(4096))
        ran, failed = 0, ""
        started = time.monotonic()
        while not failed and time.monotonic() - started < 20:
            try:
                client.execute(f"SELECT {ran}, '{'x' * 2000}'")
                ran += 1
            except psycopg.Error as error:
                failed = error.sqlstate or "closed"
        measured("statements that still had room", ran, "")
        assert failed in ("53100", "58030", "57P03"), failed
        ballast.unlink()
        measured("audit has room: logins work again after", until(lambda: logs_in(gateway, client, person, target), 10))


def logs_in(gateway: RunningGateway, _old: Any, person: Any, target: str) -> bool:
    try:
        gateway.client(person, target).execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


# --- PostgreSQL as the store


@contextlib.contextmanager
def store_server(directory: Path) -> Iterator[tuple[PostgresServer, dict[str, Any]]]:
    """A server of its own, and the settings to keep the store there."""
    with start_postgres(directory, settings={"fsync": "on", "restart_after_crash": "on"}) as server:
        password = secrets.token_urlsafe(18)
        with admin_of(server) as admin:
            admin.execute(f"CREATE ROLE keeper LOGIN PASSWORD '{password}'")
            admin.execute("CREATE DATABASE keeper OWNER keeper")
        file = directory / "store-password"
        file.write_text(password)
        file.chmod(0o600)
        url = f"postgresql://keeper@{server.host}:{server.port}/keeper?sslmode=disable"
        yield server, {**STORE, "url": url, "password_file": str(file)}


def admin_of(server: PostgresServer, dbname: str = "postgres") -> "psycopg.Connection[Any]":
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user=server.superuser,
        password=server.superuser_password.reveal(),
        dbname=dbname,
        autocommit=True,
    )


def hung(server: PostgresServer) -> Fault:
    """Stopped where it stands: connections stay open, and nothing answers."""
    stopped: list[psutil.Process] = []

    def stop() -> None:
        stopped.extend(family(server.pid))
        for process in stopped:
            process.send_signal(signal.SIGSTOP)

    def go_on() -> None:
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    return Fault("PostgreSQL hung", stop, go_on)


def tables_locked(server: PostgresServer) -> Fault:
    connection = admin_of(server, "keeper")
    return Fault(
        "PostgreSQL's tables locked",
        lambda: connection.execute("BEGIN; LOCK TABLE meta IN ACCESS EXCLUSIVE MODE") and None,
        connection.close,
    )


def closed(server: PostgresServer) -> Fault:
    """It takes no connections from the gateway and has ended those that there were."""

    def shut() -> None:
        with admin_of(server) as admin:
            admin.execute("ALTER DATABASE keeper ALLOW_CONNECTIONS false")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'keeper'")

    def open_again() -> None:
        with admin_of(server) as admin:
            admin.execute("ALTER DATABASE keeper ALLOW_CONNECTIONS true")

    return Fault("PostgreSQL closed", shut, open_again)


@pytest.mark.parametrize("make", [hung, tables_locked, closed], ids=lambda make: make.__name__)
def test_f14_a_postgresql_store(
    database: Database, tmp_path: Path, make: Callable[[PostgresServer], Fault], measured: Measured
) -> None:
    with (
        store_server(tmp_path) as (server, store),
        running_gateway(listen={"port": 0, "workers": 2, "drain_seconds": 1.0}, store=store) as gateway,
    ):
        person, target = gateway.analyst(database)
        endure(gateway, person, target, make(server), measured, seconds=FAULT_SECONDS)
        until(lambda: works(lambda: gateway.revoke(person, target)), 5)
        gateway.analyst(database)


def test_f14_a_postgresql_store_that_crashes_and_restarts(database: Database, tmp_path: Path, measured: Measured) -> None:
    """All its sessions are gone at once; it comes back by itself, and nobody who is in notices."""
    with store_server(tmp_path) as (server, store), running_gateway(store=store) as gateway:
        person, target = gateway.analyst(database)
        worker = Worker(gateway, person, target)
        worker.start()
        with admin_of(server) as admin:
            (backend,) = admin.execute("SELECT min(pid) FROM pg_stat_activity WHERE datname = 'keeper'").fetchone() or (None,)
        assert backend is not None
        os.kill(backend, signal.SIGKILL)
        crashed_at = time.monotonic()
        until(lambda: works(gateway.person), 15)
        measured("PostgreSQL crashed: changes are taken again after", time.monotonic() - crashed_at)
        gateway.analyst(database)
        measured("PostgreSQL crashed: a change is in force again after", time.monotonic() - crashed_at)
        worker.stop()
        assert worker.error is None
        assert worker.slowest_seconds < 1
