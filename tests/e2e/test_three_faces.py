"""One gateway, managed from nothing to nothing, only through commands, only through the API, or only through files."""

import json
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import psycopg
import pytest

from tests.support.commands import pgbastion
from tests.support.free_port import free_port
from tests.support.gateway import start_serve, wait_until_ready, write_config
from tests.support.upstream import Database

USER, GROUP, TARGET, PASSWORD = "ana_diaz", "analysts", "shop", "a good password for Ana Diaz"
REVOKED_WITHIN_SECONDS = 1.0


@dataclass
class World:
    """A gateway that was started on an empty folder, and the database that it is to stand in front of."""

    folder: Path
    config: Path
    port: int
    api: str
    token: str
    database: Database

    @property
    def tls(self) -> str:
        return "verify-full" if self.database.upstream.has_tls else "disable"

    def connect(self, dbname: str = TARGET) -> "psycopg.Connection[Any]":
        ca_file = self.folder / "state" / "tls" / "ca.pem"
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname=dbname,
            sslmode="verify-full",
            sslrootcert=str(ca_file),
            autocommit=True,
        )

    def pgbastion(self, *arguments: str, stdin: str = "", **variables: str) -> str:
        return pgbastion(self.config, *arguments, stdin=stdin, **variables)


class Face(Protocol):
    """Everything an admin does in this story. `actor` is how the audit calls them."""

    actor: str

    def set_up(self) -> None:
        """Target with its login, user, group, grant to the group, allowlist: from nothing to a person who can read."""
        ...

    def sessions(self) -> list[dict[str, Any]]: ...

    def take_out_of_the_group(self) -> None: ...

    def put_into_the_group(self) -> None: ...

    def close_the_target(self) -> None: ...

    def audit(self) -> list[dict[str, Any]]: ...

    def tear_down(self) -> None: ...


class Commands:
    """The command on the gateway's machine."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.actor = "os:"

    def _run(self, *arguments: str, stdin: str = "") -> str:
        return self._world.pgbastion(*arguments, stdin=stdin)

    def _list(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._run(*arguments, "--json"))
        return found

    def set_up(self) -> None:
        world, upstream = self._world, self._world.database.upstream
        place = ["--host", upstream.host, "--port", str(upstream.port), "--dbname", world.database.name, "--tls", world.tls]
        ca = ["--ca-file", str(upstream.ca_file)] if upstream.has_tls else []
        self._run("targets", "create", TARGET, *place, *ca)
        role = world.database.app_ro
        login = ["--mode", "read_only", "--login", role.name, "--password-stdin"]
        self._run("targets", "login", TARGET, *login, stdin=role.password.reveal())
        self._run("users", "create", USER, "--password-stdin", stdin=PASSWORD)
        self._run("groups", "create", GROUP)
        self._run("groups", "add", GROUP, USER)
        self._run("grants", "create", "--group", GROUP, "--target", TARGET, "--mode", "read_only")
        self._run("allowlist", "create", "127.0.0.0/8", "--label", "loopback")

    def sessions(self) -> list[dict[str, Any]]:
        return self._list("sessions", "list")

    def take_out_of_the_group(self) -> None:
        self._run("groups", "remove", GROUP, USER, "--reason", "moved on")

    def put_into_the_group(self) -> None:
        self._run("groups", "add", GROUP, USER)

    def close_the_target(self) -> None:
        self._run("targets", "disable", TARGET)

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._run("audit", "search", "--since", "1h", "--json").splitlines()]

    def tear_down(self) -> None:
        self._run("targets", "delete", TARGET)
        self._run("groups", "delete", GROUP)
        self._run("users", "delete", USER, "--yes")
        self._run("allowlist", "delete", "127.0.0.0/8")
        for listing in ("targets", "groups", "users", "grants", "allowlist"):
            assert self._list(listing, "list") == []


class Api:
    """The admin API over HTTP, with the first token."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._client = httpx.Client(base_url=world.api, headers={"Authorization": f"Bearer {world.token}"}, timeout=20)
        self.actor = "token:first-admin"

    def _do(self, method: str, path: str, body: object = None, reason: str = "a story") -> Any:
        query = {} if method == "GET" else {"reason": reason}
        answer = self._client.request(method, f"/v1{path}", params=query, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def set_up(self) -> None:
        world, upstream = self._world, self._world.database.upstream
        target = {
            "name": TARGET,
            "host": upstream.host,
            "port": upstream.port,
            "dbname": world.database.name,
            "tls": world.tls,
            "ca_pem": upstream.ca_file.read_text() if upstream.has_tls else None,
        }
        self._do("POST", "/targets", target)
        role = world.database.app_ro
        self._do("PUT", f"/targets/{TARGET}/logins/read_only", {"login": role.name, "password": role.password.reveal()})
        self._do("POST", "/users", {"name": USER, "password": PASSWORD})
        self._do("POST", "/groups", {"name": GROUP})
        self._do("PUT", f"/groups/{GROUP}/members/{USER}")
        self._do("POST", "/grants", {"group": GROUP, "target": TARGET, "mode": "read_only"})
        self._do("POST", "/allowlist", {"network": "127.0.0.0/8", "label": "loopback"})

    def _items(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._do("GET", path)["items"]
        return items

    def sessions(self) -> list[dict[str, Any]]:
        return self._items("/sessions")

    def take_out_of_the_group(self) -> None:
        self._do("DELETE", f"/groups/{GROUP}/members/{USER}", reason="moved on")

    def put_into_the_group(self) -> None:
        self._do("PUT", f"/groups/{GROUP}/members/{USER}")

    def close_the_target(self) -> None:
        self._do("PATCH", f"/targets/{TARGET}", {"enabled": False})

    def audit(self) -> list[dict[str, Any]]:
        return self._items("/audit?limit=1000")

    def tear_down(self) -> None:
        self._do("DELETE", f"/targets/{TARGET}")
        self._do("DELETE", f"/groups/{GROUP}")
        self._do("DELETE", f"/users/{USER}")
        for entry in self._items("/allowlist"):
            self._do("DELETE", f"/allowlist/{entry['id']}")
        for listing in ("targets", "groups", "users", "grants", "allowlist"):
            assert self._items(f"/{listing}") == []


class Files(Commands):
    """Files alone change anything; what lives now and what was is looked at by commands (a file has neither)."""

    def _apply(self, *, members: list[str], enabled: bool = True) -> None:
        world, upstream = self._world, self._world.database.upstream
        target = {
            "name": TARGET,
            "host": upstream.host,
            "port": upstream.port,
            "dbname": world.database.name,
            "tls": world.tls,
            "enabled": enabled,
            "logins": {"read_only": {"login": world.database.app_ro.name, "password": {"env": "SHOP_RO"}}},
        }
        if upstream.has_tls:
            target["ca_pem"] = {"file": str(upstream.ca_file)}
        manifest = {
            "version": 1,
            "users": [{"name": USER, "password": {"env": "ANA"}}],
            "groups": [{"name": GROUP, "members": members}],
            "targets": [target],
            "grants": [{"group": GROUP, "target": TARGET, "mode": "read_only"}],
            "allowlist": [{"network": "127.0.0.0/8", "label": "loopback"}],
        }
        self._apply_file(manifest)

    def _apply_file(self, manifest: dict[str, Any]) -> None:
        path = self._world.folder / "access.yaml"
        path.write_text(json.dumps(manifest))  # JSON is YAML
        secrets = {"SHOP_RO": self._world.database.app_ro.password.reveal(), "ANA": PASSWORD}
        self._world.pgbastion("apply", str(path), "--prune", "--yes", "--reason", "a story", **secrets)

    def set_up(self) -> None:
        self._apply(members=[USER])

    def take_out_of_the_group(self) -> None:
        self._apply(members=[])

    def put_into_the_group(self) -> None:
        self._apply(members=[USER])

    def close_the_target(self) -> None:
        self._apply(members=[USER], enabled=False)

    def tear_down(self) -> None:
        sections = ("users", "groups", "targets", "grants", "allowlist")
        self._apply_file({"version": 1, **{name: [] for name in sections}})
        for listing in sections:
            assert self._list(listing, "list") == []


@pytest.fixture
def world(tmp_path: Path, database: Database) -> Iterator[World]:
    api_port = free_port()
    config = write_config(tmp_path, admin_api={"port": api_port})
    process, log = start_serve(config)
    try:
        port = wait_until_ready(process, log)
        token = re.search(r"pgb_[\w-]{43}", "".join(log))
        assert token is not None, log
        yield World(tmp_path, config, port, f"http://127.0.0.1:{api_port}", token[0], database)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, "".join(log)


@pytest.mark.parametrize("face", [Commands, Api, Files], ids=["commands", "api", "files"])
def test_a_gateway_is_managed_through_one_face_alone(face: Any, world: World) -> None:
    admin: Face = face(world)
    with pytest.raises(psycopg.OperationalError):
        world.connect()  # an empty gateway admits nobody

    admin.set_up()
    connection = _connect_soon(world)
    assert connection.execute("SELECT count(*) FROM pg_class").fetchone()
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TABLE taken (it int)")
    assert [(each["user"], each["target"], each["mode"]) for each in admin.sessions()] == [(USER, TARGET, "read_only")]

    admin.take_out_of_the_group()
    _ends(connection)
    with pytest.raises(psycopg.OperationalError, match=TARGET):
        world.connect()

    admin.put_into_the_group()
    connection = _connect_soon(world)
    admin.close_the_target()
    _ends(connection)
    assert admin.sessions() == []

    admin.tear_down()
    records = admin.audit()
    assert any(record.get("sql") == "CREATE TABLE taken (it int)" and record["verdict"] == "denied" for record in records)
    changes = [record for record in records if str(record.get("actor", "")).startswith(admin.actor)]
    assert {"target.created", "user.created", "group.created", "grant.created", "user.deleted"} <= {
        str(record.get("action", record["event"])) for record in changes
    }
    shown = json.dumps(records)
    assert PASSWORD not in shown
    assert world.database.app_ro.password.reveal() not in shown


def _connect_soon(world: World) -> "psycopg.Connection[Any]":
    """A change is seen within a poll."""
    deadline = time.monotonic() + 3
    while True:
        try:
            return world.connect()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _ends(connection: "psycopg.Connection[Any]") -> None:
    """The change was committed before this is called, so that this is an upper bound."""
    with pytest.raises(psycopg.errors.AdminShutdown):
        _use(connection, time.monotonic() + REVOKED_WITHIN_SECONDS)


def _use(connection: "psycopg.Connection[Any]", deadline: float) -> None:
    while time.monotonic() < deadline:
        connection.execute("SELECT 1")
        time.sleep(0.01)
