"""What doctor says of messages: what was given up, what waits, what is not set up or cannot be opened."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.access.approvals import ApprovalPolicy, Step
from gateway.access_mode import AccessMode
from gateway.audit.admin_event import AdminEvent
from gateway.cli.doctor_deliveries import look_at_deliveries
from gateway.cli.findings import Finding, State
from gateway.ports import OutboxMessage, OutboxState
from gateway.services import webhooks
from gateway.settings import Settings
from gateway.settings.notify import Mail, PagerDuty
from tests.notify.world import BY, World, message, small_world


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return await small_world(tmp_path)


async def found(world: World, **sections: object) -> dict[str, Finding]:
    settings = Settings(state_dir=world.folder).model_copy(update=sections)
    snapshot = await world.store.read()
    return {each.check: each for each in await look_at_deliveries(settings, snapshot, world.now)}


async def write(world: World, *messages: OutboxMessage) -> None:
    async with world.store.begin() as work:
        for each in messages:
            work.put(each)
        await work.commit(AdminEvent("system", "access_request.created", "r", "1", ""))


async def test_where_nobody_is_told_anything_nothing_is_said(world: World) -> None:
    assert await found(world) == {}


async def test_what_was_given_up_and_what_waits_too_long(world: World) -> None:
    dead = replace(message("mail:a@b.example"), state=OutboxState.DEAD, last_error="refused", ended_at=world.now)
    await write(world, replace(message("webhook:siem", number=2), created_at=world.now - timedelta(hours=1)))
    (late,) = (await found(world)).values()
    assert (late.state, late.detail.startswith("1 wait, the oldest since")) == (State.WARNING, True)
    await write(world, dead)
    (given_up,) = (await found(world)).values()
    assert (given_up.state, given_up.detail) == (State.WARNING, "1 given up, the newest: mail: refused")
    assert "a@b.example" not in given_up.detail


async def test_webhooks_and_ways_are_looked_at(world: World) -> None:
    await webhooks.create_webhook(world.store, world.vault, name="siem", url="https://siem.example.com/", **BY)
    missing = world.folder / "missing"
    mail = Mail(host="mail.example", sender="a@b.example", username="a", password_file=missing)
    said = await found(world, mail=mail, pagerduty=PagerDuty(token_file=missing))
    assert (said["webhooks"].state, said["messages"].detail) == (State.OK, "all delivered")
    assert (said["e-mail"].state, said["PagerDuty"].state) == (State.PROBLEM, State.PROBLEM)
    missing.write_text("there-canary")
    said = await found(world, mail=mail, pagerduty=PagerDuty(token_file=missing))
    assert (said["e-mail"].state, said["PagerDuty"].state) == (State.OK, State.OK)
    assert "canary" not in str(said)
    webhook = (await world.store.read()).webhooks["siem"]
    async with world.store.begin() as work:
        work.put(replace(webhook, sealed_secret=b"\x01" + bytes(40)))
        await work.commit(AdminEvent("system", "webhook.changed", webhook.id, "siem", ""))
    assert (await found(world))["webhooks"].state is State.PROBLEM


async def test_a_policy_that_names_what_nothing_delivers_to(world: World) -> None:
    policy = ApprovalPolicy(
        "p-1",
        "read",
        "default",
        frozenset({AccessMode.READ_ONLY}),
        (Step(frozenset({"u"})),),
        announce=("slack:C1", "webhook:gone"),
        on_call="P1",
    )
    async with world.store.begin() as work:
        work.put(policy)
        await work.commit(AdminEvent("system", "approval_policy.created", "p-1", "read", ""))
    settings = Settings(state_dir=world.folder)
    said = [each.detail for each in await look_at_deliveries(settings, await world.store.read(), world.now) if each.remedy]
    assert said == [
        'nothing delivers to "slack:C1"',
        'it names a webhook "gone", which is not there',
        'nothing delivers to "on-call:P1"',
    ]
