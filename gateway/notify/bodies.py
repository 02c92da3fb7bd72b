"""What a webhook's receiver is sent: the message as it is, a card, a line for a chat, or what a template makes of it."""

from functools import cache, partial
from importlib.resources import files
from typing import assert_never

from gateway.access.body_templates import fill
from gateway.access.webhooks import Body, Webhook
from gateway.notify.wording import Json, details, disarmed, headline, how_to, read_payload, request_in
from gateway.ports import OutboxMessage


def body_of(webhook: Webhook, message: OutboxMessage) -> str:
    """JSON; the same for the same message and webhook. Raises ValueError for a payload that this program does not write."""
    match webhook.body:
        case Body.JSON:
            return message.payload
        case Body.TEAMS | Body.CHAT:
            return fill(_built_in(webhook.body), partial(_value, message))
        case Body.TEMPLATE:
            return fill(webhook.template or "", partial(_value, message))
        case _:
            assert_never(webhook.body)


def _value(message: OutboxMessage, name: str) -> str:
    """What a placeholder stands for: text that stays text."""
    payload = read_payload(message.payload)
    about = "\n\n".join(f"{title}: {disarmed(text)}" for title, text in details(payload))
    first, last = disarmed(headline(message.topic, payload)), how_to(message.topic, payload)
    match name:
        case "headline":
            return first
        case "details":
            return about
        case "how_to":
            return last
        case "text":
            return "\n".join(each for each in (first, about.replace("\n\n", "\n"), last) if each)
        case "topic":
            return message.topic
        case "id":
            return message.id
        case "at":
            return _plain(payload.get("at"))
        case _:
            return _plain(request_in(payload).get(name.removeprefix("request.")))


def _plain(value: Json) -> str:
    return "" if value is None or isinstance(value, list | dict) else disarmed(str(value))


@cache
def _built_in(body: Body) -> str:
    return files("gateway.notify").joinpath("data", f"{body.value}.json").read_text("utf-8")
