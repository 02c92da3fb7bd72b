"""Socket Mode: the connection is asked to go, is lost, cannot be had; and comes back."""

import asyncio

import pytest

from tests.slack.world import SlackWorld
from tests.support.fakes.slack.server import NotAcknowledged


async def is_heard(world: SlackWorld) -> None:
    """A command reaches the gateway, over whatever connection there is by then."""
    world.slack.state.postings.clear()
    async with asyncio.timeout(20):
        while True:
            try:
                await world.acting("ana").slash("help", world.channel)
            except (NotAcknowledged, ConnectionError):
                await asyncio.sleep(0.1)
            else:
                break
    await world.hears("ana", "request [DATABASE]")


@pytest.mark.parametrize("how", ["refresh", "drop"])
async def test_it_connects_anew(world: SlackWorld, how: str) -> None:
    opened = world.slack.calls["apps.connections.open"]
    for _ in range(3):
        await (world.slack.refresh() if how == "refresh" else world.slack.drop())
        await is_heard(world)
    assert world.slack.calls["apps.connections.open"] > opened


async def test_it_comes_back_after_slack_was_away(world: SlackWorld) -> None:
    world.slack.down = True
    await world.slack.drop()
    await asyncio.sleep(2.0)
    world.slack.down = False
    await is_heard(world)


async def test_an_address_that_is_good_no_more_is_not_held_on_to(world: SlackWorld) -> None:
    """Slack gives one for a moment: when it could not be reached in that moment, another is asked for."""
    world.slack.closed = True
    await world.slack.drop()
    opened = world.slack.calls["apps.connections.open"]
    await world.until(lambda: world.slack.calls["apps.connections.open"] > opened)
    world.slack.tickets.clear()
    world.slack.closed = False
    await is_heard(world)
