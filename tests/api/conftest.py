"""The application over a fresh store, asked through ASGI: what a network would say, without one."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from admin_api.app import AdminApi, create_app
from admin_api.context import AdminContext
from gateway.access.model import TokenScope
from gateway.bus.gateway import BusGateway
from gateway.bus.hub import BusHub
from gateway.bus.lines import DENIED_STATEMENT, Message, Payload
from gateway.bus.peer import BusPeer
from gateway.services.audit import AuditLog
from gateway.services.tokens import create_token
from gateway.settings import CurrentSettings, Settings
from gateway.store import bind_key, open_store, upgrade
from gateway.store.sql_store import SqlStore
from gateway.store.vault import SealedVault, ensure_key
from tests.support.short_names import SHORT_NAMES

WHY = {"actor": "os:test", "reason": "a test"}
CANARY = "canary-9f3b61d27c"


@dataclass
class Api:
    """`admin`, `reader` and `anonymous` are clients of the application; `outside` comes from an address that is not listed."""

    settings: CurrentSettings
    store: SqlStore
    vault: SealedVault
    context: AdminContext
    app: AdminApi
    admin_token: str
    read_token: str
    admin: httpx.AsyncClient
    reader: httpx.AsyncClient
    anonymous: httpx.AsyncClient
    outside: httpx.AsyncClient
    made: int = field(default=0)

    async def token(self, scope: TokenScope = TokenScope.ADMIN, lifetime: timedelta = timedelta(hours=1)) -> tuple[str, str]:
        """Name and text."""
        self.made += 1
        name = f"token{self.made}"
        new = await create_token(self.store, name=name, scope=scope, valid_until=datetime.now(UTC) + lifetime, **WHY)
        return name, new.secret.reveal()

    def client(self, token: str | None, address: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
        return client_of(self.app, token, address, **headers)

    async def user(self, name: str = "ana", **fields: Any) -> dict[str, Any]:
        answer = await self.admin.post("/v1/users", json={"name": name, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def target(self, name: str = "shop", **fields: Any) -> dict[str, Any]:
        body = {"name": name, "host": "db.internal", "dbname": "webshop", **fields}
        answer = await self.admin.post("/v1/targets", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()


def client_of(app: Any, token: str | None, address: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    transport = httpx.ASGITransport(app, client=(address, 40000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


def make_settings(folder: Path, **sections: Any) -> Settings:
    return Settings.model_validate({"state_dir": folder / "state", "users": SHORT_NAMES, **sections})


async def make_store(settings: Settings) -> tuple[SqlStore, SealedVault]:
    ensure_key(settings.key_file)
    vault = SealedVault.load(settings.key_file)
    await upgrade(settings)
    await bind_key(settings, vault)
    return open_store(settings), vault


@pytest.fixture(scope="session")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory as the first start leaves it. To be copied: making one takes longer than most tests."""
    settings = make_settings(tmp_path_factory.mktemp("empty"))
    asyncio.run(make_store(settings))
    return settings.state_dir


@pytest.fixture
async def api(empty_state: Path, tmp_path: Path) -> AsyncIterator[Api]:
    """No gateway runs beside it."""
    settings = make_settings(tmp_path)
    shutil.copytree(empty_state, settings.state_dir)
    store, vault = open_store(settings), SealedVault.load(settings.key_file)
    current = CurrentSettings(settings)

    async def revision() -> int:
        return (await store.read()).revision

    audit = AuditLog(settings.audit_dir, store, revision)
    context = AdminContext(current, store, vault, store.read, BusGateway(settings.bus_socket), audit=audit)
    app = create_app(context)
    soon = datetime.now(UTC) + timedelta(hours=1)
    admin = await create_token(store, name="boss", scope=TokenScope.ADMIN, valid_until=soon, **WHY)
    reader = await create_token(store, name="watcher", scope=TokenScope.READ, valid_until=soon, **WHY)
    made = Api(
        current,
        store,
        vault,
        context,
        app,
        admin.secret.reveal(),
        reader.secret.reveal(),
        client_of(app, admin.secret.reveal()),
        client_of(app, reader.secret.reveal()),
        client_of(app, None),
        client_of(app, admin.secret.reveal(), "192.0.2.7"),
    )
    yield made
    context.stopping.set()
    for client in (made.admin, made.reader, made.anonymous, made.outside):
        await client.aclose()


class Worker:
    """A worker as the bus sees one: it answers what the admin API asks, from lists that a test fills."""

    def __init__(self, path: Path, number: int = 0) -> None:
        self.sessions: list[Payload] = []
        self.cancelled: list[str] = []
        self.catalogs: list[Payload] = []
        self.audits: list[Payload] = []
        self.previews: list[Payload] = []
        self.denied: dict[tuple[str, str], Payload] = {}  # by code and user id
        self.counters: Payload = {"sessions_live": 0, "logins_failed_total": 3}
        self.peer = BusPeer(
            path,
            f"worker:{number}",
            {
                "sessions": lambda _: list(self.sessions),
                "cancel-session": self._cancel,
                "counters": lambda _: self.counters,
                "check-target": self._check,
                "audit-target": lambda _: list(self.audits),
                "preview-entry": lambda _: list(self.previews),
                "refresh-catalog": lambda _: list(self.catalogs),
                DENIED_STATEMENT: self._denied,
            },
        )

    def session(self, session_id: str, user: str = "ana", target: str = "shop") -> None:
        self.sessions.append(
            {
                "session": session_id,
                "user": user,
                "target": target,
                "mode": "read_only",
                "options": ["temporary-tables"],
                "max_changed_rows": None,
                "address": "127.0.0.1",
                "application": "psql",
                "state": "idle",
                "started_at": "2026-01-01T00:00:00Z",
                "worker": 0,
                "statements": 1,
            }
        )

    def _cancel(self, message: Message) -> Payload | None:
        match message.payload:
            case {"session": str(session_id)} if any(each["session"] == session_id for each in self.sessions):
                self.cancelled.append(session_id)
                return {"session": session_id}
        return None

    def _denied(self, message: Message) -> Payload | None:
        return self.denied.get((str(message.payload["code"]), str(message.payload["user_id"])))

    def _check(self, _message: Message) -> list[Payload]:
        return [{"name": "DNS", "ok": True, "detail": "10.0.0.1", "remedy": ""}]


@pytest.fixture
async def worker(api: Api) -> AsyncIterator[Worker]:
    """A hub and a worker on the bus that `api` asks."""
    path = api.settings.now.bus_socket
    hub = BusHub(path)
    await hub.start()
    worker = Worker(path)
    await worker.peer.start()
    assert worker.peer.connected
    yield worker
    await worker.peer.close()
    await hub.close()
