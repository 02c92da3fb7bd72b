"""What the outbox holds, brought to Slack: one message for each request and channel, updated in place; for a person, one for each
thing that happened, of which only the last has a button.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from slack_sdk.models.metadata import Metadata

from gateway.access.model import Snapshot, User
from gateway.access.request_record import AccessRequest
from gateway.notify.delivering import Dead, Delivered, Outcome
from gateway.notify.slack.announcements import Message, announcement, thread_note
from gateway.notify.slack.facts import PayloadError, Told, read
from gateway.notify.slack.people import People
from gateway.notify.slack.personal import HowTo, personal, settled
from gateway.notify.slack.workspace import NO_ANSWER, Workspace, is_gone, outcome_of
from gateway.ports import OutboxMessage
from gateway.services.request_messages import Topic

_SLACK: Final = "slack:"
_PERSON: Final = "person:"
_ASKING: Final = frozenset({Topic.CREATED, Topic.ESCALATED})
_REVIEWING: Final = frozenset({Topic.BREAK_GLASS, Topic.REVIEW_DUE})
_log: Final = structlog.stdlib.get_logger("slack")


class Receipted(Protocol):
    """A message that was delivered: `receipt` is what we said when it was."""

    @property
    def destination(self) -> str: ...

    @property
    def receipt(self) -> str: ...


class Records(Protocol):
    """What a deliverer looks up."""

    async def read(self) -> Snapshot: ...

    async def access_request(self, key: str | int) -> AccessRequest | None: ...

    async def receipts(self, request_id: str) -> Sequence[Receipted]:
        """What was delivered about this request, in its order; what left no receipt is not there."""
        ...


@dataclass(frozen=True, slots=True)
class Posted:
    """A message in Slack, by channel and time stamp: "slack:C0123/1700000000.000100"."""

    channel: str
    ts: str

    def __str__(self) -> str:
        return f"{_SLACK}{self.channel}/{self.ts}"


def read_posted(receipt: str) -> Posted | None:
    """None: it was not delivered by Slack."""
    channel, slash, ts = receipt.removeprefix(_SLACK).partition("/")
    return Posted(channel, ts) if receipt.startswith(_SLACK) and slash and channel and ts else None


class SlackDeliverer:
    """`deliver` for "slack:<channel id>", `deliver_to` for a person who is a member of the workspace."""

    def __init__(self, workspace: Workspace, people: People, records: Records, how_to: HowTo) -> None:
        self._client = workspace.client
        self._people = people
        self._records = records
        self._how_to = how_to

    async def deliver(self, message: OutboxMessage) -> Outcome:
        try:
            told = read(message.payload)
        except PayloadError as error:
            return Dead(str(error))
        channel = message.destination.removeprefix(_SLACK)
        try:
            return Delivered(str(await self._announce(message, told, channel)))
        except NO_ANSWER as error:
            return outcome_of(error)

    async def deliver_to(self, message: OutboxMessage, user: User) -> Outcome | None:
        try:
            told = read(message.payload)
        except PayloadError as error:
            return Dead(str(error))
        try:
            member = await self._people.member_of(user, await self._records.read())
            if member is None:
                return None
            return await self._tell(message, told, user, member)
        except NO_ANSWER as error:
            return outcome_of(error)

    async def _announce(self, message: OutboxMessage, told: Told, channel: str) -> Posted:
        """A new message, or the first one of this request in this channel as it should be now."""
        first = await self._posted(told.request.id, message.destination)
        shown = announcement(told.request, told.topic)
        if not first or not await self._updated(first[0], shown):
            return await self._post(message, channel, shown)
        if (note := thread_note(told.request, told.topic)) is not None:
            await self._client.chat_postMessage(
                channel=first[0].channel, thread_ts=first[0].ts, text=note, reply_broadcast=True
            )
        return first[0]

    async def _tell(self, message: OutboxMessage, told: Told, user: User, member: str) -> Outcome:
        request = await self._records.access_request(told.request.id)
        own = request is None or user.id in (request.requester.user_id, request.holder.user_id)
        if not own and told.topic not in _ASKING | _REVIEWING:
            return Delivered(dropped="this person has nothing to decide")
        earlier = await self._posted(told.request.id, message.destination)
        shown = personal(told, self._how_to) if own else announcement(told.request, told.topic)
        opened = await self._client.conversations_open(users=[member])
        posted = await self._post(message, str(opened["channel"]["id"]), shown)
        if own:
            await self._settle(told, [*earlier[-1:], *await self._askings(told)])
        return Delivered(str(posted))

    async def _post(self, message: OutboxMessage, channel: str, shown: Message) -> Posted:
        answer = await self._client.chat_postMessage(
            channel=channel,
            text=shown.text,
            blocks=shown.blocks,
            unfurl_links=False,
            unfurl_media=False,
            metadata=Metadata("pgbastion_message", {"id": message.id, "topic": message.topic}),
        )
        return Posted(str(answer["channel"]), str(answer["ts"]))

    async def _updated(self, posted: Posted, shown: Message) -> bool:
        """False: it is not there any more. Raises what the client raises for anything else."""
        try:
            await self._client.chat_update(channel=posted.channel, ts=posted.ts, text=shown.text, blocks=shown.blocks)
        except NO_ANSWER as error:
            if is_gone(error):
                return False
            raise
        return True

    async def _settle(self, told: Told, posted: Sequence[Posted]) -> None:
        """Take the buttons off earlier messages. One that stays is no harm: pressed, it says so, and goes then."""
        for each in posted:
            try:
                await self._updated(each, settled(told.request))
            except NO_ANSWER as error:
                _log.warning("an earlier message of a request keeps its buttons", why=outcome_of(error).why)

    async def _posted(self, request_id: str, destination: str) -> list[Posted]:
        found = [each for each in await self._records.receipts(request_id) if each.destination == destination]
        return [posted for each in found if (posted := read_posted(each.receipt)) is not None]

    async def _askings(self, told: Told) -> list[Posted]:
        """Once there is nothing to decide: what approvers were sent, each for themselves."""
        if told.request.state == "pending" or told.topic in _REVIEWING | {Topic.EXPIRING, Topic.ACTIVE}:
            return []
        request = await self._records.access_request(told.request.id)
        own = set() if request is None else {f"{_PERSON}{request.requester.user_id}", f"{_PERSON}{request.holder.user_id}"}
        found = [each for each in await self._records.receipts(told.request.id) if each.destination.startswith(_PERSON)]
        found = [each for each in found if each.destination not in own]
        return [posted for each in found if (posted := read_posted(each.receipt)) is not None]
