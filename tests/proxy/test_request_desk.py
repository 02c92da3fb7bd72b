"""Who does what people ask for by SQL: in their name, for themselves, with a measure."""

from pathlib import Path

import pytest

from gateway.access.asking import ModeWanted, Scope, StatementsWanted
from gateway.access.model import TlsMode
from gateway.access.request_record import State
from gateway.access_mode import AccessMode
from gateway.bus.lines import ASKED_BY_SQL, Message, Payload
from gateway.services import approval_policies, targets, users
from gateway.services.approval_terms import NamedStep
from gateway.statements.addressed import Addressed, AskAccess, GiveBack, Show, Shown
from gateway.statements.addressed_plain import write_plain
from gateway.store.migrate import upgrade
from gateway.store.sql_store import SqlStore
from gateway.supervision.request_desk import RequestDesk

BY = {"actor": "os:test", "reason": "a test"}
WRITE = AskAccess(AccessMode.READ_WRITE, 3600, "order 7")
DENIED: Payload = {"target": "shop", "statement": "DELETE FROM public.t WHERE id = 1", "scope": "exact"}


@pytest.fixture
async def store(tmp_path: Path) -> SqlStore:
    url = f"sqlite+aiosqlite:///{tmp_path}/store.sqlite3"
    await upgrade(url)
    made = SqlStore(url)
    for name in ("alice", "bob", "boss"):
        await users.create_user(made, name=name, **BY)
    await targets.create_target(made, name="shop", place=targets.Place("db.example", 5432, "shop", TlsMode.REQUIRE, None), **BY)
    steps = (NamedStep(("user:boss",)),)
    await approval_policies.create_policy(made, name="p", environment="default", modes=frozenset(AccessMode), steps=steps, **BY)
    return made


async def find_denied(code: str, user_id: str) -> Payload | None:
    return DENIED if code == "k7m2x9qa" else None


@pytest.fixture
def desk(store: SqlStore) -> RequestDesk:
    return RequestDesk(store, find_denied)


async def asked(desk: RequestDesk, store: SqlStore, what: Addressed, sender: str = "worker:0", **other: object) -> Payload:
    user = (await store.read()).users["alice"]
    facts = {"session": "s-1", "user_id": user.id, "user": user.name, "target": "shop", "asked": write_plain(what), **other}
    answer = desk.handlers[ASKED_BY_SQL](Message(sender, ASKED_BY_SQL, facts))  # type: ignore[arg-type]
    return await answer  # type: ignore[misc, return-value, no-any-return]


def row_of(answer: Payload) -> Payload:
    rows = answer["rows"]
    assert isinstance(rows, list)
    (row,) = rows
    assert isinstance(row, dict)
    return row


async def test_it_is_asked_for_in_the_persons_name_and_once(desk: RequestDesk, store: SqlStore) -> None:
    row = row_of(await asked(desk, store, WRITE))
    assert (row["number"], row["state"], row["target"], row["wanted"]) == (1, "pending", "shop", "read_write")
    assert row["next"] == "Waits for a decision (boss). To take it back: SELECT pgbastion.relinquish(1)"
    assert row_of(await asked(desk, store, WRITE)) == row
    made = await store.access_request(1)
    assert made is not None
    alice = (await store.read()).users["alice"].id
    assert (made.requester.user_id, made.holder.user_id, made.wanted.right) == (alice, alice, ModeWanted(AccessMode.READ_WRITE))
    event = (await store.read_events())[-1].event
    assert (event.actor, event.action) == ("user:alice", "access_request.created")
    assert row_of(await asked(desk, store, Show(Shown.REQUESTS))) == row


async def test_what_waits_is_taken_back(desk: RequestDesk, store: SqlStore) -> None:
    await asked(desk, store, WRITE)
    assert row_of(await asked(desk, store, GiveBack(1)))["state"] == "cancelled"
    made = await store.access_request(1)
    assert made is not None
    assert made.state is State.CANCELLED
    assert (await asked(desk, store, GiveBack(1)))["rule"]
    assert (await asked(desk, store, GiveBack(2)))["rule"] == "request-unknown"


async def test_by_a_code(desk: RequestDesk, store: SqlStore) -> None:
    assert row_of(await asked(desk, store, AskAccess(code="k7m2x9qa")))["number"] == 1
    made = await store.access_request(1)
    assert made is not None
    right = made.wanted.right
    assert isinstance(right, StatementsWanted)
    assert (right.texts, right.scope, right.mode) == ((DENIED["statement"],), Scope.EXACT, AccessMode.READ_WRITE)
    assert (await asked(desk, store, AskAccess(code="aaaaaaaa")))["rule"] == "code-unknown"


async def test_another_account_of_that_name_is_another_person(desk: RequestDesk, store: SqlStore) -> None:
    bob = (await store.read()).users["bob"].id
    for what in (WRITE, Show(Shown.REQUESTS), GiveBack(1)):
        assert (await asked(desk, store, what, user_id=bob))["rule"] == "user-unknown"
        assert (await asked(desk, store, what, user="nobody"))["rule"] == "user-unknown"
    assert await store.access_request(1) is None


async def test_anothers_are_not_there(desk: RequestDesk, store: SqlStore) -> None:
    bob = (await store.read()).users["bob"].id
    await asked(desk, store, WRITE, user_id=bob, user="bob")
    assert (await asked(desk, store, Show(Shown.REQUESTS)))["rows"] == []
    assert (await asked(desk, store, GiveBack(1)))["rule"] == (await asked(desk, store, GiveBack(99)))["rule"]


async def test_only_workers_ask_and_only_what_can_be_understood(desk: RequestDesk, store: SqlStore) -> None:
    assert (await asked(desk, store, WRITE, sender="anonymous:1"))["rule"] == "malformed"
    assert (await asked(desk, store, WRITE, user_id=7))["rule"] == "malformed"
    assert (await asked(desk, store, WRITE, asked={"show": "all"}))["rule"] == "malformed"
    assert await store.access_request(1) is None


async def test_not_too_often(desk: RequestDesk, store: SqlStore) -> None:
    rules = [(await asked(desk, store, GiveBack(99))).get("rule") for _ in range(21)]
    assert (set(rules[:20]), rules[20]) == ({"request-unknown"}, "asked-too-often")
    assert "rows" in await asked(desk, store, Show(Shown.REQUESTS))


async def test_what_the_services_refuse_is_said(desk: RequestDesk, store: SqlStore) -> None:
    assert (await asked(desk, store, AskAccess(AccessMode.READ_WRITE, 10**7)))["rule"] == "request-too-long"
    assert (await asked(desk, store, AskAccess(AccessMode.READ_WRITE, target="nowhere")))["rule"] == "not-askable"
    assert (await asked(desk, store, AskAccess(database_role="reporting")))["rule"] == "not-askable"
