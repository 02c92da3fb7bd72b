"""Signed HTTP: what Slack posts to the admin API, and what is refused there."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import httpx
import pytest
import uvicorn

from admin_api.app import create_app
from admin_api.context import AdminContext
from gateway.access.request_record import State
from gateway.bus.gateway import BusGateway
from gateway.notify.slack import names
from gateway.settings import CurrentSettings
from gateway.store.vault import SealedVault
from tests.slack.world import SlackWorld
from tests.support.fakes.slack.signing import signed

COMMAND = {"command": "/pgbastion", "text": "help", "user_id": "U1", "channel_id": "C1", "trigger_id": "1.1.x"}


@pytest.fixture
async def http(world: SlackWorld) -> AsyncIterator[SlackWorld]:
    """The world, with Slack posting to an admin API that runs here."""
    async with served(world) as url:
        world.slack.request_url = f"{url}/slack/events"
        yield world


@contextlib.asynccontextmanager
async def served(world: SlackWorld, settings: CurrentSettings | None = None) -> AsyncIterator[str]:
    context = AdminContext(
        settings=settings or CurrentSettings(world.settings),
        store=world.store,
        sealer=SealedVault.load(world.settings.key_file),
        read=world.store.read,
        gateway=BusGateway(world.settings.bus_socket),
    )
    app = create_app(context)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        await app.close()


async def test_a_request_from_asking_to_approval(http: SlackWorld) -> None:
    posting = await http.asked()
    answer = await http.acting("ben").press(posting, names.APPROVE)
    assert (answer.status, answer.seconds < 3) == (200, True)
    await http.until(lambda: not posting.buttons)
    assert (await http.request()).state is State.ACTIVE


async def test_only_what_slack_signed_is_heard(http: SlackWorld) -> None:
    posting = await http.asked()
    before = http.slack.calls.total()
    body = urlencode(COMMAND).encode()
    now = int(time.time())
    other = signed("0" * 32, body, now)["X-Slack-Signature"]
    old = signed(http.slack.signing_secret, body, now - 301)
    ahead = signed(http.slack.signing_secret, body, now + 301 + 60)  # a minute for what comes before
    another_body = signed(http.slack.signing_secret, body + b"&x=y", now)["X-Slack-Signature"]
    for wrong in (
        {"X_Slack_Signature": other},
        {"X_Slack_Signature": another_body},
        {name.replace("-", "_"): value for name, value in old.items()},
        {name.replace("-", "_"): value for name, value in ahead.items()},
        {"X_Slack_Signature": ""},
        {"X_Slack_Request_Timestamp": "soon"},
        {"X_Slack_Request_Timestamp": ""},
    ):
        assert (await http.slack.post_raw(body, **wrong)).status == 401, wrong
    for unreadable in (b"payload=%7Bnot-json", b"\xff\xfe"):
        answer = await http.slack.post_raw(unreadable, X_Slack_Signature=other)
        assert answer.status == 401, unreadable
    assert http.slack.calls.total() == before
    assert posting.buttons
    assert (await http.slack.post_raw(body)).status == 200


async def test_a_press_that_is_posted_again_is_not_heard_again(http: SlackWorld) -> None:
    """Word for word, with its signature: as somebody would who overheard it."""
    assert http.slack.request_url is not None
    person = http.acting("ana")
    response_url = person._response_url(http.channel, None)
    body = urlencode({**COMMAND, "user_id": person.member, "channel_id": http.channel, "response_url": response_url}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", **signed(http.slack.signing_secret, body, int(time.time()))}
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(3):
            assert (await client.post(http.slack.request_url, content=body, headers=headers)).status_code == 200
    await http.hears("ana", "request [DATABASE]")
    assert sum("request [DATABASE]" in each.words for each in person.told()) == 1


async def test_the_api_s_own_limits_hold(http: SlackWorld) -> None:
    assert http.slack.request_url is not None
    assert (await http.slack.post_raw(b"a=" + b"x" * 2_000_000)).status == 413
    async with httpx.AsyncClient(trust_env=False) as client:
        text = {"Content-Type": "text/plain"}
        assert (await client.post(http.slack.request_url, content=b"a=b", headers=text)).status_code == 415
        assert (await client.get(http.slack.request_url)).status_code == 401
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        other = http.slack.request_url.replace("/slack/events", "/v1/sign-in")
        assert (await client.post(other, content=b"a=b", headers=form)).status_code == 415


async def test_without_a_signing_secret_there_is_no_such_page(world: SlackWorld) -> None:
    closed = world.settings.model_copy(update={"slack": world.settings.slack.model_copy(update={"signing_secret_file": None})})
    async with served(world, CurrentSettings(closed)) as url, httpx.AsyncClient(trust_env=False) as client:
        body = b'{"type": "url_verification", "challenge": "x"}'
        headers = {"Content-Type": "application/json", **signed(world.slack.signing_secret, body, int(time.time()))}
        assert (await client.post(f"{url}/slack/events", content=body, headers=headers)).status_code == 401
