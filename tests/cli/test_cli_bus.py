"""Commands beside a running gateway: its sessions are listed, a change wakes it, a session is ended by its id."""

import asyncio
import json
import os

import pytest

from gateway.bus.hub import BusHub
from gateway.bus.peer import BusPeer
from gateway.store.migrate import upgrade
from gateway.store.sql_store import SqlStore
from tests.support.commands import quick_program

SESSION = {
    "session": "s-4711",
    "user": "alice",
    "target": "sales",
    "mode": "read_only",
    "options": ["temporary-tables"],
    "max_changed_rows": None,
    "address": "10.0.0.1",
    "application": "psql\x1b[2J\x07",
    "state": "idle",
    "started_at": "2026-01-01T00:00:00+00:00",
    "worker": 0,
    "statements": 4,
    "grant": "g-1",
    "valid_until": "2030-01-31T18:00:00+00:00",
    "proof": "password",
}


@pytest.fixture
async def gateway(tmp_path):
    """A hub and one worker that answers; collects the wake-ups it hears."""
    (tmp_path / "pgbastion.toml").write_text('state_dir = "."\n')
    tmp_path.chmod(0o700)
    await upgrade(f"sqlite+aiosqlite:///{tmp_path}/store.sqlite3")
    heard = []
    hub = BusHub(tmp_path / "bus.sock")
    await hub.start()
    peer = BusPeer(
        tmp_path / "bus.sock",
        "worker:0",
        {"sessions": lambda message: [SESSION], "wake": lambda message: heard.append(message.kind)},
    )
    await peer.start()
    yield tmp_path, heard
    await peer.close()
    await hub.close()


async def run(folder, *words, status=0):
    process = await asyncio.create_subprocess_exec(
        quick_program(),
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PGBASTION_CONFIG": str(folder / "pgbastion.toml")},
    )
    out, err = await process.communicate()
    assert process.returncode == status, err.decode()
    return out.decode(), err.decode()


async def test_sessions_are_listed_and_cannot_write_to_the_terminal(gateway):
    folder, _ = gateway
    table, _ = await run(folder, "sessions", "list")
    assert "s-4711" in table
    assert "\\x1b[2J\\x07" in table
    assert not any(ord(c) < 32 and c != "\n" for c in table)
    (found,) = json.loads((await run(folder, "sessions", "list", "--json"))[0])
    assert {name: found[name] for name in SESSION} == SESSION
    assert json.loads((await run(folder, "sessions", "list", "--user", "bob", "--json"))[0]) == []


async def test_a_change_wakes_the_gateway(gateway):
    folder, heard = gateway
    await run(folder, "users", "create", "alice_p")
    async with asyncio.timeout(2):
        while not heard:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await run(folder, "users", "list")
    assert heard == ["wake"]


async def test_a_session_is_ended_by_its_id_or_its_user(gateway):
    folder, heard = gateway
    _, error = await run(folder, "sessions", "terminate", "s-9999", status=1)
    assert "no live session s-9999" in error
    await run(folder, "sessions", "terminate", "s-4711", "--reason", "off hours")
    store = SqlStore(f"sqlite+aiosqlite:///{folder}/store.sqlite3")
    assert (await store.read()).terminated == {"s-4711": "off hours"}
    out, _ = await run(folder, "sessions", "terminate", "--user", "alice", "--json")
    assert json.loads(out) == ["s-4711"]
    assert (await store.read()).revision == 3
    assert heard == ["wake", "wake"]
