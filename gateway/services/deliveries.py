"""What was to be told elsewhere, looked at and sent again; and whether a webhook's receiver takes messages at all."""

import asyncio
import json
import uuid
from dataclasses import dataclass
from typing import Final

from gateway.access.webhooks import TEST_TOPIC
from gateway.ports import OutboxMessage, OutboxState, Redelivery, Store
from gateway.ports.outbox import MessageFilter, Outbox
from gateway.services.change import begin
from gateway.services.errors import ServiceError
from gateway.services.webhooks import CHANGE, find_webhook

_KINDS: Final = frozenset({"webhook", "slack", "mail", "person", "on-call"})
_LOOK_SECONDS: Final = 0.1
_NO_COURIER: Final = "it waits: is the courier running? Its log (process courier), and pgbastion doctor, say more"


@dataclass(frozen=True, slots=True)
class Tested:
    """`ok`: the receiver took it. `detail`: what came of it, for people. `message_id`: of the test message."""

    ok: bool
    detail: str
    message_id: str


async def list_deliveries(outbox: Outbox, wanted: MessageFilter) -> list[OutboxMessage]:
    """The newest first. Whoever calls this has asked for the right to webhooks.list. Raises ServiceError."""
    if wanted.kind is not None and wanted.kind not in _KINDS:
        raise ServiceError(
            "kind-unknown", f'nothing is delivered to "{wanted.kind}"', f"There are: {', '.join(sorted(_KINDS))}"
        )
    return await outbox.messages(wanted)


async def redeliver(
    store: Store, outbox: Outbox, *, message_id: str, webhook: str | None = None, actor: str, reason: str
) -> OutboxMessage:
    """Under the same id, so that a receiver that has it already knows that. `webhook`: it must be one of its messages."""
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        destination = None if webhook is None else find_webhook(change.snapshot, webhook).destination
        message = await outbox.message(message_id)
        if message is None or (destination is not None and message.destination != destination):
            raise ServiceError("delivery-unknown", f'there is no delivery "{message_id}"', "See: pgbastion webhooks deliveries")
        if message.state is OutboxState.PENDING:
            raise ServiceError("delivery-pending", "it is not delivered yet: it is tried again by itself")
        change.also_put(Redelivery(message.id))
        kind = message.destination.partition(":")[0]
        change.note("delivery.repeated", message.id, message.topic, {"kind": kind, "was": message.state.value})
        await change.commit()
    found = await outbox.message(message_id)
    return message if found is None else found


async def try_webhook(store: Store, outbox: Outbox, *, name: str, seconds: float = 20.0, actor: str, reason: str) -> Tested:
    """Sends a message by the way of all others, and waits for so long for what becomes of it. It is tried once."""
    async with begin(store, actor, reason) as change:
        change.require(CHANGE)
        webhook = find_webhook(change.snapshot, name)
        payload = json.dumps({"type": TEST_TOPIC, "at": change.now.isoformat(), "webhook": name}, sort_keys=True)
        message = OutboxMessage(str(uuid.uuid4()), TEST_TOPIC, webhook.destination, payload, change.now, change.now)
        change.also_put(message)
        change.note("webhook.tested", webhook.id, name, {"delivery": message.id})
        await change.commit()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline:
        found = await outbox.message(message.id)
        if found is None:
            return Tested(False, "what became of it is kept no more", message.id)
        if found.state is OutboxState.DELIVERED:
            return Tested(True, "delivered", message.id)
        if found.state is OutboxState.DEAD:
            return Tested(False, found.last_error or "it was given up", message.id)
        await asyncio.sleep(_LOOK_SECONDS)
    return Tested(False, _NO_COURIER, message.id)
