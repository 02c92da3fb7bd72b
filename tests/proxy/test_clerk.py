"""Who writes down what workers ask for: a person's own new password, and last logins."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.access.verifiers import make_verifier
from gateway.bus.lines import CLERK, Message, Payload
from gateway.proxy.last_logins import LastLogins
from gateway.services import users
from gateway.store.migrate import upgrade
from gateway.store.sql_store import SqlStore
from gateway.supervision.clerk import Clerk

BY = {"actor": "os:test", "reason": "a test"}


@pytest.fixture
async def store(tmp_path: Path) -> SqlStore:
    url = f"sqlite+aiosqlite:///{tmp_path}/store.sqlite3"
    await upgrade(url)
    made = SqlStore(url)
    await users.create_user(made, name="alice", **BY)
    return made


async def asked(clerk: Clerk, sender: str = "worker:0", **facts: object) -> Payload:
    answer = clerk.handlers["own-password"](Message(sender, "own-password", facts))  # type: ignore[arg-type]
    return await answer  # type: ignore[misc, return-value, no-any-return]


async def facts_of(store: SqlStore, number: int = 0) -> dict[str, object]:
    alice = (await store.read()).users["alice"]
    verifier = make_verifier(f"password number {number}", b"0123456789abcdef")
    version = alice.credential_version
    return {"session": "s-1", "user_id": alice.id, "user": "alice", "credential_version": version, "verifier": verifier}


async def test_a_password_is_changed_as_its_person(store: SqlStore) -> None:
    clerk = Clerk(store)
    facts = await facts_of(store)
    assert await asked(clerk, **facts) == {}
    assert (await store.read()).users["alice"].verifier == facts["verifier"]
    event = (await store.read_events())[-1].event
    assert (event.actor, event.reason) == ("user:alice", "in session s-1")
    assert (await asked(clerk, **facts))["rule"] == "password-changed"  # it looked at the one before


async def test_only_workers_ask_and_only_what_can_be_understood(store: SqlStore) -> None:
    clerk = Clerk(store)
    facts = await facts_of(store)
    before = await store.read()
    assert (await asked(clerk, "anonymous:1", **facts))["rule"] == "malformed"
    assert (await asked(clerk, **{**facts, "credential_version": "1"}))["rule"] == "malformed"
    assert (await asked(clerk))["rule"] == "malformed"
    assert await store.read() == before


async def test_not_too_often(store: SqlStore) -> None:
    clerk = Clerk(store)
    answers = [await asked(clerk, **await facts_of(store, number)) for number in range(6)]
    assert answers[:5] == [{}] * 5
    assert answers[5]["rule"] == "own-password-too-often"


class Peers:
    """The bus, as far as it is there."""

    def __init__(self) -> None:
        self.there = True
        self.heard: list[Payload] = []

    def send(self, to: str, kind: str, payload: Payload) -> bool:
        assert (to, kind) == (CLERK, "logged-in")
        if self.there:
            self.heard.append(payload)
        return self.there


async def test_logins_are_told_together_kept_while_nobody_hears_and_written_once(store: SqlStore) -> None:
    peers, clerk = Peers(), Clerk(store)
    logins = LastLogins(peers)
    alice = (await store.read()).users["alice"].id
    now = datetime.now(UTC)
    peers.there = False
    logins.note(alice, now - timedelta(seconds=1))
    logins.tell()
    peers.there = True
    logins.note(alice, now)
    logins.note("gone", now)
    logins.tell()
    logins.tell()
    (said,) = peers.heard
    for sender in ("worker:0", "anonymous:1"):
        clerk.handlers["logged-in"](
            Message(sender, "logged-in", said if sender == "worker:0" else {alice: "2001-01-01T00:00Z"})
        )
    await clerk.write()
    assert await store.last_logins() == {alice: now}
