"""Live sessions of a running gateway: listed, shown, cancelled and ended, from here and from elsewhere."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.bus.hub import BusHub
from gateway.bus.lines import Message, Payload
from gateway.bus.peer import BusPeer
from tests.cli.world import World

HOSTILE = "psql\x1b[2J\x07\u202e[red]"


def session(name: str, user: str, target: str) -> Payload:
    return {
        "session": name,
        "user": user,
        "target": target,
        "mode": "read_only",
        "options": [],
        "max_changed_rows": None,
        "address": "10.0.0.1",
        "application": HOSTILE,
        "state": "active",
        "started_at": "2026-01-01T00:00:00+00:00",
        "worker": 0,
        "statements": 4,
        "grant": "g-1",
        "valid_until": None,
        "proof": "password",
        "max_sessions": None,
        "statement_timeout_ms": None,
        "idle_timeout_seconds": None,
        "idle_in_transaction_timeout_seconds": None,
        "max_rows": None,
        "max_bytes": None,
        "max_bytes_per_day": None,
        "schemas": [],
        "tables": [],
    }


CARRYING = {"mode": "read_write", "options": ["no-ddl", "report-only"], "max_changed_rows": 1000}
LIMITED = {
    "max_sessions": 5,
    "statement_timeout_ms": 30_000,
    "max_rows": 1000,
    "max_bytes_per_day": 1024**3,
    "schemas": ["reports"],
    "tables": ["public.orders"],
}
SESSIONS = [
    session("s-1", "ana", "shop"),
    {**session("s-2", "ben", "shop"), **CARRYING},
    {**session("s-3", "ana", "hr"), **LIMITED},
]


@contextmanager
def gateway(world: World) -> Iterator[list[str]]:
    """A hub and one worker, which remembers what it was told to cancel."""
    cancelled: list[str] = []

    def cancel(message: Message) -> list[Payload]:
        asked = str(message.payload["session"])
        if asked not in {each["session"] for each in SESSIONS}:
            return []
        cancelled.append(asked)
        return [{"session": asked}]

    async def run() -> None:
        hub = BusHub(world.state / "bus.sock")
        await hub.start()
        peer = BusPeer(
            world.state / "bus.sock",
            "worker:0",
            {"sessions": lambda _: list(SESSIONS), "wake": lambda _: None, "cancel-session": cancel},
        )
        await peer.start()
        started.set()
        await ended.wait()
        await peer.close()
        await hub.close()

    loop, started, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert started.wait(10)
    try:
        yield cancelled
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def cancelled(world: World) -> Iterator[list[str]]:
    world.here().run("users", "list")
    with gateway(world) as told:
        yield told


def terminated(world: World) -> list[tuple[str, str]]:
    events = world.here().json_lines("audit", "search", "--event", "session.*")
    return sorted((each["object_id"], each["reason"]) for each in events if each["action"] == "session.terminated")


def test_listed_shown_and_filtered(world: World, cancelled: list[str]) -> None:
    assert world.json("sessions", "list") == SESSIONS
    assert [each["session"] for each in world.json("sessions", "list", "--user", "ana")] == ["s-1", "s-3"]
    assert [each["session"] for each in world.json("sessions", "list", "--user", "ana", "--target", "hr")] == ["s-3"]
    assert world.json("sessions", "show", "s-2") == SESSIONS[1]
    assert "no live session" in world.error("sessions", "show", "s-9")
    for words in (["sessions", "list"], ["sessions", "show", "s-1"]):
        shown = world.run(*words).stdout
        assert "\\x1b[2J\\x07\\u202e[red]" in shown
        assert all(character.isprintable() or character == "\n" for character in shown)


def test_what_a_sessions_grant_carries_is_shown(world: World, cancelled: list[str]) -> None:
    assert world.json("sessions", "list")[1].items() >= CARRYING.items()
    for words in (["sessions", "list"], ["sessions", "list", "--user", "ben"], ["sessions", "show", "s-2"]):
        heading, _, *lines = world.run(*words).stdout.strip().splitlines()
        assert "carries" in heading
        assert ["no-ddl, report-only, at most 1000 rows" in line for line in lines if "read_write" in line] == [True]
    assert "carries" not in world.run("sessions", "show", "s-1").stdout
    said = ("at most 5 sessions", "statement at most 30s", "shows at most 1000 rows", "at most 1GB a day")
    for words in (["sessions", "list", "--target", "hr"], ["sessions", "show", "s-3"]):
        shown = world.run(*words).stdout
        assert [each for each in (*said, "only reports.*, public.orders") if each not in " ".join(shown.split())] == []


def test_cancelled(world: World, cancelled: list[str]) -> None:
    assert "is cancelled" in world.run("sessions", "cancel", "s-2", "--reason", "it holds locks").stdout
    assert cancelled == ["s-2"]
    assert "no live session" in world.error("sessions", "cancel", "s-9")


def test_ended_by_id_user_target_or_all(world: World, cancelled: list[str]) -> None:
    assert "no live session s-9" in world.error("sessions", "terminate", "s-9")
    assert world.run("sessions", "terminate", "s-1", "--reason", "off hours").stdout == "Session s-1 ends.\n"
    assert terminated(world) == [("s-1", "off hours")]
    assert world.json("sessions", "terminate", "--user", "ben") == ["s-2"]
    assert world.json("sessions", "terminate", "--user", "nobody") == []
    assert sorted(world.json("sessions", "terminate", "--target", "hr")) == ["s-3"]
    assert sorted(world.json("sessions", "terminate", "--all", "--yes", "--reason", "incident 42")) == ["s-1", "s-2", "s-3"]
    assert terminated(world)[-1] == ("s-3", "incident 42")


def test_without_a_gateway_an_id_is_noted_for_when_it_runs(world: World) -> None:
    done = world.run("sessions", "terminate", "s-77")
    assert "noted for when it is" in done.stderr
    assert "the gateway is not running here" in world.error("sessions", "terminate", "--user", "ana")
    assert "the gateway is not running here" in world.error("sessions", "cancel", "s-77")


def test_targets_are_tested_by_the_gateway_where_it_runs(world: World, cancelled: list[str]) -> None:
    """This one does not answer such a question: then it is looked at from here; far away there is nobody else to ask."""
    world.run("targets", "create", "shop", "--host", "127.0.0.1", "--port", "1", "--dbname", "d", "--tls", "disable")
    world.run("targets", "login", "shop", "--mode", "ro", "--login", "r", "--password-stdin", given="a password")
    if world.is_remote:
        assert "gateway" in world.error("targets", "test", "shop")
    else:
        assert "tcp" in world.run("targets", "test", "shop", status=1).stdout
