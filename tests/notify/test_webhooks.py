"""Messages by HTTP: signed so that a receiver can tell, told only to who was meant, and no secret in what is said of it."""

import json
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trustme
from standardwebhooks.webhooks import Webhook as Signing
from standardwebhooks.webhooks import WebhookVerificationError

from gateway.access.webhooks import Body
from gateway.notify.delivering import Dead, Delivered, Later, Outcome
from gateway.notify.webhooks import Webhooks
from gateway.ports import OutboxMessage
from gateway.secret import Secret
from gateway.services import webhooks
from gateway.services.webhooks import SignedWebhook, WebhookChange
from gateway.settings.notify import Notify
from tests.notify.world import BY, PAYLOAD, World, message
from tests.support.fakes.receiver import Receiver, receiver

URL_CANARY = "url-canary-7d31"


async def made(world: World, url: str, **more: object) -> SignedWebhook:
    return await webhooks.create_webhook(world.store, world.vault, **{"name": "siem", "url": url, **more, **BY})


async def sent(world: World, each: OutboxMessage, **notify: object) -> Outcome:
    channel = Webhooks(await world.means(notify=Notify(**({"timeout_seconds": 2.0} | notify))))
    try:
        return await channel.deliver(each)
    finally:
        await channel.close()


def verified(secret: Secret, here: Receiver, number: int = -1) -> object:
    found = here.received[number]
    return Signing(secret.reveal()).verify(found.body, found.headers)


async def test_a_receiver_verifies_what_it_is_sent(world: World) -> None:
    with receiver() as here:
        webhook = await made(world, f"{here.url}/hook")
        assert await sent(world, message("webhook:siem")) == Delivered()
        assert await sent(world, message("webhook:siem")) == Delivered()
    first, again = here.received
    assert verified(webhook.secret, here) == json.loads(PAYLOAD % "to look")
    assert (first.headers["webhook-id"], again.headers["webhook-id"]) == ("m-1", "m-1")
    assert first.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Signing(webhooks.new_secret().reveal()).verify(first.body, first.headers)
    with pytest.raises(WebhookVerificationError):
        Signing(webhook.secret.reveal()).verify(first.body.replace("alice", "mallory"), first.headers)
    with pytest.raises(WebhookVerificationError):  # the id is signed, too
        Signing(webhook.secret.reveal()).verify(first.body, {**first.headers, "webhook-id": "m-2"})


async def test_after_a_rotation_both_secrets_verify_for_a_while(world: World) -> None:
    with receiver() as here:
        old = await made(world, here.url)
        new = await webhooks.rotate_webhook_secret(world.store, world.vault, name="siem", **BY)
        await sent(world, message("webhook:siem"))
        assert verified(old.secret, here) == verified(new.secret, here)
        world.now = datetime.now(UTC) + timedelta(hours=25)
        await sent(world, message("webhook:siem"))
        assert len(here.received[-1].headers["webhook-signature"].split()) == 1
        world.now = datetime.now(UTC)
        at_once = await webhooks.rotate_webhook_secret(world.store, world.vault, name="siem", former_hours=0, **BY)
        await sent(world, message("webhook:siem"))
        verified(at_once.secret, here)
        with pytest.raises(WebhookVerificationError):
            verified(new.secret, here)


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {}, Delivered()),
        (500, {}, Later(None, "the receiver answers with status 500")),
        (404, {}, Later(None, "the receiver answers with status 404")),
        (429, {"retry-after": "7"}, Later(7.0, "the receiver answers with status 429")),
        (503, {"retry-after": "999999999999"}, Later(3600.0, "the receiver answers with status 503")),
        (503, {"retry-after": "soon"}, Later(None, "the receiver answers with status 503")),
        (410, {}, Dead("the receiver says that it is gone (410)")),
        (302, {"location": "/elsewhere"}, Later(None, "the receiver answers with a redirect (302), which is not followed")),
    ],
)
async def test_what_a_receiver_answers(world: World, status: int, headers: dict[str, str], expected: Outcome) -> None:
    with receiver() as here:
        await made(world, here.url)
        here.answers.append((status, headers))
        assert await sent(world, message("webhook:siem")) == expected
        assert len(here.received) == 1  # a redirect leads nowhere


async def test_a_receiver_may_say_when(world: World) -> None:
    with receiver() as here:
        await made(world, here.url)
        here.answers.append((503, {"retry-after": format_datetime(world.now + timedelta(minutes=2), usegmt=False)}))
        outcome = await sent(world, message("webhook:siem"))
    assert isinstance(outcome, Later)
    assert outcome.seconds == pytest.approx(120, abs=2)


async def test_one_that_is_slow_or_not_there_is_tried_again(world: World) -> None:
    with receiver() as here:
        await made(world, here.url)
        here.delay_seconds = 1.0
        slow = await sent(world, message("webhook:siem"), timeout_seconds=0.2)
    assert slow == Later(None, "the receiver does not answer in time")
    assert await sent(world, message("webhook:siem")) == Later(None, "the receiver cannot be reached (ConnectError)")
    assert await sent(world, message("webhook:other")) == Dead("there is no webhook of this name")
    await webhooks.update_webhook(world.store, world.vault, name="siem", wanted=WebhookChange(enabled=False), **BY)
    assert await sent(world, message("webhook:siem")) == Dead("the webhook is disabled")


async def test_its_certificate_is_verified(world: World) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusted, other = world.folder / "ca.pem", world.folder / "other.pem"
    authority.cert_pem.write_to_path(str(trusted))
    stranger.cert_pem.write_to_path(str(other))
    with receiver(context, "localhost") as here:
        await made(world, f"{here.url}/{{secret}}", url_secret=Secret(URL_CANARY))
        assert await sent(world, message("webhook:siem"), ca_file=trusted) == Delivered()
        assert here.received[0].path == f"/{URL_CANARY}"
        refused = await sent(world, message("webhook:siem"), ca_file=other)
        wrong_name = here.url.replace("localhost", "127.0.0.1")
        await webhooks.update_webhook(world.store, world.vault, name="siem", wanted=WebhookChange(url=wrong_name), **BY)
        misnamed = await sent(world, message("webhook:siem"), ca_file=trusted)
    for each in (refused, misnamed):
        assert isinstance(each, Later)
        assert "certificate does not verify" in each.why
    assert len(here.received) == 1


async def test_no_secret_in_what_is_said_of_it(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    with receiver() as here:
        webhook = await made(world, f"{here.url}/{{secret}}", url_secret=Secret(URL_CANARY))
        outcomes = [await sent(world, message("webhook:siem"))]
        for status in (500, 302, 410):
            here.answers.append((status, {}))
            outcomes.append(await sent(world, message("webhook:siem")))
    outcomes.append(await sent(world, message("webhook:siem")))  # nobody is there any more
    events = [str(each.event) for each in await world.store.read_events()]
    shown = " ".join([*map(str, outcomes), *events, repr(webhook), *capfd.readouterr()])
    stored = b"".join(each.read_bytes() for each in world.folder.glob("store.sqlite3*"))
    for secret in (URL_CANARY, webhook.secret.reveal(), webhook.secret.reveal().removeprefix("whsec_")):
        assert secret not in shown
        assert secret.encode() not in stored


@pytest.mark.parametrize("body", [Body.TEAMS, Body.CHAT, Body.TEMPLATE])
async def test_bodies_for_chats_stay_text_whatever_people_write(world: World, body: Body) -> None:
    evil = '<!channel> @here [click](https://evil.example) \\", \\"text\\": \\"x {{request.place}}'
    template = '{"blocks": [{"n": 1, "t": "{{request.reason}} on {{ request.place }}"}]}' if body is Body.TEMPLATE else None
    with receiver() as here:
        webhook = await made(world, here.url, body=body, template=template)
        assert await sent(world, message("webhook:siem", evil)) == Delivered()
        found = verified(webhook.secret, here)
    text = json.dumps(found, ensure_ascii=False)
    for armed in ("<!channel", "@here", "](", "https://evil"):
        assert armed not in text
    assert "channel" in text
    match body:
        case Body.TEAMS:
            assert found["attachments"][0]["content"]["type"] == "AdaptiveCard"
        case Body.CHAT:
            assert list(found) == ["text"]
            assert found["text"].startswith("Request 17: alice asks for read_only on orders\nReason: ")
            assert "For: 1 h 30 min" in found["text"]
        case _:
            assert list(found) == ["blocks"]
            assert found["blocks"][0]["n"] == 1
            assert found["blocks"][0]["t"].endswith("{{request.place}} on orders")  # filled once
