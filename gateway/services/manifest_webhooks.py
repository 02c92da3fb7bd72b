"""What a manifest changes about webhooks. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from gateway.access.model import Snapshot
from gateway.access.webhooks import Webhook
from gateway.ports import SealedUse
from gateway.services.errors import ServiceError
from gateway.services.manifest_change import (
    CHANGED_SECRET,
    KEPT_SECRET,
    Action,
    Change,
    Draft,
    Drafts,
    Kind,
    Means,
    Note,
    at,
    check_new_name,
    differing,
    plain,
    unique,
)
from gateway.services.manifest_model import JsonValue, Manifest
from gateway.services.manifest_webhooks_model import WebhookPart
from gateway.services.webhook_urls import check_signing_secret, check_webhook_name
from gateway.services.webhooks import check_webhook, environment_ids, webhook_detail

_FIELDS = ("url", "enabled", "topics", "body", "template")


def draft_webhooks(snapshot: Snapshot, manifest: Manifest, means: Means, *, prune: bool) -> Drafts:
    """Raises ServiceError, by the rules of the verbs. `snapshot` is as environments will be."""
    named = unique(manifest.webhooks, lambda part: part.name)
    others = [each for name, each in sorted(snapshot.webhooks.items()) if manifest.states("webhooks") and name not in named]
    drafts = [_remove(snapshot, each, means) for each in others] if prune else []
    gone = {each.name for each in others} if prune else set()
    webhooks = {name: each for name, each in snapshot.webhooks.items() if name not in gone}
    lowered = {name.lower(): name for name in webhooks}
    for part in named.values():
        with at(f'webhook "{part.name}"'):
            old = snapshot.webhooks.get(part.name)
            drafted = _create(snapshot, part, lowered, means) if old is None else _change(snapshot, part, old, means)
        if drafted is not None:
            webhook, draft = drafted
            drafts.append(draft)
            webhooks[webhook.name] = webhook
    return Drafts(tuple(drafts), replace(snapshot, webhooks=webhooks), len(others))


def export_webhooks(snapshot: Snapshot) -> list[dict[str, JsonValue]]:
    places = {each.id: each.name for each in snapshot.environments.values()}
    return [{"name": name, **_values(webhook, places)} for name, webhook in sorted(snapshot.webhooks.items())]


def _create(snapshot: Snapshot, part: WebhookPart, taken: Mapping[str, str], means: Means) -> tuple[Webhook, Draft]:
    check_webhook_name(part.name)
    check_new_name("webhook", part.name, taken)
    if part.secret is None:
        raise ServiceError("webhook-secret-missing", "a new webhook needs the secret that signs its messages", "Give secret.")
    webhook = _with_secrets(Webhook(means.new_id(), part.name, part.url, b""), part, means, {"secret", "url_secret"})
    webhook = _as_stated(snapshot, part, webhook, set(_FIELDS) | {"environments"})
    check_webhook(webhook, part.url_secret)
    after = _values(webhook, means.environments) | _secrets(part, KEPT_SECRET)
    note = Note("webhook.created", webhook.id, webhook.name, webhook_detail(snapshot, webhook))
    return webhook, Draft(Change(Kind.WEBHOOK, Action.CREATE, part.name, {}, after), (note,), (webhook,))


def _change(snapshot: Snapshot, part: WebhookPart, old: Webhook, means: Means) -> tuple[Webhook, Draft] | None:
    fields = set(differing(part, old, _FIELDS))
    if part.states("environments") and environment_ids(snapshot, part.environments) != old.environments:
        fields.add("environments")
    given = {name for name, value in (("secret", part.secret), ("url_secret", part.url_secret)) if value is not None}
    secrets = {name for name in given if (part.name, name) not in means.credentials.right_webhooks}
    if not fields and not secrets:
        return None
    kept = old if "url" not in fields or "url_secret" in given else replace(old, sealed_url_secret=None)
    if "url" in fields and "url_secret" in given:
        secrets.add("url_secret")
    webhook = _with_secrets(_as_stated(snapshot, part, kept, fields), part, means, secrets)
    check_webhook(webhook, part.url_secret if "url_secret" in secrets else None)
    shown = sorted(fields)
    before = {name: value for name, value in _values(old, means.environments).items() if name in shown}
    after = {name: value for name, value in _values(webhook, means.environments).items() if name in shown}
    before |= dict.fromkeys(sorted(secrets), KEPT_SECRET)
    after |= dict.fromkeys(sorted(secrets), CHANGED_SECRET)
    detail = {**webhook_detail(snapshot, webhook), "secrets_changed": tuple(sorted(secrets))}
    note = Note("webhook.changed", webhook.id, webhook.name, detail)
    return webhook, Draft(Change(Kind.WEBHOOK, Action.CHANGE, part.name, before, after), (note,), (webhook,))


def _remove(snapshot: Snapshot, webhook: Webhook, means: Means) -> Draft:
    change = Change(Kind.WEBHOOK, Action.REMOVE, webhook.name, _values(webhook, means.environments), {})
    return Draft(change, (Note("webhook.deleted", webhook.id, webhook.name, {"url": webhook.url}),), removals=(webhook,))


def _as_stated(snapshot: Snapshot, part: WebhookPart, webhook: Webhook, fields: set[str]) -> Webhook:
    return replace(
        webhook,
        url=part.url if "url" in fields else webhook.url,
        enabled=part.enabled if "enabled" in fields else webhook.enabled,
        topics=part.topics if "topics" in fields else webhook.topics,
        body=part.body if "body" in fields else webhook.body,
        template=part.template if "template" in fields else webhook.template,
        environments=environment_ids(snapshot, part.environments) if "environments" in fields else webhook.environments,
    )


def _with_secrets(webhook: Webhook, part: WebhookPart, means: Means, names: set[str]) -> Webhook:
    """A signing secret that is replaced by hand does not sign any more: whoever writes files has both sides in hand."""
    if "secret" in names and part.secret is not None:
        check_signing_secret(part.secret)
        sealed = means.seal_for(SealedUse.WEBHOOK, webhook.id, part.secret)
        webhook = replace(webhook, sealed_secret=sealed, former_secret=None, former_until=None)
    if "url_secret" in names and part.url_secret is not None:
        webhook = replace(webhook, sealed_url_secret=means.seal_for(SealedUse.WEBHOOK_URL, webhook.id, part.url_secret))
    return webhook


def _values(webhook: Webhook, places: Mapping[str, str]) -> dict[str, JsonValue]:
    found = {name: plain(getattr(webhook, name)) for name in _FIELDS}
    return {**found, "environments": sorted(places.get(each, each) for each in webhook.environments)}


def _secrets(part: WebhookPart, shown: str) -> dict[str, JsonValue]:
    return {"secret": shown} if part.url_secret is None else {"secret": shown, "url_secret": shown}
