"""Webhooks: who elsewhere is told of access requests by HTTP. What signs their messages is shown once, and kept sealed."""

import base64
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gateway.access.body_templates import TemplateError, check_template
from gateway.access.model import Snapshot
from gateway.access.webhooks import TOPICS, Body, Webhook
from gateway.audit.admin_event import DetailValue
from gateway.ports import SealedUse, SecretBox, Store
from gateway.secret import Secret
from gateway.services.change import Change, begin, new_id, shown
from gateway.services.errors import ServiceError
from gateway.services.lookup import check_name_is_free, check_version, find_environment
from gateway.services.webhook_urls import check_url, check_url_secret, check_webhook_name

CHANGE: Final = "webhooks.change"
FORMER_HOURS: Final = 24.0

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32
_MOST_FORMER: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class SignedWebhook:
    """`secret`: what its messages are signed with from now on, to be shown once."""

    webhook: Webhook
    secret: Secret


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """What is to be another. None: it stays. `environments` by name; of these and of `topics` an empty set means all.

    `url_secret` is given with a `url` that has a place for one, or alone.
    """

    url: str | None = None
    url_secret: Secret | None = None
    enabled: bool | None = None
    topics: Collection[str] | None = None
    environments: Collection[str] | None = None
    body: Body | None = None
    template: str | None = None


async def create_webhook(
    store: Store,
    box: SecretBox,
    *,
    name: str,
    url: str,
    url_secret: Secret | None = None,
    topics: Collection[str] = (),
    environments: Collection[str] = (),
    body: Body = Body.JSON,
    template: str | None = None,
    actor: str,
    reason: str,
) -> SignedWebhook:
    """`environments` by name; of these and of `topics` none means all. The secret of its URL is sealed, and shown to nobody."""
    check_webhook_name(name)
    secret = new_secret()
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        check_name_is_free("webhook", name, change.whole.webhooks)
        row_id = new_id()
        webhook = Webhook(
            id=row_id,
            name=name,
            url=url,
            sealed_secret=box.seal_for(SealedUse.WEBHOOK, row_id, secret),
            sealed_url_secret=None if url_secret is None else box.seal_for(SealedUse.WEBHOOK_URL, row_id, url_secret),
            topics=frozenset(topics),
            environments=environment_ids(change.snapshot, environments),
            body=body,
            template=template,
        )
        check_webhook(webhook, url_secret)
        change.also_put(webhook)
        change.note("webhook.created", row_id, name, webhook_detail(change.snapshot, webhook))
        return SignedWebhook(replace(webhook, version=await change.commit()), secret)


async def update_webhook(
    store: Store,
    box: SecretBox,
    *,
    name: str,
    wanted: WebhookChange,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> Webhook:
    """What waits for it is delivered as it is then."""
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        old = find_webhook(change.snapshot, name, expected_version)
        webhook = changed_webhook(change.snapshot, box, old, wanted)
        check_webhook(webhook, wanted.url_secret)
        detail: dict[str, DetailValue] = dict(webhook_detail(change.snapshot, webhook))
        if wanted.url_secret is not None:
            detail["url_secret_changed"] = True
        return await _save(change, webhook, "webhook.changed", detail)


async def rotate_webhook_secret(
    store: Store,
    box: SecretBox,
    *,
    name: str,
    former_hours: float = FORMER_HOURS,
    actor: str,
    reason: str,
    expected_version: int | None = None,
) -> SignedWebhook:
    """Another secret signs from now on. The former one signs, too, for `former_hours` (0: no more at once, if it leaked)."""
    if not 0 <= former_hours <= _MOST_FORMER.total_seconds() / 3600:
        raise ServiceError("hours-invalid", "the former secret can sign for 0 to 168 hours more")
    secret = new_secret()
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        old = find_webhook(change.snapshot, name, expected_version)
        until = change.now + timedelta(hours=former_hours) if former_hours else None
        webhook = replace(
            old,
            sealed_secret=box.seal_for(SealedUse.WEBHOOK, old.id, secret),
            former_secret=old.sealed_secret if until is not None else None,
            former_until=until,
        )
        saved = await _save(change, webhook, "webhook.secret_rotated", {"former_until": shown(until)})
        return SignedWebhook(saved, secret)


async def delete_webhook(store: Store, *, name: str, actor: str, reason: str, expected_version: int | None = None) -> Webhook:
    """What was not delivered to it yet is given up."""
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        webhook = find_webhook(change.snapshot, name, expected_version)
        change.also_remove(webhook)
        change.note("webhook.deleted", webhook.id, name, {"url": webhook.url})
        await change.commit()
        return webhook


def find_webhook(snapshot: Snapshot, name: str, expected_version: int | None = None) -> Webhook:
    """Raises ServiceError."""
    webhook = snapshot.webhooks.get(name)
    if webhook is None:
        raise ServiceError("webhook-unknown", f'there is no webhook "{name}"', "See: pgbastion webhooks list")
    check_version(f'webhook "{name}"', webhook.version, expected_version)
    return webhook


def changed_webhook(snapshot: Snapshot, box: SecretBox, old: Webhook, wanted: WebhookChange) -> Webhook:
    """Raises ServiceError for an environment that is not there. A URL without a place for a secret has none."""
    url = old.url if wanted.url is None else wanted.url
    sealed = old.sealed_url_secret
    if wanted.url_secret is not None:
        sealed = box.seal_for(SealedUse.WEBHOOK_URL, old.id, wanted.url_secret)
    elif wanted.url is not None and wanted.url != old.url:
        sealed = None  # it was given for the other place
    body = old.body if wanted.body is None else wanted.body
    template = old.template if wanted.template is None and wanted.body is None else wanted.template
    return replace(
        old,
        url=url,
        sealed_url_secret=sealed,
        enabled=old.enabled if wanted.enabled is None else wanted.enabled,
        topics=old.topics if wanted.topics is None else frozenset(wanted.topics),
        environments=old.environments if wanted.environments is None else environment_ids(snapshot, wanted.environments),
        body=body,
        template=template,
    )


def check_webhook(webhook: Webhook, url_secret: Secret | None) -> None:
    """As it is to be. `url_secret`: if it was given anew. Raises ServiceError."""
    check_url(webhook.url, with_secret=webhook.sealed_url_secret is not None)
    if url_secret is not None:
        check_url_secret(url_secret)
    unknown = sorted(webhook.topics - set(TOPICS))
    if unknown:
        raise ServiceError("topic-unknown", f'nobody is told of "{unknown[0]}"', f"There are: {', '.join(TOPICS)}")
    if (webhook.template is None) == (webhook.body is Body.TEMPLATE):
        raise ServiceError("template-invalid", "a template goes with the body template, and with no other")
    if webhook.template is not None:
        try:
            check_template(webhook.template)
        except TemplateError as error:
            raise ServiceError("template-invalid", str(error), "The placeholders are in docs/notifications.md.") from None


def environment_ids(snapshot: Snapshot, names: Collection[str]) -> frozenset[str]:
    """Raises ServiceError."""
    return frozenset(find_environment(snapshot, name).id for name in names)


def webhook_detail(snapshot: Snapshot, webhook: Webhook) -> dict[str, DetailValue]:
    """What the audit is told of it: no secret."""
    places = {each.id: each.name for each in snapshot.environments.values()}
    return {
        "url": webhook.url,
        "enabled": webhook.enabled,
        "topics": tuple(sorted(webhook.topics)),
        "environments": tuple(sorted(places.get(each, each) for each in webhook.environments)),
        "body": webhook.body.value,
    }


def new_secret() -> Secret:
    return Secret(_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode())


def former_is_over(webhook: Webhook, now: datetime) -> bool:
    """Whether only one secret signs."""
    return webhook.former_until is None or now >= webhook.former_until


async def _save(change: Change, webhook: Webhook, action: str, detail: dict[str, DetailValue]) -> Webhook:
    change.also_put(webhook)
    change.note(action, webhook.id, webhook.name, detail)
    return replace(webhook, version=await change.commit())
