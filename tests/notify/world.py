"""A store with a few people in it, and what deliverers are made with."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.notify.delivering import Means
from gateway.ports import OutboxMessage
from gateway.services import users
from gateway.settings import Settings
from gateway.store.migrate import bind_key, upgrade
from gateway.store.sql_store import SqlStore
from gateway.store.vault import SealedVault, ensure_key

BY = {"actor": "os:test", "reason": "a test"}
PAYLOAD = (
    '{"type": "access_request.created", "at": "2026-03-01T12:00:00+00:00", "request": {"id": "r-1", "number": 17, '
    '"requester": "alice", "holder": "alice", "place": "orders", "mode": "read_only", "reason": "%s", "state": "pending", '
    '"duration_seconds": 5400, "approvers": ["bob_jones"], "decisions": []}}'
)


@dataclass
class World:
    """`now`: what the clock of deliverers says."""

    folder: Path
    store: SqlStore
    vault: SealedVault
    now: datetime

    async def means(self, **sections: object) -> Means:
        """`sections` of the settings. The snapshot is that of now."""
        snapshot = await self.store.read()
        settings = Settings(state_dir=self.folder).model_copy(update=sections)
        return Means(settings, self.store, self.vault, lambda: snapshot, lambda: self.now)


async def small_world(folder: Path) -> World:
    url = f"sqlite+aiosqlite:///{folder}/store.sqlite3"
    await upgrade(url)
    ensure_key(folder / "master.key")
    vault = SealedVault.load(folder / "master.key")
    await bind_key(url, vault)
    store = SqlStore(url)
    for name in ("alice_m", "bob_jones"):
        await users.create_user(store, name=name, **BY)
    return World(folder, store, vault, datetime.now(UTC))


def message(destination: str, reason: str = "to look", number: int = 1, **more: object) -> OutboxMessage:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    made = OutboxMessage(
        f"m-{number}", "access_request.created", destination, PAYLOAD % reason, at, at + timedelta(0), "r-1", attempts=1
    )
    return replace(made, **more)  # type: ignore[arg-type]
