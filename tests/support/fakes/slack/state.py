"""What there is in a workspace: members, channels, messages, views."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

TRIGGER_SECONDS: Final = 3.0
RESPONSE_SECONDS: Final = 1800.0
RESPONSE_USES: Final = 5

#: What a bot token needs for which method, as the methods' pages say.
SCOPES: Final = {
    "auth.test": None,
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.postEphemeral": "chat:write",
    "conversations.open": "im:write",
    "views.open": None,
    "views.update": None,
    "users.info": "users:read",
    "users.lookupByEmail": "users:read.email",
}


class SlackError(Exception):
    """An answer with "ok": false."""

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.answer = {"ok": False, "error": code, **more}


@dataclass
class Member:
    id: str
    team_id: str
    name: str
    email: str
    confirmed: bool = True
    flags: dict[str, bool] = field(default_factory=dict)  # deleted, is_bot, is_restricted, is_ultra_restricted, is_stranger

    def shown(self, *, with_email: bool) -> dict[str, Any]:
        profile = {"real_name": self.name, "display_name": self.name, **({"email": self.email} if with_email else {})}
        return {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name,
            "deleted": False,
            "is_bot": False,
            "is_app_user": False,
            "is_restricted": False,
            "is_ultra_restricted": False,
            "is_email_confirmed": self.confirmed,
            "profile": profile,
            **self.flags,
        }


@dataclass
class Posting:
    """A message. `ephemeral_to`: only this member sees it."""

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    thread_ts: str | None = None
    ephemeral_to: str | None = None
    metadata: dict[str, Any] | None = None
    edits: int = 0

    @property
    def buttons(self) -> dict[str, dict[str, Any]]:
        """By action id."""
        elements = [each for block in self.blocks if block["type"] == "actions" for each in block["elements"]]
        elements += [block["accessory"] for block in self.blocks if block.get("accessory")]
        return {each["action_id"]: each for each in elements if each["type"] == "button"}

    @property
    def words(self) -> str:
        """All that is read in it."""
        return "\n".join([self.text, *words_of(self.blocks)])


@dataclass
class Modal:
    """A view that a member has open. `values`: as they are filled in, by block and action."""

    id: str
    member: str
    view: dict[str, Any]
    hash: str
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    is_open: bool = True

    @property
    def words(self) -> str:
        return "\n".join([self.view["title"]["text"], *words_of(self.view["blocks"])])


@dataclass
class Answering:
    """What a response_url leads to."""

    member: str
    channel: str
    until: float
    message_ts: str | None
    uses: int = 0


class State:
    """`clock`: seconds; tests may let it run ahead."""

    def __init__(self, scopes: frozenset[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.scopes = scopes
        self.ahead = 0.0
        self._clock = clock
        self._numbers = itertools.count(1)
        self.team_id = "T0HOME001"
        self.bot_id = "U0PGBASTION"
        self.app_id = "A0PGBASTION"
        self.members: dict[str, Member] = {}
        self.channels: dict[str, set[str]] = {}  # by id, who is in it
        self.direct: dict[str, str] = {}  # member -> id of the channel with the bot
        self.postings: list[Posting] = []
        self.modals: dict[str, Modal] = {}
        self.triggers: dict[str, tuple[str, float]] = {}
        self.exchanged: set[str] = set()
        self.answering: dict[str, Answering] = {}

    @property
    def now(self) -> float:
        return self._clock() + self.ahead

    def number(self) -> int:
        return next(self._numbers)

    def new_ts(self) -> str:
        return f"{1_700_000_000 + self.number()}.{self.number():06d}"

    def member(self, name: str, email: str = "", *, confirmed: bool = True, team: str = "", **flags: bool) -> str:
        """A new one; the id."""
        member_id = f"U{self.number():08d}"
        address = email or f"{name}@example.com"
        self.members[member_id] = Member(member_id, team or self.team_id, name, address, confirmed, flags)
        return member_id

    def channel(self, *members: str, with_bot: bool = True) -> str:
        channel_id = f"C{self.number():08d}"
        self.channels[channel_id] = {*members, *([self.bot_id] if with_bot else [])}
        return channel_id

    def direct_with(self, member: str) -> str:
        if member not in self.direct:
            self.direct[member] = f"D{self.number():08d}"
            self.channels[self.direct[member]] = {member, self.bot_id}
        return self.direct[member]

    def trigger(self, member: str) -> str:
        trigger_id = f"{self.number()}.{self.number()}.trigger"
        self.triggers[trigger_id] = (member, self.now + TRIGGER_SECONDS)
        return trigger_id

    def exchange(self, trigger_id: str) -> str:
        """The member whose it is."""
        if trigger_id in self.exchanged:
            raise SlackError("exchanged_trigger_id")
        if trigger_id not in self.triggers:
            raise SlackError("invalid_trigger_id")
        member, until = self.triggers[trigger_id]
        if self.now > until:
            raise SlackError("expired_trigger_id")
        self.exchanged.add(trigger_id)
        return member

    def find(self, channel: str, ts: str) -> Posting | None:
        return next((each for each in self.postings if (each.channel, each.ts) == (channel, ts)), None)


def words_of(found: Any) -> list[str]:
    """Each text object in it, in order."""
    if isinstance(found, list):
        return [word for each in found for word in words_of(each)]
    if not isinstance(found, dict):
        return []
    if found.get("type") in ("mrkdwn", "plain_text") and isinstance(found.get("text"), str):
        return [found["text"]]
    return [word for each in found.values() for word in words_of(each)]
