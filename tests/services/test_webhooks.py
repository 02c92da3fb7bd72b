"""Webhooks as verbs and in manifests: what is taken, what is kept sealed, and what is seen of it."""

from dataclasses import replace

import pytest
import yaml

from gateway.access.webhooks import Body, told
from gateway.ports import SealedUse
from gateway.secret import Secret
from gateway.services import environments, manifest, webhooks
from gateway.services.errors import ServiceError
from gateway.services.manifest import apply_manifest, export_manifest, parse_manifest, resolve_secrets
from gateway.services.webhooks import WebhookChange
from gateway.settings import Settings
from gateway.store.key_rotation import Signature, rotate_key
from gateway.store.vault import SealedVault, key_of
from tests.services.world import BY, World

URL_CANARY, SIGNING = "url-canary-5a10", "whsec_c2lnbmluZy1jYW5hcnktb2YtMzItYnl0ZXMtLS0tLS0="


async def made(world: World, **more: object) -> webhooks.SignedWebhook:
    facts = {"name": "siem", "url": "https://siem.example.com/hook"} | more
    return await webhooks.create_webhook(world.store, world.vault, **facts, **BY)


async def refused(world: World, **more: object) -> str:
    with pytest.raises(ServiceError) as caught:
        await made(world, **more)
    assert "canary" not in f"{caught.value.message}{caught.value.hint}"
    return caught.value.rule


async def test_its_secrets_are_sealed_and_shown_once(world: World) -> None:
    signed = await made(world, url="https://chat.example.com/{secret}", url_secret=Secret(URL_CANARY))
    (kept,) = (await world.read()).webhooks.values()
    assert kept == signed.webhook
    assert world.vault.open_for(SealedUse.WEBHOOK, kept.id, kept.sealed_secret).reveal() == signed.secret.reveal()
    assert kept.sealed_url_secret is not None
    assert world.vault.open_for(SealedUse.WEBHOOK_URL, kept.id, kept.sealed_url_secret).reveal() == URL_CANARY
    told_of = [str(each.event) for each in await world.events()]
    for secret in (URL_CANARY, signed.secret.reveal()):
        assert secret not in repr(signed) + repr(kept) + "".join(told_of)
    await webhooks.rotate_webhook_secret(world.store, world.vault, name="siem", **BY)
    await webhooks.update_webhook(
        world.store, world.vault, name="siem", wanted=WebhookChange(url="https://chat.example.com/open"), **BY
    )
    (kept,) = (await world.read()).webhooks.values()
    assert kept.sealed_url_secret is None  # it was given for the other place
    assert kept.former_secret == signed.webhook.sealed_secret
    await webhooks.delete_webhook(world.store, name="siem", **BY)
    assert (await world.read()).webhooks == {}


@pytest.mark.parametrize(
    "url",
    [
        "http://siem.example.com/canary",
        "http://10.0.0.7/canary",
        "ftp://siem.example.com/canary",
        "https://user:canary@siem.example.com/",
        "https://siem.example.com/#canary",
        "https:///canary",
        "https://siem.example.com/canary path",
        "https://siem.example.com/\r\ncanary",
        "https://siem.example.com:port/canary",
        "https://{secret}.example.com/canary",
        "https://siem.example.com/{secret}/{secret}",
        "https://siem.example.com/{token}",
        "file:///canary",
        "https://siem.example.com/" + "canary" * 400,
    ],
)
async def test_urls_that_messages_do_not_go_to(world: World, url: str) -> None:
    assert await refused(world, url=url, url_secret=Secret("x") if "{secret}" in url else None) == "url-invalid"


async def test_what_else_is_refused(world: World) -> None:
    for name in ("", "1siem", "a b", "x" * 64, "siem\n"):
        assert await refused(world, name=name) == "webhook-name-invalid"
    assert await refused(world, url="https://chat.example.com/{secret}") == "url-secret-missing"
    assert await refused(world, url_secret=Secret(URL_CANARY)) == "url-secret-unused"
    spaced = Secret(f"{URL_CANARY} x")
    assert await refused(world, url="https://chat.example.com/{secret}", url_secret=spaced) == "url-secret-invalid"
    assert await refused(world, topics=["access_request.made"]) == "topic-unknown"
    assert await refused(world, environments=["nowhere"]) == "environment-unknown"
    assert await refused(world, body=Body.TEMPLATE) == "template-invalid"
    assert await refused(world, template="{}") == "template-invalid"
    for template in (
        "not json",
        '{"a": "{{password}}"}',
        '{"a": "{{request.password}}"}',
        "[" * 30 + "]" * 30,
        '"' + "x" * 17000 + '"',
    ):
        assert await refused(world, body=Body.TEMPLATE, template=template) == "template-invalid"
    await made(world)
    assert await refused(world, name="SIEM") == "webhook-exists"
    with pytest.raises(ServiceError, match="changed meanwhile"):
        await webhooks.delete_webhook(world.store, name="siem", expected_version=1, **BY)


async def test_who_is_told_of_what(world: World) -> None:
    await environments.create_environment(world.store, name="production", **BY)
    everything = (await made(world)).webhook
    there = (await made(world, name="there", environments=["production"])).webhook
    ends = (await made(world, name="ends", topics=["access_request.expired"])).webhook
    place = next(iter(there.environments))
    hooks = [everything, there, ends, replace(everything, name="off", enabled=False)]
    named = ("slack:C1", "webhook:there", "webhook:off", "webhook:gone", "slack:C1")
    assert told(hooks, named, "access_request.created", place) == ("slack:C1", "webhook:siem", "webhook:there")
    assert told(hooks, named, "access_request.expired", "default") == ("slack:C1", "webhook:ends", "webhook:siem")


TEXT = """
version: 1
webhooks:
  - name: siem
    url: https://siem.example.com/hook
    secret: {env: SIGNING}
    topics: [access_request.approved]
  - name: chat
    url: https://chat.example.com/{secret}
    url_secret: {env: URL}
    secret: {env: SIGNING}
    body: chat
"""


def read(text: str, **variables: str) -> manifest.Manifest:
    known = {"SIGNING": SIGNING, "URL": URL_CANARY} | variables
    return parse_manifest(resolve_secrets(yaml.safe_load(text), read_env=known.get, read_file=lambda path: ""))


async def test_a_manifest_makes_them_so_and_twice_is_once(world: World) -> None:

    done = await apply_manifest(world.store, world.vault, read(TEXT), **BY)
    assert [(each.kind, each.action, each.name) for each in done.changes] == [
        ("webhook", "create", "siem"),
        ("webhook", "create", "chat"),
    ]
    assert (await apply_manifest(world.store, world.vault, read(TEXT), **BY)).changes == ()
    snapshot = await world.read()
    chat = snapshot.webhooks["chat"]
    assert chat.sealed_url_secret is not None
    assert world.vault.open_for(SealedUse.WEBHOOK_URL, chat.id, chat.sealed_url_secret).reveal() == URL_CANARY
    exported = export_manifest(snapshot)
    assert (await apply_manifest(world.store, world.vault, parse_manifest(exported), **BY)).changes == ()
    assert {each["name"] for each in exported["webhooks"]} == {"siem", "chat"}  # type: ignore[union-attr, call-overload, index]
    rotated = await apply_manifest(world.store, world.vault, read(TEXT, URL="another-canary"), **BY)
    (change,) = rotated.changes
    assert (change.name, dict(change.before), dict(change.after)) == (
        "chat",
        {"url_secret": "(secret)"},
        {"url_secret": "(changed)"},
    )
    moved = TEXT.replace("https://siem.example.com/hook", "https://siem.example.com/other")
    (change,) = (await apply_manifest(world.store, world.vault, read(moved, URL="another-canary"), **BY)).changes
    assert dict(change.after) == {"url": "https://siem.example.com/other"}
    pruned = await apply_manifest(world.store, world.vault, read("version: 1\nwebhooks: []"), prune=True, **BY)
    assert {(each.action, each.name) for each in pruned.changes} == {("remove", "siem"), ("remove", "chat")}
    shown = "".join([str(done), str(rotated), str(exported), *(str(each.event) for each in await world.events())])
    for secret in (URL_CANARY, SIGNING, SIGNING.removeprefix("whsec_"), "another-canary"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (TEXT.replace("    secret: {env: SIGNING}\n", ""), "webhook-secret-missing"),
        (TEXT.replace("    url_secret: {env: URL}\n", ""), "url-secret-missing"),
        (TEXT.replace("https://siem", "http://siem"), "url-invalid"),
        (TEXT.replace("approved", "made"), "topic-unknown"),
        (TEXT.replace("body: chat", "environments: [nowhere]"), "environment-unknown"),
    ],
)
async def test_a_manifest_is_held_to_the_rules_of_the_verbs(world: World, text: str, rule: str) -> None:
    with pytest.raises(ServiceError) as caught:
        await apply_manifest(world.store, world.vault, read(text), **BY)
    assert caught.value.rule == rule
    assert (await world.read()).webhooks == {}


async def test_a_secret_in_the_file_itself_is_refused(world: World) -> None:
    with pytest.raises(ServiceError) as caught:
        read(TEXT.replace("{env: URL}", URL_CANARY))
    assert caught.value.rule == "secret-in-file"
    assert URL_CANARY not in caught.value.message
    with pytest.raises(ServiceError) as caught:
        await apply_manifest(world.store, world.vault, read(TEXT, SIGNING="whsec_short"), **BY)
    assert caught.value.rule == "webhook-secret-invalid"


async def test_its_secrets_go_with_a_new_master_key(world: World) -> None:
    signed = await made(world, url="https://chat.example.com/{secret}", url_secret=Secret(URL_CANARY))
    former = await webhooks.rotate_webhook_secret(world.store, world.vault, name="siem", **BY)
    settings = Settings(state_dir=world.folder)
    done = await rotate_key(
        settings, Signature(**BY), keep_old=False, watch=lambda _step: lambda _done, _all: None, waits_for_others=False
    )
    assert done.finished
    kept, vault = (await world.read()).webhooks["siem"], SealedVault.load(settings.key_file)
    assert kept.former_secret is not None
    assert kept.sealed_url_secret is not None
    assert key_of(kept.sealed_secret) == key_of(kept.former_secret) == key_of(kept.sealed_url_secret) == done.key_id
    assert vault.open_for(SealedUse.WEBHOOK, kept.id, kept.sealed_secret).reveal() == former.secret.reveal()
    assert vault.open_for(SealedUse.WEBHOOK, kept.id, kept.former_secret).reveal() == signed.secret.reveal()
    assert vault.open_for(SealedUse.WEBHOOK_URL, kept.id, kept.sealed_url_secret).reveal() == URL_CANARY
