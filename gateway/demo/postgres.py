"""Start and stop a throw-away PostgreSQL server on 127.0.0.1, as root or as anybody, any number at once."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gateway.demo.binaries import Account, PostgresError, Preference, can_enter, copy_embedded, find_binaries, server_account
from gateway.secret import Secret

_HOST: Final = "127.0.0.1"
_SUPERUSER: Final = "postgres"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_PORT_ATTEMPTS: Final = 5
# Nobody needs this data after a power cut.
_THROW_AWAY: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
    "unix_socket_directories": "",
}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A server certificate (PEM, with its chain) and its key."""

    cert_file: Path
    key_file: Path


@dataclass(slots=True)
class PostgresServer:
    """A running server. `stop()` ends it and removes everything it wrote; leaving a `with` block does the same.

    It also stops by itself when the process that started it is gone. `major` is 15, 18, ...; `has_tls` says whether it
    answers TLS with the certificate it was given.
    """

    host: str
    port: int
    superuser: str
    superuser_password: Secret
    has_tls: bool
    major: int
    data_dir: Path
    log_file: Path
    _keeper: "subprocess.Popen[bytes]" = field(repr=False)
    _home: Path = field(repr=False)

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return int((self.data_dir / "postmaster.pid").read_text().split("\n", 1)[0])

    def stop(self) -> None:
        """Fast shutdown. Harmless when it has stopped already."""
        _stop(self._keeper, self._home)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.stop()


def start_postgres(
    directory: Path,
    *,
    prefer: Preference = "any",
    tls: TlsFiles | None = None,
    settings: Mapping[str, str] | None = None,
) -> PostgresServer:
    """Make a fresh cluster below `directory` and start it; everybody logs in by SCRAM with a password.

    Where the server's own user cannot enter `directory` (we are root and it is private), the temporary directory is used
    instead; no folder's mode is changed. `tls` is left out when the server was built without it. Raises PostgresError.
    """
    account = server_account()
    binaries = find_binaries(prefer, account)
    directory.mkdir(parents=True, exist_ok=True)
    parent = directory if can_enter(directory, account) else None
    home = Path(tempfile.mkdtemp(prefix="pgb-", dir=parent)).resolve()
    try:
        bin_dir = binaries.bin_dir
        if binaries.embedded and not can_enter(bin_dir, account):
            bin_dir = copy_embedded(binaries, home)
        _hand_over(home, account)
        password = secrets.token_urlsafe(24)
        _initdb(bin_dir, home, password, account)
        has_tls = _configure(bin_dir, home, tls, {**_THROW_AWAY, **(settings or {})}, account)
        keeper, port = _start(bin_dir, home, account)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    return PostgresServer(
        host=_HOST,
        port=port,
        superuser=_SUPERUSER,
        superuser_password=Secret(password),
        has_tls=has_tls,
        major=binaries.major,
        data_dir=home / "data",
        log_file=home / "server.log",
        _keeper=keeper,
        _home=home,
    )


def _hand_over(path: Path, account: Account) -> None:
    if os.geteuid() == 0:
        os.chown(path, account.uid, account.gid)


def _write_for(path: Path, content: bytes, account: Account) -> None:
    """Write a file that only the server's user may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
        output.write(content)
    _hand_over(path, account)


def _run(command: list[str | Path], home: Path, account: Account) -> "subprocess.CompletedProcess[str]":
    root = os.geteuid() == 0
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=home,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        user=account.uid if root else None,
        group=account.gid if root else None,
        extra_groups=[] if root else None,
    )


def _environment() -> dict[str, str]:
    """Nothing of ours: PG... variables would change what initdb and the server do."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _initdb(bin_dir: Path, home: Path, password: str, account: Account) -> None:
    password_file = home / "password"
    _write_for(password_file, f"{password}\n".encode(), account)
    options = ["--auth=scram-sha-256", f"--username={_SUPERUSER}", "--encoding=UTF8", "--locale=C", "--no-sync"]
    made = _run(
        [bin_dir / "initdb", "--pgdata", home / "data", f"--pwfile={password_file}", *options],
        home,
        account,
    )
    password_file.unlink()
    if made.returncode != 0:
        raise PostgresError(f"initdb failed: {made.stderr.strip()[-2000:]}")


def _configure(bin_dir: Path, home: Path, tls: TlsFiles | None, settings: dict[str, str], account: Account) -> bool:
    """Append to postgresql.conf; answers whether TLS is on."""
    data = home / "data"
    # The server says by itself whether it was built with TLS: without, it refuses the value.
    has_tls = (
        tls is not None and _run([bin_dir / "postgres", "-D", data, "-C", "ssl", "-c", "ssl=on"], home, account).returncode == 0
    )
    if tls is not None and has_tls:
        _write_for(data / "server.crt", tls.cert_file.read_bytes(), account)
        _write_for(data / "server.key", tls.key_file.read_bytes(), account)
        settings = {**settings, "ssl": "on"}
    lines = [f"{name} = '{_quote(value)}'\n" for name, value in settings.items()]
    with (data / "postgresql.conf").open("a") as output:
        output.writelines(lines)
    return has_tls


def _quote(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _start(bin_dir: Path, home: Path, account: Account) -> "tuple[subprocess.Popen[bytes], int]":
    log = home / "server.log"
    for _ in range(_PORT_ATTEMPTS):
        port = _free_port()
        log.unlink(missing_ok=True)
        command = [str(bin_dir / "postgres"), "-D", str(home / "data"), "-p", str(port), "-c", f"listen_addresses={_HOST}"]
        keeper_script = Path(__file__).with_name("keeper.py")
        facts = [str(account.uid), str(account.gid), str(log), str(home)]
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(keeper_script), *facts, *command],
            stdin=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C at the terminal is ours to handle, not the server's
            env=_environment(),
        )
        try:
            ready = _wait_until_ready(keeper, home / "data")
        except BaseException:
            _stop(keeper, home)
            raise
        if ready:
            return keeper, port
        said = log.read_text(errors="replace") if log.exists() else ""
        if "could not bind" not in said:
            raise PostgresError(f"PostgreSQL did not start: {said.strip()[-2000:]}")
    raise PostgresError(f"no free port on {_HOST} after {_PORT_ATTEMPTS} attempts")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_ready(keeper: "subprocess.Popen[bytes]", data: Path) -> bool:
    """True when postmaster.pid says "ready" (its 8th line, where pg_ctl looks), False when the server has ended."""
    deadline = time.monotonic() + _START_SECONDS
    while keeper.poll() is None:
        with contextlib.suppress(OSError):
            lines = (data / "postmaster.pid").read_text().splitlines()
            if len(lines) >= 8 and lines[7].strip() == "ready":
                return True
        if time.monotonic() > deadline:
            raise PostgresError(f"PostgreSQL was not ready after {_START_SECONDS:.0f} seconds")
        time.sleep(0.02)
    return False


def _stop(keeper: "subprocess.Popen[bytes]", home: Path) -> None:
    if keeper.stdin:
        with contextlib.suppress(OSError):
            keeper.stdin.close()
    keeper.wait(_STOP_SECONDS)
    shutil.rmtree(home, ignore_errors=True)
