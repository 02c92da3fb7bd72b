"""Everything the demo needs, running: PostgreSQL with data, the gateway, and what an admin configures by the CLI."""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.connection_strings import Door
from gateway.demo.binaries import Preference
from gateway.demo.narrator import Narrator
from gateway.demo.postgres import PostgresServer, TlsFiles, start_postgres
from gateway.demo.sample import SCHEMAS, SampleDatabase, load_sample
from gateway.proxy.tls import ensure_certificate

HOST: Final = "127.0.0.1"
ADDRESS: Final = f"{HOST}/32"
ANALYST: Final = "ana_diaz"
TARGET: Final = "shop"
_READY: Final = f"pgbastion is ready on {HOST}:"
_READY_SECONDS: Final = 60.0
_PROGRAM: Final = (sys.executable, "-P", "-c", "from gateway.cli.main import run; run()")


class DemoError(Exception):
    """The stage could not be set. The text is for people."""


@dataclass(frozen=True, slots=True)
class Admin:
    """Runs `pgbastion` as an admin would, and shows it."""

    config: Path
    narrator: Narrator

    def do(self, *words: str, given: str | None = None) -> None:
        """Show the command, run it with `given` on standard input, show what it printed. Raises DemoError."""
        self.narrator.command(["pgbastion", *words])
        done = self._run(words, given)
        self.narrator.answer(done.stdout + done.stderr)

    def ask(self, *words: str) -> str:
        """Run a command unseen; its standard output. Raises DemoError."""
        return self._run(words, None).stdout

    def _run(self, words: Sequence[str], given: str | None) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*_PROGRAM, "--config", str(self.config), *words],
            input=given or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise DemoError(f"pgbastion {' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done


@dataclass(frozen=True, slots=True)
class Stage:
    """The running demo. `directory` holds everything the gateway writes; `gateway_log` is its standard output and error."""

    directory: Path
    gateway_log: Path
    upstream: PostgresServer
    sample: SampleDatabase
    admin: Admin
    door: Door

    def secrets(self) -> tuple[str, ...]:
        """What must never be seen: every upstream password."""
        return tuple(
            secret.reveal()
            for secret in (self.upstream.superuser_password, self.sample.read_only.password, self.sample.read_write.password)
        )


@contextlib.contextmanager
def set_stage(parent: Path, narrator: Narrator, prefer: Preference, port: int) -> Iterator[Stage]:
    """Start everything below `parent`; on the way out stop it and remove what it wrote.

    The gateway listens on `port`, or on a free one when that is taken or 0. Raises DemoError, PostgresError.
    """
    _forget_our_variables()
    directory = _fresh_directory(parent)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        narrator.heading("A real PostgreSQL with sample data")
        upstream = stack.enter_context(_upstream(directory, prefer))
        started_at = time.monotonic()
        sample = asyncio.run(load_sample(upstream))
        _describe_upstream(narrator, upstream, sample, time.monotonic() - started_at)

        narrator.heading("What an admin types, once")
        config = directory / "pgbastion.toml"
        _write_config(config, port)
        admin = Admin(config, narrator)
        password = _configure(admin, directory, upstream, sample)

        narrator.heading("The gateway")
        narrator.command(["pgbastion", "serve", "--config", str(config)])
        log = directory / "gateway.log"
        listening = stack.enter_context(_gateway(config, log))
        narrator.say(f"  ready on {HOST}:{listening}, TLS required")
        door = Door(HOST, listening, ANALYST, password, TARGET, directory / "state" / "tls" / "ca.pem")
        yield Stage(directory, log, upstream, sample, admin, door)


def _forget_our_variables() -> None:
    """PGPASSWORD, PGSSLMODE, PGBASTION_LISTEN__PORT and the like would make this another demo."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _fresh_directory(parent: Path) -> Path:
    try:
        parent.mkdir(mode=0o700, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="run-", dir=parent)).resolve()
    except OSError:  # somebody else's clone
        return Path(tempfile.mkdtemp(prefix="pgbastion-demo-")).resolve()


def _upstream(directory: Path, prefer: Preference) -> PostgresServer:
    """With a CA of its own, so that the gateway can verify whom it talks to."""
    files = ensure_certificate(directory / "upstream-tls", [HOST])
    return start_postgres(directory / "postgres", prefer=prefer, tls=TlsFiles(files.cert_file, files.key_file))


def _describe_upstream(narrator: Narrator, upstream: PostgresServer, sample: SampleDatabase, seconds: float) -> None:
    schemas = ", ".join(SCHEMAS)
    narrator.say(
        f"  PostgreSQL {upstream.major} on {upstream.host}:{upstream.port}; database {sample.name}: {sample.rows:,} rows in"
    )
    narrator.say(
        f"  the schemas {schemas}, made in {seconds:.1f} s; two logins for the gateway: {sample.read_only.name} (SELECT only)"
    )
    narrator.say(f"  and {sample.read_write.name}. Nobody but the gateway knows their passwords.")
    if not upstream.has_tls:
        narrator.say(
            "  This server was built without TLS, so the gateway's own connections to it (on this machine) are not encrypted."
        )
        narrator.say("  With an installed PostgreSQL (apt-get install postgresql) they are, with sslmode verify-full.")


def _write_config(config: Path, port: int) -> None:
    """`port` 0: whichever is free."""
    config.write_text(
        f'state_dir = "state"\n\n[listen]\nhost = "{HOST}"\nport = {port}\ndrain_seconds = 2\n\n[admin_api]\nport = 0\n'
    )


def _configure(admin: Admin, directory: Path, upstream: PostgresServer, sample: SampleDatabase) -> str:
    """Who, what, from where. Returns the analyst's password."""
    verified = ("--tls", "verify-full", "--ca-file", str(directory / "upstream-tls" / "ca.pem"))
    tls = verified if upstream.has_tls else ("--tls", "disable")
    place = ("--host", upstream.host, "--port", str(upstream.port), "--dbname", sample.name)
    admin.do("targets", "create", TARGET, *place, *tls)
    for mode, login in (("read_only", sample.read_only), ("read_write", sample.read_write)):
        secret = login.password.reveal()
        admin.do("targets", "login", TARGET, "--mode", mode, "--login", login.name, "--password-stdin", given=secret)
    password = secrets.token_urlsafe(18)
    admin.do("users", "create", ANALYST, "--password-stdin", given=password)
    admin.do("grants", "create", "--user", ANALYST, "--target", TARGET, "--mode", "read_only")
    admin.do("allowlist", "create", ADDRESS, "--label", "this machine")
    return password


@contextlib.contextmanager
def _gateway(config: Path, log: Path) -> Iterator[int]:
    """`pgbastion serve`, kept like the server is: it ends when we do, however we do. Gives the port when it is ready."""
    keeper = _start_gateway(config, log)
    try:
        port = _wait_until_ready(keeper, log)
        if port is None:  # somebody else has it
            _write_config(config, 0)
            keeper = _start_gateway(config, log)
            port = _wait_until_ready(keeper, log)
        if port is None:
            raise DemoError(f"no free port on {HOST}")
        yield port
    finally:
        if keeper.stdin:
            keeper.stdin.close()
        keeper.wait(30)


def _start_gateway(config: Path, log: Path) -> "subprocess.Popen[bytes]":
    home = log.with_name("gateway")
    home.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    return subprocess.Popen(
        [
            *(sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py"))),
            *(str(os.geteuid()), str(os.getegid()), str(log), str(home)),
            *(*_PROGRAM, "--config", str(config), "serve"),
        ],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _wait_until_ready(keeper: "subprocess.Popen[bytes]", log: Path) -> int | None:
    """The port it listens on; None when it ended because the port is in use."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        ended = keeper.poll() is not None
        said = log.read_text(errors="replace") if log.exists() else ""
        for line in said.splitlines():
            if line.startswith(_READY):
                return int(line.removeprefix(_READY).split()[0])
        if ended and "the port is in use" in said:
            return None
        if ended:
            raise DemoError(f"the gateway did not start:\n{said[-3000:]}")
        time.sleep(0.05)
    raise DemoError(f"the gateway was not ready after {_READY_SECONDS:.0f} seconds:\n{said[-3000:]}")
