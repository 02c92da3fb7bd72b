"""A gateway whose every secret is a canary, before a PostgreSQL that writes down all that it is asked."""

import contextlib
import os
import re
import resource
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gateway.cli.local import operator
from gateway.services import allowlist
from gateway.store.sealed_columns import SEALED_COLUMNS
from tests.canary.canaries import Canaries
from tests.canary.commands import Done, run_here
from tests.canary.keys import note_master_key, note_private_key
from tests.canary.places import activity_places, family, file_places, log_places, open_file_places, process_places
from tests.canary.scanner import Figures, Leak, Place, Scanner
from tests.support.free_port import free_port
from tests.support.gateway import WHY, RunningGateway, wait_until_ready, write_config
from tests.support.short_names import SHORT_NAMES
from tests.support.upstream import Upstream

TYPED_SQL = "SQL with a password"
TYPED_VALUE = "bind value"
#: What people type, they see again in errors about it, and PostgreSQL has to see it: nobody else has.
TYPED = (TYPED_SQL, TYPED_VALUE)


@dataclass
class World:
    """`own`: the gateway's folder, and where it runs; `given`: files in which operators hand it secrets; `temporary`: $TMPDIR."""

    folder: Path
    upstream: Upstream
    scanner: Scanner
    gateway: RunningGateway
    environment: dict[str, str]
    api_url: str = ""
    #: The gateway's logs of former lives.
    former_logs: list[str] = field(default_factory=list)
    first_token: str = ""
    _http: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=30))

    @property
    def canaries(self) -> Canaries:
        return self.scanner.canaries

    @property
    def own(self) -> Path:
        return self.folder / "own"

    @property
    def given(self) -> Path:
        return self.folder / "given"

    @property
    def log(self) -> str:
        return "".join(self.gateway.log)

    def secret_file(self, content: str, name: str = "") -> Path:
        path = self.given / (name or secrets.token_hex(4))
        path.write_text(f"{content}\n")
        path.chmod(0o600)
        return path

    def look(self, kind: str, name: str, content: str | bytes, *, but: Collection[str] = ()) -> None:
        raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        leaks = self.scanner.look([Place(kind, name, raw)], but=but)
        assert not leaks, leaks

    # -- what people do --------------------------------------------------------------------------------------------------

    def command(self, *words: str, given: str = "", status: int | None = 0, shows: str = "") -> Done:
        """A command on the gateway's machine. `shows`: the slot of the secret that it makes, by the pattern in `shown_secret`."""
        done = run_here(list(words), self.environment, given)
        if status is not None:
            assert done.status == status, (words, done.status, done.stderr[-2000:])
        if shows:
            secret = shown_secret(done.stdout)
            self.scanner.shown("command output", done.words, done.said, shows, secret)
        else:
            self.look("command output", done.words, done.said)
        return done

    def ask(
        self, method: str, path: str, *, token: str | None = "", shows: tuple[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """One request. `token`: "" is the first one, None is none. `shows`: slot and field of the secret that the answer holds."""
        headers = {**more.pop("headers", {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.first_token}"
        answer = self._http.request(method, self.api_url + path, headers=headers, **more)
        content = f"{answer.status_code} {answer.headers}\n{answer.text}"
        name = f"{method} {path}"
        if shows is not None:
            slot, field_name = shows
            self.scanner.shown("API answer", name, content, slot, str(answer.json()[field_name]))
        else:
            self.look("API answer", name, content)
        return answer

    def psql(self, *statements: str, user: str, password: str, database: str, **variables: str) -> str:
        """psql's own words, on both streams."""
        psql = shutil.which("psql")
        assert psql is not None
        arguments = [part for each in statements for part in ("-c", each)]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "PGHOST": self.gateway.host,
            "PGPORT": str(self.gateway.port),
            "PGUSER": user,
            "PGPASSWORD": password,
            "PGDATABASE": database,
            "PGSSLMODE": "verify-full",
            "PGSSLROOTCERT": str(self.gateway.ca_file),
            "PGCONNECT_TIMEOUT": "10",
            **variables,
        }
        done = subprocess.run([psql, "-Xw", *arguments], env=environment, capture_output=True, timeout=60, check=False)
        said = done.stdout + done.stderr
        self.look("client bytes", f"psql {' '.join(statements)[:60]}", said, but=TYPED)
        return said.decode()

    # -- where it can be looked at -----------------------------------------------------------------------------------------

    def pids(self) -> list[int]:
        return [process.pid for process in family(self.gateway.process.pid)]

    def look_at_processes(self) -> None:
        pids = self.pids()
        found = [*process_places(pids), *open_file_places(pids)]
        leaks = self.scanner.look(found)
        assert not leaks, leaks

    def note_what_is_sealed(self) -> None:
        """Whatever the store holds sealed, of every kind that there is, is a secret: also what nobody has ever seen."""
        file = self.own / "state" / "store.sqlite3"
        if not file.exists():
            return
        vault = self.gateway.admin.vault
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as store:
            for each in SEALED_COLUMNS:
                names = (each.bound_to.name, each.column.name, each.table.name, each.column.name)
                rows = store.execute("SELECT {}, {} FROM {} WHERE length({}) > 0".format(*names)).fetchall()
                for bound_to, sealed in rows:
                    self.canaries.note(f"sealed: {each.kind}", vault.reopen(each.use, bound_to, sealed).reveal())

    def look_everywhere(self) -> list[Leak]:
        """All that stays behind: files, logs, what upstream has heard."""
        before = len(self.scanner.leaks)
        self.note_what_is_sealed()
        kept = [self.gateway.admin.settings.key_file, *self.gateway.admin.settings.tls_dir.glob("*.key")]
        self.scanner.look(file_places(self.own, "file", but=kept))
        self.scanner.look(file_places(self.folder / "tmp", "temporary file"))
        self.scanner.look(file_places(self.folder / "home", "file at home"))
        logs = [log.replace(self.first_token, "", 1) if self.first_token else log for log in (*self.former_logs, self.log)]
        self.scanner.look(Place("log", f"log {number}", log.encode()) for number, log in enumerate(logs))
        if self.upstream.log_file is not None:
            self.scanner.look(log_places([self.upstream.log_file], "upstream's log"), but=TYPED)
        with self.upstream.connect("template1") as connection:
            self.scanner.look(activity_places(connection), but=TYPED)
        return self.scanner.leaks[before:]

    # -- its life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Again, after an end of whatever kind."""
        self.former_logs.append(self.log)
        process, log = _serve(self.gateway.config, self.own, self.environment)
        self.gateway.process, self.gateway.log = process, log
        self.gateway.port = wait_until_ready(process, log)
        self.api_url = _api_url(log)

    def end(self) -> None:
        self.gateway.close_clients()
        everybody = family(self.gateway.process.pid) if self.gateway.process.poll() is None else []
        self.gateway.process.send_signal(signal.SIGTERM)
        try:
            self.gateway.process.wait(15)
        finally:
            for process in everybody:
                with contextlib.suppress(Exception):
                    process.kill()


@contextlib.contextmanager
def made_world(
    folder: Path, upstream: Upstream, figures: Figures, environment: dict[str, str] | None = None, **sections: Any
) -> Iterator[World]:
    """Started for the first time. What the start itself made is known as canaries: keys, and the first token."""
    for name in ("own", "given", "tmp", "home"):
        (folder / name).mkdir(mode=0o700)
    scanner = Scanner(Canaries(), figures)
    listen = {"host": "127.0.0.1", "port": free_port(), "drain_seconds": 1.0}  # it stands in connection strings
    wide = {"free_failures": 1_000_000, "user_delay_seconds": 0.0}
    given = {"listen": listen, "admin_api": {"port": 0}, "users": SHORT_NAMES, "throttle": wide, **sections}
    config = write_config(folder / "own", **given)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "XDG_CONFIG_HOME": str(folder / "home" / "config"),
        "TMPDIR": str(folder / "tmp"),
        "PGBASTION_CONFIG": str(config),
        "PGBASTION_NO_KEYRING": "1",
        "PYTHONSAFEPATH": "1",
        "COLUMNS": "200",
        "NO_COLOR": "1",
        **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
        **(environment or {}),
    }
    process, log = _serve(config, folder / "own", variables)
    try:
        port = wait_until_ready(process, log)
        admin = operator(config)
        gateway = RunningGateway(folder / "own", config, "127.0.0.1", admin, process, port, log)
        world = World(folder, upstream, scanner, gateway, variables, api_url=_api_url(log))
        _note_what_was_made(world)
        change = allowlist.create_entry(admin.store, level=allowlist.Everybody(), network="127.0.0.0/8", label="", **WHY)
        admin.change(change)
        scanner.canaries.note("target admin login", upstream.superuser_password.reveal())
        yield world
        world.end()
    finally:
        if process.poll() is None:
            process.kill()


def shown_secret(text: str) -> str:
    """The one secret that a command says it shows only now."""
    found = re.findall(r'"(?:password|token|generated)": "([^"]{16,})"', text) or re.findall(r"\S{32,}", text)
    assert len(found) == 1, "not one secret"
    return str(found[0])


def _note_what_was_made(world: World) -> None:
    settings = world.gateway.admin.settings
    note_master_key(world.canaries, settings.key_file)
    for file in settings.tls_dir.glob("*.key"):
        note_private_key(world.canaries, f"TLS key {file.stem}", file.read_bytes())
    found = re.findall(r"first token, shown this once: (pgb_\S+)", world.log)
    assert len(found) == 1
    world.first_token = found[0]
    world.canaries.note("API token", world.first_token)


def _api_url(log: list[str]) -> str:
    deadline = time.monotonic() + 10
    while not (found := re.findall(r"admin API is at (http://\S+)", "".join(log))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return str(found[-1])


def _serve(config: Path, folder: Path, environment: dict[str, str]) -> tuple["subprocess.Popen[str]", list[str]]:
    """As an operator would who forgot nothing that makes a crash useful: core files may be as large as they like."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("pgbastion")), "serve", "--config", str(config)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (most, most)),
    )
    log: list[str] = []
    assert process.stdout is not None
    threading.Thread(target=lambda: log.extend(process.stdout or []), daemon=True).start()
    return process, log
