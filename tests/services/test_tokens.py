"""Keys to the admin API: what is kept of them, whom they open to, and the first one."""

import asyncio
import hashlib
import json
import re
import sys
from datetime import timedelta

import pytest

from gateway.access.model import TokenScope
from gateway.secret import Secret
from gateway.services.errors import ServiceError
from gateway.services.tokens import create_token, ensure_first_token, find_token, revoke_token
from gateway.store.migrate import upgrade
from tests.services.world import BY, in_days, opened


@pytest.fixture
async def empty(tmp_path):
    """A store as it is at the first start."""
    world = opened(tmp_path / "state")
    await upgrade(world.url)
    return world


def make(world, name="deploy", scope=TokenScope.ADMIN, **facts):
    return create_token(world.store, **{"name": name, "scope": scope, "valid_until": in_days(1), **facts}, **BY)


async def test_a_token_is_shown_once_and_only_its_hash_is_kept(world):
    new = await make(world)
    text = new.secret.reveal()
    assert re.fullmatch(r"pgb_[A-Za-z0-9_-]{43}", text)
    assert text not in repr(new)
    assert new.token.token_hash == hashlib.sha256(text.encode()).digest()
    assert (await world.read()).tokens["deploy"] == new.token
    assert text.encode() not in b"".join(path.read_bytes() for path in world.folder.iterdir())


async def test_tokens_differ(world):
    made = [await make(world, name=f"t{number}") for number in range(8)]
    assert len({new.secret.reveal() for new in made}) == 8


async def test_a_token_is_found_until_it_ends(world):
    new = await make(world)
    snapshot = await world.read()
    found = find_token(snapshot, new.secret, in_days(0))
    assert found == snapshot.tokens["deploy"]
    assert (found.created_by, found.scope) == ("os:admin", TokenScope.ADMIN)
    assert find_token(snapshot, new.secret, found.valid_until - timedelta(microseconds=1)) == found
    assert find_token(snapshot, new.secret, found.valid_until) is None


@pytest.mark.parametrize(
    "text",
    ["", "pgb_", "pgb_" + "A" * 43, "pgb_" + "A" * 42, "pgb_" + "A" * 44, "pgb_" + "é" * 43, "\ud800", "x" * 10_000_000, "deploy"],
    ids=range(9),
)  # fmt: skip
async def test_no_other_text_is_a_token(world, text):
    await make(world)
    assert find_token(await world.read(), Secret(text), in_days(0)) is None


async def test_neither_the_hash_nor_a_changed_token_opens(world):
    new = await make(world)
    text = new.secret.reveal()
    snapshot = await world.read()
    for wrong in (
        new.token.token_hash.hex(),
        text + "\n",
        " " + text,
        text[:-1] + ("A" if text[-1] != "A" else "B"),
        text.lower(),
    ):
        assert find_token(snapshot, Secret(wrong), in_days(0)) is None


async def test_a_revoked_token_opens_nothing(world):
    new = await make(world)
    await revoke_token(world.store, name="deploy", **BY)
    assert "deploy" not in (await world.read()).tokens
    assert find_token(await world.read(), new.secret, in_days(0)) is None


async def test_an_expired_token_gives_way_to_another_of_its_name(world):
    old = await make(world, name="Deploy")
    later = world.at(old.token.valid_until)
    asked = {"scope": TokenScope.READ, "valid_until": old.token.valid_until + timedelta(days=1), **BY}
    new = await create_token(later, name="deploy", **asked)
    snapshot = await world.read()
    assert {"deploy"} == {name for name in snapshot.tokens if name.lower() == "deploy"}
    assert find_token(snapshot, new.secret, old.token.valid_until) is not None
    assert find_token(snapshot, old.secret, in_days(0)) is None


async def test_the_first_token_is_for_a_day_and_made_once(empty):
    first = await ensure_first_token(empty.store)
    assert await ensure_first_token(empty.store) is None
    (token,) = (await empty.read()).tokens.values()
    assert token == first.token
    assert (token.name, token.scope, token.created_by) == ("first-admin", TokenScope.ADMIN, "system")
    assert token.valid_until - token.created_at == timedelta(hours=24)
    (event,) = await empty.events()
    assert (event.event.action, event.event.actor) == ("token.created", "system")
    assert first.secret.reveal() not in repr(event)


async def test_where_there_is_any_token_there_is_no_first_one(world):
    before = await world.read()
    assert await ensure_first_token(world.store) is None
    assert await world.read() == before


async def test_no_first_token_comes_back(empty):
    first = await ensure_first_token(empty.store)
    assert await ensure_first_token(empty.at(first.token.valid_until)) is None
    await revoke_token(empty.store, name="first-admin", **BY)
    assert find_token(await empty.read(), first.secret, in_days(0)) is None
    assert await ensure_first_token(empty.store) is None
    with pytest.raises(ServiceError) as caught:
        await revoke_token(empty.store, name="first-admin", **BY)
    assert caught.value.rule == "token-ended-already"


async def test_of_several_starts_at_once_exactly_one_makes_the_first_token(empty):
    made = await asyncio.gather(*(ensure_first_token(opened(empty.folder).store) for _ in range(6)))
    assert len([new for new in made if new is not None]) == 1
    assert len(await empty.events()) == 1


START = """
import asyncio, json, sys
from gateway.services.tokens import ensure_first_token
from gateway.store.sql_store import SqlStore
store = SqlStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
new = asyncio.run(ensure_first_token(store))
print(json.dumps(new and new.secret.reveal()))
"""


async def test_of_several_processes_at_once_exactly_one_makes_the_first_token(empty):
    pipe = asyncio.subprocess.PIPE
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", START, empty.url, stdin=pipe, stdout=pipe) for _ in range(3)
    ]
    for process in started:
        assert await process.stdout.readline() == b"ready\n"
    answers = [json.loads((await process.communicate(b"go\n"))[0]) for process in started]
    (text,) = [answer for answer in answers if answer is not None]
    assert find_token(await empty.read(), Secret(text), in_days(0)) is not None
