"""`/pgbastion`: the form to ask for access, one's own requests, help. Each is acknowledged before any of this runs."""

import asyncio
from typing import Final

from slack_sdk.models.blocks import Block, MarkdownTextObject, Option, SectionBlock
from slack_sdk.models.views import View

from gateway.access.asking import ModeWanted, RoleWanted
from gateway.access.model import User
from gateway.notify.slack import form, names, text
from gateway.notify.slack.announcements import Message, status, what
from gateway.notify.slack.deciding import Answer
from gateway.notify.slack.desk import Desk, Refused, Respond, plainly, refusals
from gateway.notify.slack.facts import shown_now
from gateway.notify.slack.form import Filled, Values
from gateway.notify.slack.modal import ask_view, place_options, said_view, working_view
from gateway.notify.slack.personal import buttons
from gateway.notify.slack.places import Place, Way, first_choice
from gateway.services import access_requests
from gateway.services.access_requests import Askable, Asked, Listing, WhichRequests
from gateway.services.errors import ServiceError

TITLE: Final = "Ask for access"
HELP: Final = (
    f"`{names.COMMAND} request [DATABASE]` - ask for access: to which database, how, for how long, and why\n"
    f"`{names.COMMAND} requests` - your requests: what waits, what you have, and what became of the last ones\n"
    f"`{names.COMMAND} help` - this\n"
    "Who may decide finds Approve and Deny under the message. Commands do all of it, too: `pgbastion request --help`."
)
_FORM_WITHIN_SECONDS: Final = 1.0
"""The form is opened with what there is by then: Slack lets one be opened for three seconds."""
_SHOWN: Final = 10


async def command(desk: Desk, said: str, trigger_id: str, respond: Respond) -> None:
    verb, _, rest = said.strip().partition(" ")
    try:
        with refusals():
            match verb.lower():
                case "request" | "ask":
                    await _open(desk, respond.member, rest.strip(), trigger_id)
                case "requests" | "list":
                    await respond.say(await _own(desk, await desk.who(respond.member)))
                case _:
                    await desk.tell(respond, HELP)
    except Refused as refused:
        await desk.tell(respond, refused.said)


async def changed(desk: Desk, member: str, view_id: str, view_hash: str, values: Values) -> None:
    """A choice that other fields hang on: the form anew. Whoever chose once more meanwhile gets the form for that."""
    try:
        with refusals():
            places = await places_of(desk, await desk.who(member))
            view = ask_view(places, form.chosen(values, places)) if places else _nothing()
            await desk.workspace.client.views_update(view_id=view_id, hash=view_hash, view=view)
    except Refused:
        return  # the form stays as it is, and says it when it is sent


async def offered(desk: Desk, member: str, typed: str) -> list[Option]:
    """Where there are too many databases for one list."""
    try:
        with refusals():
            return place_options(await places_of(desk, await desk.who(member)), typed)
    except Refused:
        return []


async def send(desk: Desk, member: str, values: Values) -> Answer:
    """The request, made; or what is wrong. Raises nothing that is expected."""
    try:
        with refusals():
            user = await desk.who(member)
            filled = form.read(values, await places_of(desk, user), desk.clock())
            if not isinstance(filled, Filled):
                return filled
            try:
                request = await access_requests.create_request(
                    desk.store, asked=_asked(filled), actor=f"user:{user.name}", reason=names.FROM_SLACK
                )
            except ServiceError as error:
                return form.wrong_field(values, error.rule, plainly(error))
            shown = shown_now(await desk.store.read(), request, desk.clock())
    except Refused as refused:
        return said_view(TITLE, refused.said)
    return said_view(TITLE, f"*Request {shown.number}*: {what(shown)}\n{status(shown)}\nYou will read here what becomes of it.")


async def places_of(desk: Desk, user: User) -> list[Place]:
    """By name."""
    ways: dict[tuple[str, str], list[Way]] = {}
    for each in await access_requests.askable(desk.store, actor=f"user:{user.name}", now=desk.clock()):
        if each.target is not None:
            ways.setdefault((each.target, each.environment), []).append(_way(each))
    return [Place(target, environment, found) for (target, environment), found in sorted(ways.items())]


def _way(found: Askable) -> Way:
    return Way(
        found.mode,
        found.default_seconds,
        found.max_seconds,
        found.database_roles,
        found.reason_required,
        found.ticket_required,
        found.break_glass_seconds,
    )


async def _open(desk: Desk, member: str, wanted: str, trigger_id: str) -> None:
    client = desk.workspace.client
    working = asyncio.ensure_future(_form(desk, member, wanted))
    try:
        done, _ = await asyncio.wait({working}, timeout=_FORM_WITHIN_SECONDS)
        if done:
            await client.views_open(trigger_id=trigger_id, view=working.result())
            return
        opened = await client.views_open(trigger_id=trigger_id, view=working_view(TITLE))
    except BaseException:
        working.cancel()
        raise
    try:
        with refusals():
            view = await working
    except Refused as refused:
        view = said_view(TITLE, refused.said)
    await client.views_update(view_id=str(opened["view"]["id"]), view=view)


async def _form(desk: Desk, member: str, wanted: str) -> View:
    places = await places_of(desk, await desk.who(member))
    return ask_view(places, first_choice(places, wanted)) if places else _nothing()


def _nothing() -> View:
    return said_view(TITLE, "There is nothing that you may ask for. Whoever runs pgbastion can open databases to requests.")


def _asked(filled: Filled) -> Asked:
    role = filled.database_role
    return Asked(
        right=ModeWanted(filled.mode) if role is None else RoleWanted(role, filled.mode),
        target_name=filled.place,
        duration_seconds=filled.duration_seconds,
        reason=filled.reason,
        starts_at=filled.starts_at,
        ticket=filled.ticket,
        break_glass=filled.emergency,
    )


async def _own(desk: Desk, user: User) -> Message:
    """The last ones, the newest first; each with the button that ends it, while it can be ended."""
    snapshot, now = await desk.store.read(), desk.clock()
    mine = Listing(WhichRequests.MINE, limit=_SHOWN)
    blocks: list[Block] = []
    for each in await access_requests.list_requests(desk.store, mine, actor=f"user:{user.name}", now=now):
        shown = shown_now(snapshot, each.request, now)
        line = f"*{shown.number}* {what(shown)}: {status(shown)}"
        blocks.append(SectionBlock(text=MarkdownTextObject(text=line[: text.SECTION], verbatim=True)))
        blocks += buttons(shown)
    if not blocks:
        return Message("You have made no requests yet.", [])
    return Message("Your requests", blocks)
