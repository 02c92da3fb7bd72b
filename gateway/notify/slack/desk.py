"""Where what people do in Slack arrives: who it is, what they are told when it cannot be, and the store behind it all.

Every verb is the service that commands and the API call, with the person as the actor: `user:<name>`, reason "Slack".
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from gateway.access.model import User
from gateway.notify.slack import text
from gateway.notify.slack.announcements import Message, announcement
from gateway.notify.slack.facts import Shown, shown_now
from gateway.notify.slack.names import Pressed
from gateway.notify.slack.people import People, Stranger
from gateway.notify.slack.personal import buttons, settled
from gateway.notify.slack.workspace import NO_ANSWER, Workspace, outcome_of
from gateway.services.errors import ServiceError
from gateway.services.request_messages import Topic
from gateway.services.request_people import RequestStore
from gateway.store.errors import StoreError

_TRIES: Final = 3
_log: Final = structlog.stdlib.get_logger("slack")


class Refused(Exception):
    """`said`: to the person, in mrkdwn."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass(frozen=True, slots=True)
class Respond:
    """Where one person reads the answer to what they did. `say` adds a message for them alone, `replace` puts one in place of what
    they acted on; `channel`: where to say it if Slack does not take that.
    """

    say: Callable[[Message], Awaitable[None]]
    replace: Callable[[Message], Awaitable[None]]
    member: str
    channel: str


@dataclass(frozen=True, slots=True)
class Press:
    """A button under a message. `ts` None: the message is one that only this person sees."""

    member: str
    pressed: Pressed
    channel: str
    ts: str | None
    respond: Respond


@dataclass(frozen=True, slots=True)
class Desk:
    """What the handlers stand on."""

    workspace: Workspace
    people: People
    store: RequestStore
    clock: Callable[[], datetime]

    async def who(self, member: str) -> User:
        """Raises Refused for somebody who is nobody here."""
        found = await self.people.account_of(member, await self.store.read())
        if isinstance(found, Stranger):
            raise Refused(f":lock: {found.said}")
        return found

    async def shown(self, request_id: str) -> Shown | None:
        request = await self.store.access_request(request_id)
        return None if request is None else shown_now(await self.store.read(), request, self.clock())

    async def tell(self, respond: Respond, said: str) -> None:
        """To this one person. What cannot be said is logged: what was done is done."""
        message = Message(said[: text.SECTION], [])
        try:
            await respond.say(message)
        except NO_ANSWER:
            try:
                await self.workspace.client.chat_postEphemeral(channel=respond.channel, user=respond.member, text=message.text)
            except NO_ANSWER as error:
                _log.warning("an answer could not be given", why=outcome_of(error).why)

    async def refresh_announcement(self, press: Press) -> None:
        await self._refresh(press, lambda shown: announcement(shown, Topic.REVIEW_DUE if shown.awaits_review else None))

    async def refresh_own(self, press: Press) -> None:
        await self._refresh(press, _own)

    async def _refresh(self, press: Press, render: Callable[[Shown], Message]) -> None:
        """The message as the request is now. Again if it changed meanwhile: an older state never stays over a newer one."""
        try:
            shown = await self.shown(press.pressed.request_id)
            for _ in range(_TRIES):
                if shown is None:
                    return
                await self._replace(press, render(shown))
                newer = await self.shown(press.pressed.request_id)
                if newer == shown:
                    return
                shown = newer
        except (*NO_ANSWER, StoreError) as error:
            _log.warning("a message is not up to date", error=type(error).__name__)

    async def _replace(self, press: Press, message: Message) -> None:
        if press.ts is None:
            await press.respond.replace(message)
        else:
            await self.workspace.client.chat_update(
                channel=press.channel, ts=press.ts, text=message.text, blocks=message.blocks
            )


@contextmanager
def refusals() -> Iterator[None]:
    """What services, the store and Slack refuse, as words for the person. Raises Refused."""
    try:
        yield
    except ServiceError as error:
        raise Refused(said_of(error)) from error
    except StoreError:
        raise Refused(":warning: pgbastion's store does not answer. Nothing was changed; try again in a moment.") from None
    except NO_ANSWER as error:
        _log.warning("Slack does not answer", why=outcome_of(error).why)
        raise Refused(":warning: Slack did not answer pgbastion. Try again in a moment.") from None


def said_of(error: ServiceError) -> str:
    return f":no_entry_sign: {text.escaped(_sentence(error.message), 1000)} {text.escaped(error.hint, 1000)}".rstrip()


def plainly(error: ServiceError) -> str:
    """For a field of a form, which shows plain text."""
    return text.one_line(f"{_sentence(error.message)} {error.hint}".rstrip(), 500)


def _sentence(message: str) -> str:
    whole = message[:1].upper() + message[1:]
    return whole if whole.endswith((".", "!", "?")) else f"{whole}."


def _own(shown: Shown) -> Message:
    message = settled(shown)
    return Message(message.text, [*message.blocks, *buttons(shown)])
