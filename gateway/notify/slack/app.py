"""Bolt's app, wired to the desk: which listener hears what, and that each acknowledges in time whatever the store does.

A press or a command is acknowledged at once. A form is answered with what became of it if that is known soon, else with "one
moment" and, once it is known, with that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.models.views import View
from slack_sdk.web.async_client import AsyncWebClient

from gateway.notify.slack import asking, deciding, names
from gateway.notify.slack.announcements import Message
from gateway.notify.slack.deciding import Answer
from gateway.notify.slack.desk import Desk, Press, Respond
from gateway.notify.slack.modal import said_view, working_view
from gateway.notify.slack.names import Pressed, read_pressed
from gateway.notify.slack.quiet import quiet_logger
from gateway.notify.slack.workspace import NO_ANSWER, outcome_of
from gateway.secret import Secret

ANSWER_WITHIN_SECONDS: Final = 1.8
"""Slack gives three, with the way there and back in them."""

Body = Mapping[str, Any]  # the vendor's
_log: Final = structlog.stdlib.get_logger("slack")


def make_app(desk: Desk, signing_secret: Secret | None) -> AsyncApp:
    """`signing_secret`: None: it hears over a socket alone, and takes no HTTP. The app itself needs no token: the desk has it."""

    async def authorized() -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=None, team_id=None)

    logger = quiet_logger("bolt")
    app = AsyncApp(
        name="pgbastion",
        logger=logger,
        client=AsyncWebClient(base_url=desk.workspace.client.base_url, logger=logger),
        authorize=authorized,
        signing_secret="" if signing_secret is None else signing_secret.reveal(),
        request_verification_enabled=True,
        attaching_function_token_enabled=False,
    )
    _Listeners(desk).install(app)
    return app


@dataclass(frozen=True, slots=True)
class _Listeners:
    desk: Desk

    def install(self, app: AsyncApp) -> None:
        app.command(names.COMMAND)(self.command)
        app.action(names.APPROVE)(self.approve)
        app.action(names.DENY)(self.open_form)
        app.action(names.REVIEW)(self.open_form)
        app.action(names.CANCEL)(self.cancel)
        app.action(names.RELINQUISH)(self.relinquish)
        app.action(names.PLACE)(self.changed)
        app.action(names.ACCESS)(self.changed)
        app.options(names.PLACE)(self.offered)
        app.view(names.ASK_FORM)(self.asked)
        app.view(names.DENY_FORM)(self.commented)
        app.view(names.REVIEW_FORM)(self.commented)

    async def command(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        where = self._respond(body, str(body["user_id"]), str(body["channel_id"]))
        await asking.command(self.desk, str(body.get("text") or ""), str(body["trigger_id"]), where)

    async def approve(self, ack: AsyncAck, body: Body) -> None:
        await self._pressed(ack, body, deciding.approve)

    async def cancel(self, ack: AsyncAck, body: Body) -> None:
        await self._pressed(ack, body, deciding.cancel)

    async def relinquish(self, ack: AsyncAck, body: Body) -> None:
        await self._pressed(ack, body, deciding.relinquish)

    async def open_form(self, ack: AsyncAck, body: Body) -> None:
        action_id, trigger_id = str(body["actions"][0]["action_id"]), str(body["trigger_id"])

        async def opened(desk: Desk, press: Press) -> None:
            await deciding.open_form(desk, press, action_id, trigger_id)

        await self._pressed(ack, body, opened)

    async def changed(self, ack: AsyncAck, body: Body) -> None:
        await ack()
        view = body["view"]
        await asking.changed(self.desk, _member(body), str(view["id"]), str(view["hash"]), view["state"]["values"])

    async def offered(self, ack: AsyncAck, body: Body) -> None:
        found = asking.offered(self.desk, _member(body), str(body.get("value") or ""))
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                await ack(options=await found)
        except TimeoutError:
            await ack(options=[])

    async def asked(self, ack: AsyncAck, body: Body) -> None:
        view = body["view"]
        await self._sent(ack, body, asking.send(self.desk, _member(body), view["state"]["values"]))

    async def commented(self, ack: AsyncAck, body: Body) -> None:
        view = body["view"]
        origin, values = str(view.get("private_metadata") or ""), view["state"]["values"]
        form = str(view["callback_id"])
        await self._sent(ack, body, deciding.send_form(self.desk, form, _member(body), origin, values))

    async def _pressed(self, ack: AsyncAck, body: Body, verb: Callable[[Desk, Press], Awaitable[None]]) -> None:
        await ack()
        press = self._press(body)
        if press is not None:
            await verb(self.desk, press)

    async def _sent(self, ack: AsyncAck, body: Body, answering: Coroutine[Any, Any, Answer]) -> None:
        """What is begun is finished, however long it takes."""
        title = str(body["view"]["title"]["text"])
        working = asyncio.ensure_future(_expected(answering, title))
        done, _ = await asyncio.wait({working}, timeout=ANSWER_WITHIN_SECONDS)
        if done:
            match working.result():
                case View() as view:
                    await ack(response_action="update", view=view)
                case wrong:
                    await ack(response_action="errors", errors=dict(wrong))
            return
        await ack(response_action="update", view=working_view(title))
        answer = await working
        view = answer if isinstance(answer, View) else said_view(title, f":no_entry_sign: {' '.join(answer.values())}")
        try:
            await self.desk.workspace.client.views_update(view_id=str(body["view"]["id"]), view=view)
        except NO_ANSWER as error:
            _log.warning("a form could not be brought up to date", why=outcome_of(error).why)

    def _press(self, body: Body) -> Press | None:
        """None: the button is not one of ours as we make them."""
        pressed: Pressed | None = read_pressed(str(body["actions"][0].get("value") or ""))
        container = body.get("container") or {}
        channel = str(container.get("channel_id") or (body.get("channel") or {}).get("id") or "")
        if pressed is None or not channel:
            return None
        ts = None if container.get("is_ephemeral") else str(container.get("message_ts") or "") or None
        member = _member(body)
        return Press(member, pressed, channel, ts, self._respond(body, member, channel))

    def _respond(self, body: Body, member: str, channel: str) -> Respond:
        url, workspace = str(body.get("response_url") or ""), self.desk.workspace

        async def say(message: Message) -> None:
            await workspace.answer(url, message.text, message.blocks, replacing=False)

        async def replace(message: Message) -> None:
            await workspace.answer(url, message.text, message.blocks, replacing=True)

        return Respond(say, replace, member, channel)


async def _expected(answering: Coroutine[Any, Any, Answer], title: str) -> Answer:
    """A form that nobody answers says "we had some trouble" and is sent again: so it is answered, whatever happens."""
    try:
        return await answering
    except Exception as error:
        _log.error("a form could not be worked on", error=type(error).__name__)
        return said_view(title, ":warning: Something failed here. Look at your requests before you try again.")


def _member(body: Body) -> str:
    return str(body["user"]["id"])
