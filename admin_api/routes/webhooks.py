"""/v1/webhooks: who elsewhere is told of access requests."""

from fastapi import APIRouter
from starlette.responses import Response

from admin_api.calls import Change, Changing, Looking, Making, MakingAt, Once, gone, made, shown, told
from admin_api.models.fields import secret
from admin_api.models.webhooks import (
    NewSecret,
    NewWebhook,
    TriedRecord,
    WebhookMade,
    WebhookPage,
    WebhookPatch,
    WebhookRecord,
    webhook_record,
)
from admin_api.paging import Paged
from gateway.access.webhooks import Webhook
from gateway.audit.admin_event import AdminEvent
from gateway.secret import Secret
from gateway.services import deliveries, webhooks
from gateway.services.deliveries import Tested
from gateway.services.errors import ServiceError
from gateway.services.webhooks import SignedWebhook, WebhookChange, find_webhook

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


@router.get("", response_model=WebhookPage)
async def list_webhooks(call: Looking, page: Paged) -> Response:
    """List webhooks, by name. They are the owners'."""
    items, following = page.of(list(call.snapshot.webhooks.values()), lambda each: (each.name,))
    return call.show_list(WebhookPage(items=[webhook_record(call.snapshot, each) for each in items], next=following))


@router.post("", response_model=WebhookMade, status_code=201)
async def create_webhook(call: Making, body: NewWebhook) -> Response:
    """Make a webhook. What its messages are signed with is in this answer and nowhere else."""

    async def answer(signed: SignedWebhook) -> Response:
        return made(await _made(call, signed.webhook, signed.secret), signed.webhook.version, _place(signed.webhook))

    async def again(event: AdminEvent) -> Response:
        webhook = await _by_id(call, event.object_id)
        return made(await _made(call, webhook, None), webhook.version, _place(webhook))

    return await call.run(
        lambda store: webhooks.create_webhook(
            store,
            call.context.sealer,
            name=body.name,
            url=body.url,
            url_secret=secret(body.url_secret),
            topics=body.topics,
            environments=body.environments,
            body=body.body,
            template=body.template,
            **call.why,
        ),
        answer,
        again,
    )


@router.get("/{name}", response_model=WebhookRecord)
async def show_webhook(call: Looking, name: str) -> Response:
    """Show one webhook: all but its secrets."""
    webhook = find_webhook(call.snapshot, name)
    return call.show(webhook_record(call.snapshot, webhook), webhook.version, whole=False)


@router.patch("/{name}", response_model=WebhookRecord)
async def update_webhook(call: Changing, name: str, body: WebhookPatch) -> Response:
    """Change a webhook. What waits for it is delivered as it is then."""
    wanted = WebhookChange(
        url=body.url,
        url_secret=secret(body.url_secret),
        enabled=body.enabled,
        topics=body.topics,
        environments=body.environments,
        body=body.body,
        template=body.template,
    )
    webhook = await webhooks.update_webhook(
        call.store, call.context.sealer, name=name, wanted=wanted, expected_version=call.expected_version, **call.why
    )
    return shown(webhook_record(await call.after(), webhook), webhook.version)


@router.delete("/{name}", status_code=204)
async def delete_webhook(call: Changing, name: str) -> Response:
    """Delete a webhook. What was not delivered to it yet is given up."""
    await webhooks.delete_webhook(call.store, name=name, expected_version=call.expected_version, **call.why)
    return gone()


@router.post("/{name}/secret", response_model=WebhookMade)
async def rotate_secret(call: MakingAt, name: str, body: NewSecret) -> Response:
    """Sign with another secret from now on: it is in this answer and nowhere else. For a while the former one signs, too."""

    async def answer(signed: SignedWebhook) -> Response:
        return shown(await _made(call, signed.webhook, signed.secret), signed.webhook.version)

    async def again(event: AdminEvent) -> Response:
        webhook = await _by_id(call, event.object_id)
        return shown(await _made(call, webhook, None), webhook.version)

    return await call.run(
        lambda store: webhooks.rotate_webhook_secret(
            store,
            call.context.sealer,
            name=name,
            former_hours=body.former_hours,
            expected_version=call.expected_version,
            **call.why,
        ),
        answer,
        again,
    )


@router.post("/{name}/test", response_model=TriedRecord)
async def test_webhook(call: Making, name: str) -> Response:
    """Send a test message by the way of all others, and say what came of it."""

    async def answer(tested: Tested) -> Response:
        return told(TriedRecord(ok=tested.ok, detail=tested.detail, delivery=tested.message_id))

    async def again(event: AdminEvent) -> Response:
        return told(TriedRecord(ok=False, detail="see its deliveries", delivery=str(event.detail.get("delivery", ""))))

    outbox = call.context.store.outbox
    return await call.run(lambda store: deliveries.try_webhook(store, outbox, name=name, **call.why), answer, again)


async def _made(call: Change, webhook: Webhook, signed_with: Secret | None) -> WebhookMade:
    record = webhook_record(await call.after(), webhook)
    return WebhookMade(**dict(record), secret=None if signed_with is None else signed_with.reveal())


async def _by_id(call: Once, webhook_id: str) -> Webhook:
    snapshot = await call.after()
    found = next((each for each in snapshot.webhooks.values() if each.id == webhook_id), None)
    if found is None:
        raise ServiceError("webhook-unknown", "this webhook was deleted meanwhile")
    return found


def _place(webhook: Webhook) -> str:
    return f"/v1/webhooks/{webhook.name}"
