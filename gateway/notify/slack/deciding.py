"""Buttons under messages: approve, deny, cancel, relinquish, review. Each is acknowledged before any of this runs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from slack_sdk.models.views import View

from gateway.access.model import User
from gateway.access.request_record import AccessRequest, Word
from gateway.notify.slack import form, names
from gateway.notify.slack.announcements import what
from gateway.notify.slack.desk import Desk, Press, Refused, Respond, plainly, refusals
from gateway.notify.slack.facts import shown_now
from gateway.notify.slack.form import Values, Wrong
from gateway.notify.slack.modal import deny_view, review_view, said_view
from gateway.notify.slack.names import Pressed, read_pressed
from gateway.services import access_requests
from gateway.services.errors import ServiceError

Answer: TypeAlias = View | Wrong
"""What a form becomes: another one, or itself with what is wrong."""

_BEGINNINGS: Final = {names.DENY_FORM: "Deny the request", names.REVIEW_FORM: "Review"}


@dataclass(frozen=True, slots=True)
class Origin:
    """What a form was opened from: kept in it, and read back when it is sent."""

    pressed: Pressed
    channel: str
    ts: str

    def __str__(self) -> str:
        return f"{self.pressed} {self.channel} {self.ts}"


def read_origin(metadata: str) -> Origin | None:
    parts = metadata.split(" ")
    pressed = read_pressed(parts[0])
    return None if pressed is None or len(parts) != 3 else Origin(pressed, parts[1], parts[2])


async def approve(desk: Desk, press: Press) -> None:
    async def decide(user: User) -> AccessRequest:
        return await access_requests.decide_request(
            desk.store,
            request=press.pressed.request_id,
            word=Word.YES,
            fingerprint=press.pressed.fingerprint,
            actor=f"user:{user.name}",
            reason=names.FROM_SLACK,
        )

    await _press(desk, press, decide, desk.refresh_announcement, "You approved")


async def cancel(desk: Desk, press: Press) -> None:
    async def end(user: User) -> AccessRequest:
        return await access_requests.cancel_request(
            desk.store, request=press.pressed.request_id, actor=f"user:{user.name}", reason=names.FROM_SLACK
        )

    await _press(desk, press, end, desk.refresh_own, "You took back")


async def relinquish(desk: Desk, press: Press) -> None:
    async def end(user: User) -> AccessRequest:
        return await access_requests.relinquish_request(
            desk.store, request=press.pressed.request_id, actor=f"user:{user.name}", reason=names.FROM_SLACK
        )

    await _press(desk, press, end, desk.refresh_own, "You gave back")


async def open_form(desk: Desk, press: Press, action_id: str, trigger_id: str) -> None:
    """Deny and review want a comment. Whoever is nobody here gets no form."""
    try:
        with refusals():
            await desk.who(press.member)
            origin = str(Origin(press.pressed, press.channel, press.ts or "-"))
            view = deny_view(origin) if action_id == names.DENY else review_view(origin)
            await desk.workspace.client.views_open(trigger_id=trigger_id, view=view)
    except Refused as refused:
        await desk.tell(press.respond, refused.said)


async def send_form(desk: Desk, callback_id: str, member: str, metadata: str, values: Values) -> Answer:
    """What the form becomes. Raises nothing that is expected."""
    title = _BEGINNINGS[callback_id]
    origin = read_origin(metadata)
    if origin is None:
        return said_view(title, "This form is not one of pgbastion's.")
    comment = form.comment(values)
    if not comment:
        return {names.COMMENT: "Say why." if callback_id == names.DENY_FORM else "Say what was found."}
    try:
        with refusals():
            user = await desk.who(member)
            try:
                request = await _decide(desk, callback_id, origin, user, comment)
            except ServiceError as error:
                return form.wrong_field(values, error.rule, plainly(error))
            finally:
                await _refresh(desk, origin, member)
    except Refused as refused:
        return said_view(title, refused.said)
    done = "You denied" if callback_id == names.DENY_FORM else "You reviewed"
    return said_view(title, f":white_check_mark: {done} request {request.number}.")


async def _decide(desk: Desk, callback_id: str, origin: Origin, user: User, comment: str) -> AccessRequest:
    key, actor = origin.pressed.request_id, f"user:{user.name}"
    if callback_id == names.REVIEW_FORM:
        return await access_requests.review_break_glass(
            desk.store, request=key, comment=comment, actor=actor, reason=names.FROM_SLACK
        )
    return await access_requests.decide_request(
        desk.store,
        request=key,
        word=Word.NO,
        fingerprint=origin.pressed.fingerprint,
        comment=comment,
        actor=actor,
        reason=names.FROM_SLACK,
    )


async def _press(
    desk: Desk,
    press: Press,
    verb: Callable[[User], Awaitable[AccessRequest]],
    refresh: Callable[[Press], Awaitable[None]],
    done: str,
) -> None:
    try:
        with refusals():
            request = await verb(await desk.who(press.member))
            shown = shown_now(await desk.store.read(), request, desk.clock())
    except Refused as refused:
        await desk.tell(press.respond, refused.said)
    else:
        waits = ""
        if shown.state == "pending":
            waits = " It takes more approvals before it is given."
        await desk.tell(press.respond, f":white_check_mark: {done} request {request.number} ({what(shown)}).{waits}")
    await refresh(press)


async def _refresh(desk: Desk, origin: Origin, member: str) -> None:
    if origin.ts != "-":
        nowhere = Respond(_nowhere, _nowhere, member, origin.channel)
        await desk.refresh_announcement(Press(member, origin.pressed, origin.channel, origin.ts, nowhere))


async def _nowhere(_message: object) -> None:
    """Forms have no response_url."""
