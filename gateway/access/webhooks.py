"""Who elsewhere is told of what becomes of access requests, by HTTP. Pure facts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

#: What there is to be told of.
TOPICS: Final = tuple(
    f"access_request.{each}"
    for each in (
        "created",
        "escalated",
        "approved",
        "active",
        "denied",
        "cancelled",
        "expired",
        "relinquished",
        "revoked",
        "errored",
        "expiring",
        "break_glass",
        "review_due",
    )
)
TEST_TOPIC: Final = "webhook.test"
URL_SECRET: Final = "{secret}"  # noqa: S105
"""In a webhook's URL, where the part of it stands that is kept secret."""

_KIND: Final = "webhook:"


class Body(StrEnum):
    """What is sent: the message itself as JSON; a card for Teams; {"text": ...}, as most chats take it; or one's own template."""

    JSON = "json"
    TEAMS = "teams"
    CHAT = "chat"
    TEMPLATE = "template"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of messages. `url` holds `{secret}` where `sealed_url_secret` goes, if there is one.

    `sealed_secret` signs; until `former_until`, what `former_secret` holds signs, too. `topics` and `environments` (ids) are what
    it is told of; empty: all. `template`: JSON with placeholders, for Body.TEMPLATE.
    """

    id: str
    name: str
    url: str
    sealed_secret: bytes = field(repr=False)
    sealed_url_secret: bytes | None = field(default=None, repr=False)
    former_secret: bytes | None = field(default=None, repr=False)
    former_until: datetime | None = None
    enabled: bool = True
    topics: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    body: Body = Body.JSON
    template: str | None = None
    version: int = 0

    @property
    def destination(self) -> str:
        return f"{_KIND}{self.name}"

    def wants(self, topic: str, environment_id: str) -> bool:
        """Whether it is told of this."""
        here = not self.environments or environment_id in self.environments
        return self.enabled and here and (not self.topics or topic in self.topics)


def told(webhooks: Iterable[Webhook], named: Iterable[str], topic: str, environment_id: str) -> tuple[str, ...]:
    """Destinations of a message about something in this environment: those that are named, but of webhooks only the ones that want
    it, and those webhooks that want it without being named. Each once.
    """
    others = [each for each in named if not each.startswith(_KIND)]
    wanting = sorted(each.destination for each in webhooks if each.wants(topic, environment_id))
    return tuple(dict.fromkeys([*others, *wanting]))
