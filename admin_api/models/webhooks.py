"""Webhooks and what was delivered to them. Their secrets come in, or are shown once, and never go out again."""

from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field

from admin_api.models.fields import Page, Password, Record, Request, Shown, Version
from gateway.access.model import Snapshot
from gateway.access.webhooks import TOPICS, URL_SECRET, Body, Webhook
from gateway.ports import OutboxMessage, OutboxState
from gateway.services.webhooks import FORMER_HOURS

_MOST: Final = 1000
_TOPICS: Final = "Only of this; empty: of everything."
_ENVIRONMENTS: Final = "Only there, by name; empty: everywhere."

_Url = Annotated[str, Field(max_length=2000, examples=["https://siem.example.com/hook"])]
_TopicNames = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=len(TOPICS), examples=[[TOPICS[0]]])]
_Names = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=_MOST)]
_Body = Annotated[Body, Field(strict=False)]


class NewWebhook(Request):
    """Its messages are signed as Standard Webhooks says, with a secret that is made here."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "siem", "url": "https://siem.example.com/hook"},
                {
                    "name": "dba-chat",
                    "url": "https://chat.example.com/hooks/{secret}",
                    "url_secret": "T024-B7",
                    "body": "chat",
                    "environments": ["production"],
                },
            ]
        }
    )

    name: str = Field(max_length=200, examples=["siem"])
    url: _Url = Field(description=f"Where to send to; {URL_SECRET} stands for the part that is a secret.")
    url_secret: Password | None = Field(None, description=f"What {URL_SECRET} stands for. It is sealed and never shown.")
    topics: _TopicNames = Field(default=[], description=_TOPICS)
    environments: _Names = Field(default=[], description=_ENVIRONMENTS)
    body: _Body = Field(Body.JSON, description="json: the message; teams, chat: a text for people; template: your own.")
    template: str | None = Field(None, max_length=20_000, description="JSON with placeholders; goes with body template.")


class WebhookPatch(Request):
    """What is named is changed; each list as a whole."""

    url: _Url | None = Field(None, description="Its secret part has to be given again.")
    url_secret: Password | None = Field(None, description="It is sealed and never shown.")
    enabled: bool | None = Field(None, description="false: it is told of nothing.")
    topics: _TopicNames | None = Field(None, description=_TOPICS)
    environments: _Names | None = Field(None, description=_ENVIRONMENTS)
    body: _Body | None = None
    template: str | None = Field(None, max_length=20_000, description="JSON with placeholders; goes with body template.")


class NewSecret(Request):
    former_hours: float = Field(FORMER_HOURS, ge=0, le=168, description="So long the former secret signs, too; 0: it leaked.")


class WebhookRecord(Record):
    id: str
    name: str = Field(examples=["siem"])
    url: str = Field(description="Without the part of it that is a secret.")
    enabled: bool
    topics: list[str] = Field(description=_TOPICS)
    environments: list[str] = Field(description=_ENVIRONMENTS)
    body: Body
    template: str | None
    former_until: Shown | None = Field(description="Until then a former secret signs, too.")
    version: Version


class WebhookMade(WebhookRecord):
    """`secret`: what its messages are signed with. Shown only now; null in a repetition."""

    secret: str | None = Field(repr=False)


class WebhookPage(Page):
    items: list[WebhookRecord]


class DeliveryRecord(Record):
    """One message, however often it was tried: each try has this id."""

    id: str
    topic: str = Field(examples=[TOPICS[0]])
    destination: str = Field(examples=["webhook:siem", "slack:C024BE91L", "person:ana"])
    request_id: str | None = Field(description="The access request that it is about.")
    state: OutboxState = Field(description="dead: given up, until it is to be sent again.")
    attempts: int
    created_at: Shown
    next_at: Shown = Field(description="When it is tried next, while it is pending.")
    ended_at: Shown | None
    last_error: str


class DeliveryPage(Page):
    items: list[DeliveryRecord]


class TriedRecord(Record):
    ok: bool = Field(description="The receiver took it.")
    detail: str = Field(examples=["delivered"])
    delivery: str = Field(description="The id of the test message.")


def webhook_record(snapshot: Snapshot, webhook: Webhook) -> WebhookRecord:
    environments = [each.name for each in snapshot.environments.values() if each.id in webhook.environments]
    return WebhookRecord(
        id=webhook.id,
        name=webhook.name,
        url=webhook.url,
        enabled=webhook.enabled,
        topics=sorted(webhook.topics),
        environments=sorted(environments),
        body=webhook.body,
        template=webhook.template,
        former_until=webhook.former_until,
        version=webhook.version,
    )


def delivery_record(message: OutboxMessage, snapshot: Snapshot) -> DeliveryRecord:
    """`snapshot`: what people are called."""
    kind, _, place = message.destination.partition(":")
    name = next((user.name for user in snapshot.users.values() if user.id == place), place) if kind == "person" else place
    return DeliveryRecord(
        id=message.id,
        topic=message.topic,
        destination=f"{kind}:{name}",
        request_id=message.request_id,
        state=message.state,
        attempts=message.attempts,
        created_at=message.created_at,
        next_at=message.next_at,
        ended_at=message.ended_at,
        last_error=message.last_error,
    )
