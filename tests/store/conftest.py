"""A fresh store in a folder of its own, made the way the program makes it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.access.model import ListMode, User
from gateway.audit.admin_event import AdminEvent
from gateway.store.migrate import bind_key, upgrade
from gateway.store.unit_of_work import SqlStore
from gateway.store.vault import SealedVault, ensure_key


@dataclass(frozen=True)
class Place:
    folder: Path
    file: Path
    url: str
    store: SqlStore
    vault: SealedVault

    async def add_user(self, name: str) -> User:
        user = User(f"id-{name}", name, "verifier", True, None, ListMode.INHERIT, 1)
        async with self.store.begin() as work:
            work.put(user)
            await work.commit(AdminEvent("os:test", "user.created", user.id, name, ""))
        return user


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    folder = tmp_path / "state"
    ensure_key(folder / "master.key")
    vault = SealedVault.load(folder / "master.key")
    file = folder / "store.sqlite3"
    url = f"sqlite+aiosqlite:///{file}"
    await upgrade(url)
    await bind_key(url, vault.key_id)
    return Place(folder, file, url, SqlStore(url), vault)
