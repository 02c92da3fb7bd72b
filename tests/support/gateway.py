"""A running gateway for end-to-end tests: configured through the services that the CLI uses, served by `pgbastion serve`."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from admin_api.together import together
from gateway.access.model import ListMode, TlsMode
from gateway.access_mode import AccessMode, GrantOption
from gateway.bus.peer import ask
from gateway.cli.local import Operator, operator
from gateway.ports import Store
from gateway.secret import Secret
from gateway.services import allowlist, grants, targets, users
from tests.support.audit_files import AuditFiles
from tests.support.upstream import Database

#: So many upstream sessions of every target are opened ahead: to run any of the tests with them.
AHEAD_VARIABLE = "PGBASTION_TEST_OPEN_AHEAD"
_READY_SECONDS = 120  # of a busy machine; one that cannot start says so at once
WHY = {"actor": "os:test", "reason": "a test"}


@dataclass
class Person:
    name: str
    password: str


@dataclass
class RunningGateway:
    """`client` opens a psycopg connection as a person; `events` reads the audit; admin verbs act at once."""

    directory: Path
    config: Path
    host: str
    admin: Operator
    process: "subprocess.Popen[str]"
    port: int
    log: list[str]
    _open: list["psycopg.Connection[Any]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._audit = AuditFiles(self.state_dir / "audit")

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def ca_file(self) -> Path:
        return self.state_dir / "tls" / "ca.pem"

    def person(self, name: str = "") -> Person:
        return self.admin.change(_made_person(self.admin.store, name))

    def target(
        self,
        database: Database,
        name: str = "",
        *,
        modes: tuple[AccessMode, ...] = tuple(AccessMode),
        tls: TlsMode = TlsMode.VERIFY_FULL,
    ) -> str:
        """Upstream TLS is verified where the server has TLS at all."""

        async def made() -> str:
            async with together(self.admin.store) as store:
                return await self._made_target(store, database, name, modes, tls)

        return self.admin.change(made())

    async def _made_target(
        self, store: Store, database: Database, name: str, modes: tuple[AccessMode, ...], tls: TlsMode
    ) -> str:
        name = name or f"t_{secrets.token_hex(4)}"
        upstream = database.upstream
        if not upstream.has_tls:
            tls = TlsMode.DISABLE
        ca_pem = upstream.ca_file.read_text() if tls is not TlsMode.DISABLE else None
        place = targets.Place(upstream.host, upstream.port, database.name, tls, ca_pem)
        await targets.create_target(store, name=name, place=place, **WHY)
        logins = {AccessMode.READ_ONLY: database.app_ro, AccessMode.READ_WRITE: database.app_rw}
        for mode in modes:
            login, password = logins[mode].name, logins[mode].password
            await targets.set_login(store, self.admin.vault, name=name, mode=mode, login=login, password=password, **WHY)
        if open_ahead := int(os.environ.get(AHEAD_VARIABLE, "0")):
            await targets.set_open_ahead(store, name=name, open_ahead=open_ahead, **WHY)
        return name

    def login(self, target: str, mode: AccessMode, role: str, password: Secret) -> None:
        change = targets.set_login(
            self.admin.store, self.admin.vault, name=target, mode=mode, login=role, password=password, **WHY
        )
        self.admin.change(change)

    def grant(
        self,
        person: Person,
        target: str,
        mode: AccessMode = AccessMode.READ_ONLY,
        *options: GrantOption,
        max_changed_rows: int | None = None,
        **terms: Any,
    ) -> None:
        """Takes the place of a live one of the same mode. `terms`: see `grant_terms.Given`."""
        self.admin.change(
            grants.create_grant(
                self.admin.store,
                holder=grants.UserHolder(person.name),
                target_name=target,
                mode=mode,
                options=frozenset(options),
                max_changed_rows=max_changed_rows,
                replace_live=True,
                **terms,
                **WHY,
            )
        )

    def revoke(self, person: Person, target: str) -> None:
        self.admin.change(
            grants.revoke_grants(self.admin.store, holder=grants.UserHolder(person.name), target_name=target, **WHY)
        )

    def analyst(
        self,
        database: Database,
        mode: AccessMode = AccessMode.READ_ONLY,
        *options: GrantOption,
        max_changed_rows: int | None = None,
        **terms: Any,
    ) -> tuple[Person, str]:
        """A person with a grant on a new target for this database. The gateway's workers know of both when this returns."""
        person, target = self.admin.change(self._made_analyst(database))
        self.grant(person, target, mode, *options, max_changed_rows=max_changed_rows, **terms)
        self.settle(person, target)
        return person, target

    async def _made_analyst(self, database: Database) -> tuple[Person, str]:
        """One change: each one is told to every process of the gateway."""
        async with together(self.admin.store) as store:
            return (
                await _made_person(store),
                await self._made_target(store, database, "", tuple(AccessMode), TlsMode.VERIFY_FULL),
            )

    def settle(self, person: Person, target: str) -> None:
        """Wait until a login works: a change is seen at the next poll, at the latest."""
        deadline = time.monotonic() + 5
        while True:
            try:
                self.client(person, target).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def parameters(self, person: Person, target: str, **more: Any) -> dict[str, Any]:
        base = {
            "host": self.host,
            "port": self.port,
            "user": person.name,
            "password": person.password,
            "dbname": target,
            "sslmode": "verify-full",
            "sslrootcert": str(self.ca_file),
        }
        return {**base, **more}

    def client(self, person: Person, target: str, **more: Any) -> "psycopg.Connection[Any]":
        autocommit = more.pop("autocommit", True)
        connection = psycopg.connect(**self.parameters(person, target, **more), autocommit=autocommit)
        self._open.append(connection)
        return connection

    def events(self, **wanted: Any) -> list[dict[str, Any]]:
        """Audit records that hold all of `wanted`, in the order written by each worker.

        The files lag behind the journals of the workers by some milliseconds.
        """
        time.sleep(0.05)
        return [record for record in self._audit.records() if all(record.get(key) == value for key, value in wanted.items())]

    def wait_for_event(self, seconds: float = 3.0, **wanted: Any) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while not (found := self.events(**wanted)):
            assert time.monotonic() < deadline, f"no audit event {wanted}"
            time.sleep(0.02)
        return found[-1]

    def close_clients(self) -> None:
        for connection in self._open:
            connection.close()
        self._open.clear()

    def worker_pids(self) -> list[int]:
        """Of the workers alone, those too that are leaving."""
        return [pid for name, pid in processes(self.state_dir) if name.startswith("worker:")]


async def _made_person(store: Store, name: str = "") -> Person:
    name = name or f"u_{secrets.token_hex(4)}"
    made = await users.create_user(store, name=name, **WHY)
    assert made.generated is not None
    return Person(name, made.generated.reveal())


def processes(state_dir: Path) -> list[tuple[str, int]]:
    """Name on the bus and process id of each child of the supervisor."""
    found = []
    for answer in ask(state_dir / "bus.sock", "processes", {}, 10.0, to="hub"):
        name, pid = answer["name"], answer["pid"]
        assert isinstance(name, str)
        assert isinstance(pid, int)
        found.append((name, pid))
    return found


def write_config(directory: Path, **sections: dict[str, Any]) -> Path:
    """A TOML file in `directory`; values are strings, numbers and lists, as JSON writes them.

    Without a section for it, the admin API is switched off: few tests need it, and each start would pay for it.
    """
    sections = {"listen": {"host": "127.0.0.1", "port": 0, "drain_seconds": 1.0}, "admin_api": {"enabled": False}, **sections}
    lines = ['state_dir = "state"']
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    path = directory / "pgbastion.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextlib.contextmanager
def running_gateway(
    *,
    networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128"),
    before: Callable[[Path], None] = lambda _state: None,
    **sections: dict[str, Any],
) -> Iterator[RunningGateway]:
    """`sections` go into the configuration file; `before` may put something where the state directory will be.

    Ends with SIGTERM, and fails if the gateway did not end well.
    """
    with tempfile.TemporaryDirectory(prefix="pgbastion-") as made:
        directory = Path(made)
        config = write_config(directory, **sections)
        before(directory / "state")
        admin = operator(config)
        for network in networks:
            change = allowlist.create_entry(admin.store, level=allowlist.Everybody(), network=network, label="tests", **WHY)
            admin.change(change)
        process, log = start_serve(config)
        try:
            gateway = RunningGateway(directory, config, "127.0.0.1", admin, process, wait_until_ready(process, log), log)
            yield gateway
            gateway.close_clients()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert status == 0, "".join(log)


def start_serve(config: Path) -> tuple["subprocess.Popen[str]", list[str]]:
    command = [str(Path(sys.executable).with_name("pgbastion")), "serve", "--config", str(config)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
        stdin=subprocess.DEVNULL,
        env=os.environ,
    )
    log: list[str] = []
    assert process.stdout is not None
    threading.Thread(target=lambda: log.extend(process.stdout or []), daemon=True).start()
    return process, log


def wait_until_ready(process: "subprocess.Popen[str]", log: list[str]) -> int:
    """The port that it listens on."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        for line in log:
            if match := re.search(r"ready on \S*:(\d+)", line):
                return int(match[1])
        assert process.poll() is None, "".join(log)
        time.sleep(0.02)
    raise AssertionError(f"the gateway is not ready: {''.join(log)}")


__all__ = ["ListMode", "Person", "RunningGateway", "running_gateway", "start_serve", "wait_until_ready", "write_config"]
