"""What the policy says, under a target's lists or the defaults; texts that are large or deep hold nobody up."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.access_mode import AccessMode
from gateway.services.policy import Judging, Limited, default_policy, explain, target_policy
from gateway.settings import Settings
from tests.support.snapshots import SALES

RO, RW = AccessMode.READ_ONLY, AccessMode.READ_WRITE
DEEP = "SELECT 1" + "+1" * 20_000


@pytest.fixture
async def judging() -> AsyncIterator[Judging]:
    instance = Judging(max_statement_bytes=1024 * 1024)
    yield instance
    await instance.close()
    await instance.close()


async def test_allowed_and_refused(judging: Judging) -> None:
    found = await explain(judging, sql="SELECT lower(a) FROM t", policy=default_policy(RO))
    assert (found.allowed, found.rule, found.tables, found.functions) == (True, "allowed", ("t",), ("lower",))
    refused = await explain(judging, sql="SELECT 1; DROP TABLE t", policy=default_policy(RO))
    assert (refused.allowed, refused.rule, refused.sqlstate, refused.position) == (False, "write-statement", "25006", 11)
    assert (await explain(judging, sql="DROP TABLE t", policy=default_policy(RW))).allowed


async def test_a_targets_lists_count(judging: Judging) -> None:
    sql = "SELECT shop.f()"
    assert not (await explain(judging, sql=sql, policy=target_policy(SALES, RO))).allowed
    listing = replace(SALES, allowed_functions=frozenset({"shop.f"}), allowed_schemas=frozenset({"shop"}))
    assert (await explain(judging, sql=sql, policy=target_policy(listing, RO))).allowed
    assert (await explain(judging, sql=sql, policy=default_policy(RO, functions=frozenset({"shop.*"})))).allowed
    assert (await explain(judging, sql="SET search_path = shop", policy=target_policy(listing, RO))).allowed


async def test_the_gateways_settings_count(judging: Judging, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"state_dir": tmp_path, "statement_caps": {"timeout": "1s"}, "limits": {"max_statement_nesting": 10}}
    )
    limited = Limited.by(settings)
    for policy in (default_policy(RO, limited=limited), target_policy(SALES, RO, limited=limited)):
        found = await explain(judging, sql="SET statement_timeout = '2s'", policy=policy)
        assert (found.sent_as, bool(found.notice)) == ("SET statement_timeout = 1000", True)
        assert (await explain(judging, sql=f"SELECT {'(' * 11}1{')' * 11}", policy=policy)).rule == "statement-too-complex"


async def test_the_text_as_it_would_be_sent(judging: Judging) -> None:
    found = await explain(judging, sql="SET application_name = 'x'", policy=default_policy(RO))
    assert found.sent_as == "SET application_name = 'PERSON [SESSION] x'"
    assert (await explain(judging, sql="SELECT 1", policy=default_policy(RO))).sent_as is None


@pytest.mark.parametrize("sql", [b"SELECT '\xff'", "SELECT '\ud800'", "SELECT '\0'"])
async def test_what_is_no_text_is_refused(judging: Judging, sql: str | bytes) -> None:
    assert not (await explain(judging, sql=sql, policy=default_policy(RO))).allowed


async def test_deep_texts_at_once_hold_nobody_up(judging: Judging) -> None:
    policy = default_policy(RO)
    longest, stop = 0.0, asyncio.Event()

    async def tick() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            before = loop.time()
            await asyncio.sleep(0.01)
            longest = max(longest, loop.time() - before)

    ticking = asyncio.create_task(tick())
    found = await asyncio.gather(*(explain(judging, sql=DEEP, policy=policy) for _ in range(8)))
    stop.set()
    await ticking
    assert {each.rule for each in found} == {"statement-too-complex"}
    assert longest < 0.5


async def test_a_closed_one_refuses(judging: Judging) -> None:
    await explain(judging, sql=DEEP, policy=default_policy(RO))
    await judging.close()
    assert not (await explain(judging, sql=DEEP, policy=default_policy(RO))).allowed
