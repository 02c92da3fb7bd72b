"""Other processes that change a store: each adds users and says when it committed."""

import asyncio
import os
import sys
import time
from pathlib import Path

from gateway.access.model import ListMode, User
from gateway.audit.admin_event import AdminEvent
from gateway.store.places import locate
from gateway.store.sql_store import SqlStore


def user(name: str) -> User:
    return User(f"id-{name}", name, "verifier", True, None, ListMode.INHERIT, 1)


async def add_user(store: SqlStore, name: str) -> User:
    added = user(name)
    async with store.begin() as work:
        work.put(added)
        await work.commit(AdminEvent("os:test", "user.created", added.id, name, ""))
    return added


async def start_writer(url: str, password_file: Path | None, prefix: str, count: int, pause_seconds: float = 0.0):
    """A process that adds `count` users; its output is the wall-clock time of each commit, a line each."""
    arguments = (url, str(password_file or ""), prefix, str(count), str(pause_seconds))
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.writers", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=_environment(),
    )  # fmt: skip


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


async def _write(url: str, password_file: str, prefix: str, count: str, pause_seconds: str) -> None:
    store = SqlStore(locate(url, Path(password_file) if password_file else None))
    for number in range(int(count)):
        await add_user(store, f"{prefix}{number}")
        print(time.time(), flush=True)
        await asyncio.sleep(float(pause_seconds))


if __name__ == "__main__":
    asyncio.run(_write(*sys.argv[1:]))
